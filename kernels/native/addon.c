/*
 * The kernels as a Node-API addon: memories, and tapes run over them by a pool of threads. The instruction set is chosen when the
 * addon is loaded. The same kernels as the WebAssembly ones, hence the same bits.
 *
 * JavaScript sees: features() → names of the instruction sets this processor has; allocate(bytes) → ArrayBuffer of zeros outside
 * the JavaScript heap; discard(memory) gives its pages back at once; run(set, memory, tape, count, threads) → index of the entry that met a NaN, or -1.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <node_api.h>
/* The C library has a function of that name too. */
#define select select_lanes
#include "../threads.h"

typedef i32 Run(const u32 *tape, u32 count, const Context *context, Sync *sync);
typedef struct {
  const char *name;
  Run *run;
  int (*present)(void);
} InstructionSet;

#ifdef __x86_64__
Run muster_run_sse2, muster_run_avx2, muster_run_avx512;
static int has_sse2(void) { return 1; }
static int has_avx2(void) { return __builtin_cpu_supports("avx2"); }
static int has_avx512(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
static const InstructionSet sets[] = {
    {"avx512", muster_run_avx512, has_avx512}, {"avx2", muster_run_avx2, has_avx2}, {"sse2", muster_run_sse2, has_sse2}};
#elif defined(__aarch64__)
Run muster_run_neon;
static int has_neon(void) { return 1; }
static const InstructionSet sets[] = {{"neon", muster_run_neon, has_neon}};
#else
Run muster_run_portable;
static int has_portable(void) { return 1; }
static const InstructionSet sets[] = {{"portable", muster_run_portable, has_portable}};
#endif
#define SET_COUNT (sizeof(sets) / sizeof(sets[0]))

/* One pool for the process. A job belongs to whoever holds `busy`; jobs from other JavaScript threads wait for it. */
static struct {
  pthread_mutex_t busy, lock;
  pthread_cond_t wake;
  Sync sync;
  Run *run;
  u8 *memory;
  const u32 *tape;
  u32 count;
  u8 *scratch[MAX_THREADS];
  /* Threads that exist, thread 0 counted, and the job at which each began. */
  u32 started, first_job[MAX_THREADS];
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static void *serve(void *argument) {
  u32 thread = (u32)(size_t)argument;
  u32 seen = pool.first_job[thread];
  for (;;) {
    for (u32 spins = 0; spins < SPINS && atomic_load(&pool.sync.job) == seen; spins++) pause_briefly();
    if (atomic_load(&pool.sync.job) == seen) {
      pthread_mutex_lock(&pool.lock);
      while (atomic_load(&pool.sync.job) == seen) pthread_cond_wait(&pool.wake, &pool.lock);
      pthread_mutex_unlock(&pool.lock);
    }
    seen = atomic_load(&pool.sync.job);
    if (thread >= threads_of(seen)) continue;
    Context context = {pool.memory, pool.scratch[thread], thread, threads_of(seen)};
    pool.run(pool.tape, pool.count, &context, &pool.sync);
  }
  return NULL;
}

/* Packed panels and tensors span many small pages, whose translations would not stay at hand. */
static void prefer_large_pages(void *memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
  if (bytes >= (2u << 20)) madvise(memory, bytes, MADV_HUGEPAGE);
#else
  (void)memory;
  (void)bytes;
#endif
}

static u8 *scratch_of(u32 thread) {
  if (pool.scratch[thread] != NULL) return pool.scratch[thread];
  if (posix_memalign((void **)&pool.scratch[thread], SCRATCH_BYTES, SCRATCH_BYTES) != 0) return NULL;
  prefer_large_pages(pool.scratch[thread], SCRATCH_BYTES);
  return pool.scratch[thread];
}

/* As many of `threads` as could be started, at least 1; 0 if there is no memory. */
static u32 start_threads(u32 threads) {
  if (scratch_of(0) == NULL) return 0;
  if (pool.started == 0) pool.started = 1;
  while (pool.started < threads && scratch_of(pool.started) != NULL) {
    pthread_t thread;
    pool.first_job[pool.started] = atomic_load(&pool.sync.job);
    if (pthread_create(&thread, NULL, serve, (void *)(size_t)pool.started) != 0) break;
    pthread_detach(thread);
    pool.started++;
  }
  return threads < pool.started ? threads : pool.started;
}

static i32 run_job(const InstructionSet *set, u8 *memory, const u32 *tape, u32 count, u32 threads) {
  pthread_mutex_lock(&pool.busy);
  threads = start_threads(threads);
  i32 result = -2;
  if (threads > 0) {
    Context context = {memory, pool.scratch[0], 0, threads};
    if (threads > 1) {
      pool.run = set->run;
      pool.memory = memory;
      pool.tape = tape;
      pool.count = count;
      atomic_store(&pool.sync.fault, 0);
      pthread_mutex_lock(&pool.lock);
      atomic_store(&pool.sync.job, next_job(pool.sync.job, threads));
      pthread_cond_broadcast(&pool.wake);
      pthread_mutex_unlock(&pool.lock);
    }
    result = set->run(tape, count, &context, &pool.sync);
  }
  pthread_mutex_unlock(&pool.busy);
  return result;
}

static napi_value fail(napi_env env, const char *message) {
  napi_throw_error(env, NULL, message);
  return NULL;
}

static napi_value features(napi_env env, napi_callback_info info) {
  (void)info;
  napi_value list, name;
  napi_create_array(env, &list);
  u32 found = 0;
  for (u32 i = 0; i < SET_COUNT; i++) {
    if (!sets[i].present()) continue;
    napi_create_string_utf8(env, sets[i].name, NAPI_AUTO_LENGTH, &name);
    napi_set_element(env, list, found++, name);
  }
  return list;
}

static void release(napi_env env, void *memory, void *bytes) {
  int64_t change;
  munmap(memory, (size_t)bytes);
  napi_adjust_external_memory(env, -(int64_t)(size_t)bytes, &change);
}

static napi_value allocate(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument, buffer;
  double bytes = 0;
  int64_t change;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  if (napi_get_value_double(env, argument, &bytes) != napi_ok || !(bytes >= 1)) return fail(env, "allocate: expected a number of bytes");
  size_t size = (size_t)bytes;
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return fail(env, "allocate: no memory");
  prefer_large_pages(memory, size);
  if (napi_create_external_arraybuffer(env, memory, size, release, (void *)size, &buffer) != napi_ok) {
    munmap(memory, size);
    return fail(env, "allocate: this runtime takes no external memory");
  }
  napi_adjust_external_memory(env, (int64_t)size, &change);
  return buffer;
}

/* Gives the pages of an ArrayBuffer of `allocate` back to the system before the collector gets to it. Nobody may read it any more. */
static napi_value discard(napi_env env, napi_callback_info info) {
  size_t count = 1, bytes = 0;
  napi_value argument;
  void *memory = NULL;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  if (count != 1 || napi_get_arraybuffer_info(env, argument, &memory, &bytes) != napi_ok) return fail(env, "discard: expected a memory");
  if (memory != NULL) madvise(memory, bytes, MADV_DONTNEED);
  return NULL;
}

static napi_value run(napi_env env, napi_callback_info info) {
  size_t count = 5, bytes = 0;
  napi_value arguments[5], result;
  char name[16];
  void *memory = NULL;
  double tape = -1;
  u32 entries = 0, threads = 0;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  if (count != 5 || napi_get_value_string_utf8(env, arguments[0], name, sizeof(name), NULL) != napi_ok ||
      napi_get_arraybuffer_info(env, arguments[1], &memory, &bytes) != napi_ok ||
      napi_get_value_double(env, arguments[2], &tape) != napi_ok || napi_get_value_uint32(env, arguments[3], &entries) != napi_ok ||
      napi_get_value_uint32(env, arguments[4], &threads) != napi_ok)
    return fail(env, "run: expected (instruction set, memory, tape, count, threads)");
  if (!(tape >= 0) || tape + 16.0 * entries > (double)bytes) return fail(env, "run: the tape lies outside the memory");
  if (threads < 1) threads = 1;
  if (threads > MAX_THREADS) threads = MAX_THREADS;
  for (u32 i = 0; i < SET_COUNT; i++) {
    if (strcmp(sets[i].name, name) != 0 || !sets[i].present()) continue;
    i32 fault = run_job(&sets[i], memory, (const u32 *)((u8 *)memory + (size_t)tape), entries, threads);
    if (fault == -2) return fail(env, "run: no memory for the threads");
    napi_create_int32(env, fault, &result);
    return result;
  }
  return fail(env, "run: this processor has no such instruction set");
}

NAPI_MODULE_INIT() {
  const struct {
    const char *name;
    napi_callback call;
  } functions[] = {{"features", features}, {"allocate", allocate}, {"discard", discard}, {"run", run}};
  for (u32 i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
    napi_value function;
    napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function);
    napi_set_named_property(env, exports, functions[i].name, function);
  }
  return exports;
}
