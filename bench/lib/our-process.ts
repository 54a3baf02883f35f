/** Our executor in processes of their own: the program and its tensors on disk, and children that run it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodeProgram, type NamedTensor } from '../../packages/engine/src/index.ts';
import type { Candidate } from './alternate.ts';
import type { ExecutorName } from './executors.ts';
import { type LineChild, startLineChild } from './line-child.ts';
import type { StepCase } from './step-case.ts';
import { writeTensorFile } from './tensor-file.ts';

export interface OurProcess {
  readonly child: LineChild;
  candidate(name: string): Candidate;
}

/** Writes what a process needs to run `step` into `folder`. */
export function writeStepCase(step: StepCase, folder: string): void {
  writeFileSync(join(folder, 'program'), encodeProgram(step.program));
  const tensors = [...step.state, ...step.inputs];
  writeTensorFile(
    join(folder, 'tensors'),
    step.program.inputs.map(({ name }, index) => ({ ...(tensors[index] as NamedTensor), name })),
  );
}

/** A process that runs the step in `folder`. Rejects with the reason if the executor is not here. */
export async function startOurs(folder: string, stateCount: number, executor: ExecutorName, threads: number): Promise<OurProcess> {
  const script = fileURLToPath(new URL('step-child.ts', import.meta.url));
  const child = startLineChild(process.execPath, [script], {});
  const [program, tensors] = [join(folder, 'program'), join(folder, 'tensors')];
  try {
    await child.ask({ do: 'prepare', program, tensors, stateCount, executor, threads });
  } catch (error) {
    await child.close();
    throw error;
  }
  return {
    child,
    candidate: (name) => ({
      name,
      block: async (milliseconds, least) => (await child.ask({ do: 'block', milliseconds, least }))['times'] as number[],
      release: () => child.close(),
    }),
  };
}
