/** A thread of a program in a tab: started by the worker that computes, ended with it. */
import { serveThread, type ThreadStart } from '@muster/engine';

interface ThreadScope {
  addEventListener(type: 'message', listener: (event: { readonly data: ThreadStart }) => void): void;
}

(globalThis as unknown as ThreadScope).addEventListener('message', ({ data }) => serveThread(data));
