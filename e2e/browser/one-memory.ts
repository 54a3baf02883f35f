/**
 * An executor all of whose programs use one memory, so that its threads need to be started once and can be waited for. Programs that take a
 * moment would else be over before their first thread is ready, and nothing would have been shown of threads.
 *
 * For checks only: one program may be in use at a time, since the next one overwrites it. No Node and no DOM in here.
 */
import { type CompiledExecutor, createExecutor } from '@muster/engine';

/** Bytes of the memory: more than any vector and any small model takes. */
const memoryBytes = 1 << 26;

/** An executor whose threads are all at work, and what ends them. */
export interface ReadyExecutor {
  readonly executor: CompiledExecutor;
  readonly end: () => void;
}

/** `executor`, over one memory whose `threads` threads are ready. `pause` lets the platform go on with starting them. */
export async function withThreadsReady(
  { backend }: CompiledExecutor,
  threads: number,
  pause: () => Promise<unknown>,
): Promise<ReadyExecutor> {
  const memory = backend.allocate(memoryBytes);
  while (memory.threads() < threads) await pause();
  const executor = createExecutor({
    name: backend.name,
    start: backend.start,
    maxBytes: memoryBytes,
    memoryLimitBytes: null,
    allocate(bytes) {
      new Uint8Array(memory.buffer).fill(0, backend.start, bytes);
      return {
        buffer: memory.buffer,
        run: (tape, count) => memory.run(tape, count),
        threads: () => memory.threads(),
        dispose() {},
      };
    },
  });
  return { executor, end: () => memory.dispose() };
}
