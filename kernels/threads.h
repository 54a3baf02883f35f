/*
 * How threads that run one tape meet. The state lies in memory they share; all of it is read and written atomically or while only
 * one of them runs.
 */
#ifndef MUSTER_THREADS_H
#define MUSTER_THREADS_H
#include "types.h"

typedef struct {
  /* Threads that have come to the present meeting, and how many meetings there were. */
  u32 arrived, meetings;
  /* One more than the index of the entry in which a thread's result held a NaN; 0 if there was none. */
  u32 fault;
  /* The number of the present job times 256, and the threads that take part in it: one word, so that nobody reads half of it. */
  u32 job;
  /* 1 ends the threads at the next job. */
  u32 stop;
  /* Threads that wait for jobs, thread 0 not counted. */
  u32 ready;
  /* Threads that sleep until the meeting ends. */
  u32 sleepers;
  /* Looks that waiting has been worth lately, less FEW_SPINS. Where other processes hold the cores, looking only takes time from them. */
  u32 patience;
  /* The job's tape, in WebAssembly. Written before `job` changes; who takes part reads it before the job's last meeting. */
  u32 tape, count;
} Sync;
#define MAX_THREADS 64

#ifdef MUSTER_THREADS
/* Looks at a condition before a waiting thread gives way: at most, and after meetings that were slept through. */
#define SPINS 4000
#define FEW_SPINS 60

#define atomic_load(P) __atomic_load_n(P, __ATOMIC_SEQ_CST)
#define atomic_store(P, X) __atomic_store_n(P, X, __ATOMIC_SEQ_CST)
#define atomic_add(P, X) __atomic_fetch_add(P, X, __ATOMIC_SEQ_CST)

/* Sleeps until `*word` is no longer `value` and somebody wakes it, or for no reason; and wakes all who sleep so. */
#if defined(__wasm__)
#define SLEEP(WORD, VALUE) __builtin_wasm_memory_atomic_wait32((int *)(WORD), (int)(VALUE), -1)
#define WAKE(WORD) __builtin_wasm_memory_atomic_notify((int *)(WORD), MAX_THREADS)
#elif defined(__linux__)
#include <sys/syscall.h>
extern long syscall(long number, ...);
#define SLEEP(WORD, VALUE) syscall(SYS_futex, WORD, 128 /* wait, private */, VALUE, (void *)0)
#define WAKE(WORD) syscall(SYS_futex, WORD, 129 /* wake, private */, MAX_THREADS)
#else
extern int sched_yield(void);
#define SLEEP(WORD, VALUE) sched_yield()
#define WAKE(WORD) (void)(WORD)
#endif

#define threads_of(JOB) ((JOB) & 255u)
/* The word of the job after `job`. */
INLINE u32 next_job(u32 job, u32 threads) { return ((job >> 8) + 1) << 8 | threads; }

INLINE void pause_briefly(void) {
#ifdef __x86_64__
  __builtin_ia32_pause();
#endif
}

/*
 * Returns when all `threads` have called it. Waiting threads look for a while, since meetings are a few microseconds apart, and
 * then sleep, so that on a busy machine the one they wait for gets its core.
 */
INLINE void meet(Sync *sync, u32 threads) {
  u32 meeting = atomic_load(&sync->meetings);
  if (atomic_add(&sync->arrived, 1) + 1 == threads) {
    atomic_store(&sync->arrived, 0);
    atomic_add(&sync->meetings, 1);
    if (atomic_load(&sync->sleepers) != 0) WAKE(&sync->meetings);
    return;
  }
  u32 patience = __atomic_load_n(&sync->patience, __ATOMIC_RELAXED);
  for (u32 spins = 0; spins < patience + FEW_SPINS; spins++) {
    if (atomic_load(&sync->meetings) != meeting) {
      if (patience < SPINS) __atomic_store_n(&sync->patience, patience + FEW_SPINS, __ATOMIC_RELAXED);
      return;
    }
    pause_briefly();
  }
  __atomic_store_n(&sync->patience, patience / 2, __ATOMIC_RELAXED);
  /* Counted before the last look: whoever ends the meeting afterwards sees a sleeper and wakes it. */
  atomic_add(&sync->sleepers, 1);
  while (atomic_load(&sync->meetings) == meeting) SLEEP(&sync->meetings, meeting);
  atomic_add(&sync->sleepers, -1);
}
#endif

#endif
