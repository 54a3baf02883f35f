/** What a worker of `wasm-threads.ts` runs. */
import { workerData } from 'node:worker_threads';
import { serveThread, type ThreadStart } from '@muster/engine';

serveThread(workerData as ThreadStart);
