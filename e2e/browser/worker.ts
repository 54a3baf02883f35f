/**
 * The worker in which a tab computes. It gets one request and answers with one report; programs and tensors it fetches by content id from
 * where it was loaded. `createExecutor` is the one place that says how a tab computes.
 */
import { createWasmExecutor, type Executor } from '@muster/engine';
import { checkConformance, checkTraining, type GetBlock, type VectorFile } from './checks.ts';
import type { Request, Response } from './messages.ts';

/** The part of a worker's global scope that is used. */
interface WorkerScope {
  readonly crossOriginIsolated: boolean;
  readonly location: { readonly origin: string };
  postMessage(response: Response, transfer: readonly []): void;
  addEventListener(type: 'message', listener: (event: { readonly data: Request }) => void): void;
}
const scope = globalThis as unknown as WorkerScope;

const createExecutor = async (): Promise<Executor> => await createWasmExecutor();

async function fetched(path: string): Promise<globalThis.Response> {
  const response = await fetch(new URL(path, scope.location.origin));
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response;
}

const getBlock: GetBlock = async (cid) => new Uint8Array(await (await fetched(`/blocks/${cid}`)).arrayBuffer());

async function answer(request: Request): Promise<Response> {
  const executor = await createExecutor();
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
