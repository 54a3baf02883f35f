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
  /* 1 if a thread's result held a NaN. */
  u32 fault;
  /* The number of the present job times 256, and the threads that take part in it: one word, so that nobody reads half of it. */
  u32 job;
  /* 1 ends the threads at the next job. */
  u32 stop;
  /* Threads that wait for jobs, thread 0 not counted. */
  u32 ready;
  /* The job's tape, in WebAssembly. Written before `job` changes; who takes part reads it before the job's last meeting. */
  u32 tape, count;
} Sync;
#define MAX_THREADS 64

#ifdef MUSTER_THREADS
/* Looks at a condition before a waiting thread gives way. */
#define SPINS 4000

#define atomic_load(P) __atomic_load_n(P, __ATOMIC_SEQ_CST)
#define atomic_store(P, X) __atomic_store_n(P, X, __ATOMIC_SEQ_CST)
#define atomic_add(P, X) __atomic_fetch_add(P, X, __ATOMIC_SEQ_CST)

#ifndef __wasm__
extern int sched_yield(void);
#endif

#define threads_of(JOB) ((JOB) & 255u)
/* The word of the job after `job`. */
INLINE u32 next_job(u32 job, u32 threads) { return ((job >> 8) + 1) << 8 | threads; }

/* Returns when all `threads` have called it. */
INLINE void meet(Sync *sync, u32 threads) {
  u32 meeting = atomic_load(&sync->meetings);
  if (atomic_add(&sync->arrived, 1) + 1 == threads) {
    atomic_store(&sync->arrived, 0);
    atomic_add(&sync->meetings, 1);
    return;
  }
  for (u32 spins = 0; atomic_load(&sync->meetings) == meeting; spins++) {
#ifdef __x86_64__
    __builtin_ia32_pause();
#endif
    if (spins > SPINS) {
#ifdef __wasm__
      /* Nobody notifies: waking by time lets another thread have the core without a call at every meeting. */
      __builtin_wasm_memory_atomic_wait32((int *)&sync->meetings, (int)meeting, 50000);
#else
      sched_yield();
#endif
    }
  }
}
#endif

#endif
