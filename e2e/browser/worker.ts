/**
 * The worker in which a tab computes. It gets one request and answers with one report; programs and tensors it fetches by content id from
 * where it was loaded. `openExecutor` is the one place that says how a tab computes. A worker may wait for its threads, a page may not.
 */
import { createThreadedExecutor, createWasmExecutor, type Executor, type ThreadStart } from '@muster/engine';
import { checkConformance, checkTraining, type GetBlock, type VectorFile } from './checks.ts';
import type { Request, Response } from './messages.ts';
import { type ReadyExecutor, withThreadsReady } from './one-memory.ts';

/** The part of a worker's global scope that is used. */
interface WorkerScope {
  readonly crossOriginIsolated: boolean;
  readonly location: { readonly origin: string };
  postMessage(response: Response, transfer: readonly []): void;
  addEventListener(type: 'message', listener: (event: { readonly data: Request }) => void): void;
}
const scope = globalThis as unknown as WorkerScope;

/** The part of a worker's worker that is used. */
interface ThreadWorker {
  postMessage(start: ThreadStart, transfer: readonly []): void;
  terminate(): void;
}
declare const Worker: new (url: URL, options: { readonly type: 'module' }) => ThreadWorker;

/** Starts a thread; returns what ends it. */
function spawn(start: ThreadStart): () => void {
  const worker = new Worker(new URL('./thread.ts', import.meta.url), { type: 'module' });
  worker.postMessage(start, []);
  return () => worker.terminate();
}

async function openExecutor(threads: number): Promise<ReadyExecutor> {
  if (threads === 1) return { executor: await createWasmExecutor(), end: () => undefined };
  const threaded = createThreadedExecutor({ threads, leastBytes: 0, spawn });
  return await withThreadsReady(threaded, threads, async () => await new Promise((resolve) => setTimeout(resolve)));
}

async function fetched(path: string): Promise<globalThis.Response> {
  const response = await fetch(new URL(path, scope.location.origin));
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response;
}

const getBlock: GetBlock = async (cid) => new Uint8Array(await (await fetched(`/blocks/${cid}`)).arrayBuffer());

async function answer(request: Request): Promise<Response> {
  const { executor, end } = await openExecutor(request.threads);
  try {
    return await answerWith(executor, request);
  } finally {
    end();
  }
}

async function answerWith(executor: Executor, request: Request): Promise<Response> {
  switch (request.kind) {
    case 'conformance': {
      const files: VectorFile[] = [];
      for (const name of request.files) files.push({ name, json: await (await fetched(`/vectors/${name}`)).json() });
      return { kind: 'conformance', isolated: scope.crossOriginIsolated, report: checkConformance(executor, files) };
    }
    case 'training':
      return { kind: 'training', report: await checkTraining(executor, request.given, getBlock) };
    default:
      return request satisfies never;
  }
}

const reply = (response: Response): void => scope.postMessage(response, []);
const reasonOf = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));

scope.addEventListener('message', ({ data }) => {
  answer(data).then(reply, (error: unknown) => reply({ kind: 'failed', reason: reasonOf(error) }));
});
