/**
 * Suite `engine-bits`: fifty training steps of every family on every instruction set and in WebAssembly, each with one thread and with two;
 * the digests of the states must be equal. A row's figure is the number of ways that gave the digest beside it.
 */
import { nativeKernels, openExecutor } from '../packages/adapters/src/index.ts';
import { type Executor, prepareLoop, stateRoot } from '../packages/engine/src/index.ts';
import { plainRow, type Row } from './lib/measure.ts';
import { stepSpecs } from './lib/specs.ts';
import { stepCase, type StepCase } from './lib/step-case.ts';

const steps = 50;

async function rootAfter({ program, state, inputs }: StepCase, executor: Executor): Promise<string> {
  const loop = prepareLoop(executor, program, state.length);
  loop.setState(state);
  for (let step = 0; step < steps; step++) {
    loop.step(inputs);
    // Lets threads of WebAssembly come up; from then on they take part.
    await new Promise((resolve) => setImmediate(resolve));
  }
  const root = stateRoot(loop.readState().map((tensor, index) => ({ name: program.inputs[index]?.name ?? '', ...tensor })));
  loop.dispose();
  return root;
}

/** One row for each family. Throws when two executors differ. */
export async function* bitsSuite(): AsyncGenerator<Row> {
  const native = nativeKernels();
  const names = [...(native.available ? native.instructionSets.map((set) => `native-${set}`) : []), 'wasm'];
  const missing: Record<string, string> = native.available ? {} : { native: `not here: ${native.reason}` };
  for (const [name, spec] of Object.entries(stepSpecs)) {
    const step = await stepCase(name, spec);
    const roots: Record<string, string> = {};
    for (const executor of names) {
      for (const threads of [1, 2]) {
        roots[`${executor}, threads: ${threads}`] = await rootAfter(step, await openExecutor({ name: executor, threads }));
      }
    }
    const measured = Object.values(roots);
    if (new Set(measured).size > 1) throw new Error(`${name}: the executors do not agree: ${JSON.stringify(roots)}`);
    yield plainRow(`${steps} steps of ${name}, equal bits`, 'ways', measured.length, { ...roots, ...missing });
  }
}
