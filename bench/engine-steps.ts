/**
 * Suite `engine-steps`: whole training steps (forward, backward, optimizer) on one thread, from the same parameters and batch. Losses of
 * the first steps are compared first, so that nobody is timed for doing something else.
 */
import { join } from 'node:path';
import type { Executor } from '../packages/engine/src/index.ts';
import { alternate, type Candidate } from './lib/alternate.ts';
import { type ExecutorName, executorNames, ourExecutor } from './lib/executors.ts';
import { jaxMlpStep, startJax } from './lib/jax.ts';
import { missingRow, type Row, turnsRow } from './lib/measure.ts';
import { type PythonPeer, startPythons } from './lib/python.ts';
import { cnn, gpt, lenet, mamba, mlp, resnet } from './lib/specs.ts';
import { ourLosses, ourStep, type StepCase, stepCase, writeStepFile } from './lib/step-case.ts';
import { stepTensors } from './lib/mlp.ts';
import { inTemporaryFolder } from './lib/tensor-file.ts';
import { loadTf, tfMlpStep } from './lib/tfjs.ts';

interface StepBench {
  readonly title: string;
  readonly make: () => Promise<StepCase>;
  /** What the native executor must reach against PyTorch. */
  readonly target: number | null;
}

const benches: readonly StepBench[] = [
  { title: 'mlp 784-256-10 batch 64 sgd', make: () => stepCase('mlp', mlp), target: 1 },
  { title: 'lenet batch 64 sgd', make: () => stepCase('lenet', lenet), target: 1 },
  { title: 'gpt 4 × 128, context 64, batch 12, adamw', make: () => stepCase('gpt', gpt), target: 1.5 },
  { title: 'mamba-2 7 × 128, context 64, batch 12, adamw', make: () => stepCase('mamba', mamba), target: null },
  { title: 'cnn 28×28 8-16 batch 64 sgd', make: () => stepCase('cnn', cnn), target: null },
  { title: 'resnet 32×32×3, 8 layers, 16-32-64, batch 32 sgd', make: () => stepCase('resnet', resnet), target: null },
];

const compared = 5;

/** Fails unless the losses of the first steps agree with PyTorch's. */
async function requireSameLosses(step: StepCase, file: string, python: PythonPeer, executor: Executor): Promise<void> {
  const results = await python.losses({ what: 'step', spec: step.spec, file }, compared);
  ourLosses(step, executor, compared).forEach((ours, index) => {
    const theirs = results[index] ?? Number.NaN;
    if (!(Math.abs(ours - theirs) <= 1e-3 * Math.abs(theirs))) {
      throw new Error(`${step.name}: loss of step ${index} is ${ours}, PyTorch's ${theirs}: the two do not train the same model`);
    }
  });
}

async function rowsOf(
  { title, make, target }: StepBench,
  pythons: readonly PythonPeer[],
  missing: string | null,
  others: () => Promise<Candidate[]>,
): Promise<Row[]> {
  const step = await make();
  const executors = new Map<ExecutorName, Executor | string>();
  for (const name of executorNames) executors.set(name, await ourExecutor(name));
  const wasm = executors.get('wasm') as Executor;
  return inTemporaryFolder(async (folder) => {
    const file = join(folder, 'step');
    writeStepFile(step, file);
    const torches = pythons.filter(({ hasTorch }) => hasTorch);
    if (torches[0] !== undefined) await requireSameLosses(step, file, torches[0], wasm);
    const candidates = [...executors].flatMap(([name, found]) => (typeof found === 'string' ? [] : [ourStep(step, name, found)]));
    for (const python of torches) candidates.push(await python.candidate('pytorch', { what: 'step', spec: step.spec, file }));
    candidates.push(...(await others()));
    const measured = await alternate(candidates, { turns: 15, blockMs: 150, least: 2 });
    return [...executors].map(([name, found]) => {
      const ours = measured.find((one) => one.name === name);
      if (ours === undefined) return missingRow(`train ${title}, ${name}, one thread`, typeof found === 'string' ? found : 'not measured');
      const peers = measured.filter((one) =>
        name === 'native' ? one.name.startsWith('pytorch') : !executorNames.some((own) => own === one.name),
      );
      const absent: Record<string, string> = missing === null ? {} : { pytorch: missing };
      return turnsRow(
        `train ${title}, ${name}, one thread`,
        'ms',
        ours,
        peers,
        (ms) => ms,
        absent,
        name === 'native' && target !== null ? target : undefined,
      );
    });
  });
}

/** Time of the GPT's step over that of a Mamba-2 of equal size, for each of our executors; the least that is asked for is 1 / 1.5. */
async function* familiesRows(): AsyncGenerator<Row> {
  const [transformer, stateSpace] = [await stepCase('gpt', gpt), await stepCase('mamba', mamba)];
  for (const name of executorNames) {
    const bench = `train mamba-2 against gpt of equal size, ${name}, one thread`;
    const executor = await ourExecutor(name);
    if (typeof executor === 'string') {
      yield missingRow(bench, executor);
      continue;
    }
    const candidates = [ourStep(stateSpace, 'mamba', executor), ourStep(transformer, 'our gpt', executor)];
    const [ours, other] = await alternate(candidates, { turns: 9, blockMs: 150, least: 2 });
    if (ours !== undefined && other !== undefined) yield turnsRow(bench, 'ms', ours, [other], (ms) => ms, {}, 0.667);
  }
}

/** Rows of the suite, each as soon as it is measured. */
export async function* stepsSuite(): AsyncGenerator<Row> {
  await startJax();
  const tf = await loadTf();
  const { peers: pythons, missing } = await startPythons(1);
  for (const bench of benches) {
    const others = async (): Promise<Candidate[]> => {
      if (bench !== benches[0]) return [];
      const tensors = stepTensors();
      return [jaxMlpStep(tensors), ...(typeof tf === 'string' ? [] : [tfMlpStep(tf, tensors)])];
    };
    yield* await rowsOf(bench, pythons, missing, others);
  }
  for (const python of pythons) await python.close();
  yield* familiesRows();
}
