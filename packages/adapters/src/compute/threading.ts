/** When threads are worth it, natively and in WebAssembly alike. */

/** Programs with less memory run on one thread: starting threads, and meeting after every kernel, cost them more than they gain. */
export const leastThreadedBytes = 1 << 20;
