/** Our executors, by the names the rows have. One that does not run here has a reason in its place. */
import { createWasmExecutor, type Executor } from '../../packages/engine/src/index.ts';

export const executorNames = ['native', 'wasm'] as const;
export type ExecutorName = (typeof executorNames)[number];

/** The executor called `name` with `threads` threads, or why it is not here. */
export async function ourExecutor(name: ExecutorName, threads = 1): Promise<Executor | string> {
  if (name === 'native') return 'not here: no native executor is built';
  return threads === 1 ? createWasmExecutor() : 'not here: the WASM executor has one thread';
}
