/*
 * All kernels as one translation unit, and the interpreter of tapes that calls them. Build: `node kernels/build.ts` (WebAssembly),
 * `node kernels/native.ts` (this machine's instruction sets, with ISA set to the name of one).
 *
 * A tape is a program as a list of entries of four words: kernel, address of its descriptor (two words), and a word for the host
 * (the operation it stands for). Two kernels are the interpreter's own: `jump` skips as many entries as its second word says;
 * `choose` looks whether `count` float32 at an address are all finite and skips one of two numbers of entries
 * (descriptor: address, count, skip if finite, skip otherwise).
 *
 * Threads run the same tape; each kernel gives each its share of the outputs, and all meet after every kernel.
 */
#include "types.h"
#include "tape.h"

#ifdef __wasm__
void *memset(void *to, int value, __SIZE_TYPE__ bytes) { return __builtin_memset(to, value, bytes); }
void *memcpy(void *to, const void *from, __SIZE_TYPE__ bytes) { return __builtin_memcpy(to, from, bytes); }
#endif

#include "elementwise.c"
#include "movement.c"
#include "order.c"
#include "product.c"
#include "reduce.c"
#include "sha256.c"
#include "threads.h"

#define KERNEL_NUMBER(NAME) NUMBER_##NAME,
enum { KERNELS(KERNEL_NUMBER) };
#define CALL(NAME) \
  case NUMBER_##NAME: nan = NAME(d, context); break;

/*
 * Runs `count` entries. Returns the index of the first whose checked result held a NaN (or, for `check_finite`, an infinity), at
 * which it stops, or -1. With threads, all of them run this with the same `sync` and return the same.
 */
static i32 run_tape(const u32 *tape, u32 count, const Context *context, Sync *sync) {
  for (u32 i = 0; i < count;) {
    const u32 *entry = tape + 4 * i;
    const u32 *d = AT(const u32, entry + 1);
    u32 nan = 0;
    i++;
    switch (entry[0]) {
      case NUMBER_jump: i += entry[1]; continue;
      case NUMBER_choose: i += all_finite(AT(const u32, d), d[2]) ? d[3] : d[4]; continue;
      CALL(elementwise)
      CALL(product)
      CALL(product_direct)
      CALL(reduce_f32)
      CALL(reduce_integer)
      CALL(copy4)
      CALL(copy1)
      CALL(fill_zero)
      CALL(check_nan)
      CALL(check_finite)
      CALL(index_offsets)
      CALL(gather4)
      CALL(gather1)
      CALL(scatter_add_f32)
      CALL(scatter_add_i32)
      CALL(scatter_add_bool)
      CALL(scatter_set4)
      CALL(scatter_set1)
      CALL(sort_rows)
      CALL(threefry)
      CALL(sha256_leaves)
      CALL(sha256_tree)
      default: break;
    }
#ifdef MUSTER_THREADS
    if (context->threads > 1) {
      /* By its place on the tape: another thread may be past the meeting and at the fault of the next kernel already. */
      if (nan) atomic_store(&sync->fault, i);
      meet(sync, context->threads);
      nan = atomic_load(&sync->fault) == i;
    }
#endif
    if (nan) return (i32)i - 1;
  }
  (void)sync;
  return -1;
}

#ifdef MUSTER_THREADS
/* A thread's share of a job: nobody leaves before all have read what the job is. */
static i32 take_part(const u32 *tape, u32 count, const Context *context, Sync *sync) {
  i32 fault = run_tape(tape, count, context, sync);
  if (context->threads > 1) meet(sync, context->threads);
  return fault;
}
#endif

#ifdef __wasm__
/* First byte after the kernels' own data: tensors may begin here. */
extern u8 __heap_base;
u32 EXPORT(heap_base) heap_base(void) { return (u32)(__UINTPTR_TYPE__)&__heap_base; }

#define POINTER(T, ADDRESS) ((T *)(__UINTPTR_TYPE__)(ADDRESS))

#ifdef MUSTER_THREADS
/*
 * Runs the tape at `tape` on this thread and the `threads` - 1 that serve `sync`. Their scratch follows that of thread 0.
 * As many take part as are ready: the result does not depend on how many.
 */
i32 EXPORT(run) run(u32 tape, u32 count, u32 scratch, u32 sync_address, u32 threads) {
  Sync *sync = POINTER(Sync, sync_address);
  u32 ready = atomic_load(&sync->ready) + 1;
  if (threads > ready) threads = ready;
  Context context = {POINTER(u8, 0), POINTER(u8, scratch), 0, threads};
  if (threads > 1) {
    sync->tape = tape;
    sync->count = count;
    atomic_store(&sync->fault, 0);
    atomic_store(&sync->job, next_job(sync->job, threads));
    WAKE(&sync->job);
  }
  return take_part(POINTER(const u32, tape), count, &context, sync);
}

/* A thread's life: takes part in every job of `sync` from now on, until told to stop. `scratch` is that of thread 0. */
void EXPORT(serve) serve(u32 sync_address, u32 scratch) {
  Sync *sync = POINTER(Sync, sync_address);
  u32 seen = atomic_load(&sync->job);
  u32 thread = atomic_add(&sync->ready, 1) + 1;
  for (;;) {
    for (u32 spins = 0; atomic_load(&sync->job) == seen; spins++) {
      if (atomic_load(&sync->stop)) return;
      if (spins > SPINS) SLEEP(&sync->job, seen);
    }
    seen = atomic_load(&sync->job);
    if (atomic_load(&sync->stop)) return;
    if (thread >= threads_of(seen)) continue;
    Context context = {POINTER(u8, 0), POINTER(u8, scratch) + thread * SCRATCH_BYTES, thread, threads_of(seen)};
    take_part(POINTER(const u32, sync->tape), sync->count, &context, sync);
  }
}
#else
i32 EXPORT(run) run(u32 tape, u32 count, u32 scratch) {
  Context context = {POINTER(u8, 0), POINTER(u8, scratch), 0, 1};
  return run_tape(POINTER(const u32, tape), count, &context, 0);
}
#endif
#else
#define NAMED(PREFIX, SUFFIX) PREFIX##_##SUFFIX
#define RUN_OF(SUFFIX) NAMED(muster_run, SUFFIX)
/* Called by native/addon.c, one such function for each instruction set. */
i32 RUN_OF(ISA)(const u32 *tape, u32 count, const Context *context, Sync *sync);
i32 RUN_OF(ISA)(const u32 *tape, u32 count, const Context *context, Sync *sync) { return take_part(tape, count, context, sync); }
#endif
