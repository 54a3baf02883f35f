/** Our executors, by the names the rows have. One that does not run here has a reason in its place. */
import { openExecutor } from '../../packages/adapters/src/index.ts';
import { MusterError } from '../../packages/protocol/src/index.ts';
import type { CompiledExecutor } from '../../packages/engine/src/index.ts';

export const executorNames = ['native', 'wasm'] as const;
export type ExecutorName = (typeof executorNames)[number];

/** The executor called `name` with `threads` threads, or why it is not here. */
export async function ourExecutor(name: ExecutorName, threads = 1): Promise<CompiledExecutor | string> {
  try {
    return await openExecutor({ name, threads });
  } catch (error) {
    if (error instanceof MusterError) return `not here: ${error.message}`;
    throw error;
  }
}
