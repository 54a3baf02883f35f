/**
 * Suite `engine-bits`: fifty training steps of every family on every executor that is here, with one thread and with two; the digests of the
 * states must be equal. A row's figure is the number of ways that gave the digest beside it.
 */
import { type Executor, prepareLoop, stateRoot } from '../packages/engine/src/index.ts';
import { executorNames, ourExecutor } from './lib/executors.ts';
import { plainRow, type Row } from './lib/measure.ts';
import { stepSpecs } from './lib/specs.ts';
import { stepCase, type StepCase } from './lib/step-case.ts';

const steps = 50;

function rootAfter({ program, state, inputs }: StepCase, executor: Executor): string {
  const loop = prepareLoop(executor, program, state.length);
  loop.setState(state);
  for (let step = 0; step < steps; step++) loop.step(inputs);
  const root = stateRoot(loop.readState().map((tensor, index) => ({ name: program.inputs[index]?.name ?? '', ...tensor })));
  loop.dispose();
  return root;
}

/** One row for each family. Throws when two executors differ. */
export async function* bitsSuite(): AsyncGenerator<Row> {
  for (const [name, spec] of Object.entries(stepSpecs)) {
    const step = await stepCase(name, spec);
    const roots: Record<string, string> = {};
    for (const executor of executorNames) {
      for (const threads of [1, 2]) {
        const found = await ourExecutor(executor, threads);
        roots[`${executor}, threads: ${threads}`] = typeof found === 'string' ? found : rootAfter(step, found);
      }
    }
    const measured = Object.values(roots).filter((root) => root.startsWith('0x'));
    const different = new Set(measured).size;
    if (different > 1) throw new Error(`${name}: the executors do not agree: ${JSON.stringify(roots)}`);
    yield plainRow(`${steps} steps of ${name}, equal bits`, 'ways', measured.length, roots);
  }
}
