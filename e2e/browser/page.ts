/** The page of the browser test: starts a fresh worker for each request and hands back its answer. */
import type { Request, Response } from './messages.ts';

/** The part of a browser's worker that is used. */
interface BrowserWorker {
  addEventListener(type: 'message', listener: (event: { readonly data: Response }) => void): void;
  addEventListener(type: 'error', listener: (event: { readonly message: string }) => void): void;
  postMessage(request: Request, transfer: readonly []): void;
  terminate(): void;
}
declare const Worker: new (url: URL, options: { readonly type: 'module' }) => BrowserWorker;

function ask(request: Request): Promise<Response> {
  return new Promise((resolve) => {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
    const done = (response: Response): void => {
      worker.terminate();
      resolve(response);
    };
    worker.addEventListener('message', ({ data }) => done(data));
    worker.addEventListener('error', ({ message }) => done({ kind: 'failed', reason: `the worker stopped: ${message}` }));
    worker.postMessage(request, []);
  });
}

/** What the test calls. */
export interface PageApi {
  readonly ask: (request: Request) => Promise<Response>;
}

(globalThis as unknown as { musterPage: PageApi }).musterPage = { ask };
