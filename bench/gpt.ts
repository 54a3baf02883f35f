/**
 * Suite `gpt --data <text file>`: nanoGPT's recipe for a CPU (character tokens, 4 layers, 4 heads, width 128, context 64, batch 12, 2000
 * iterations, AdamW, warm-up and cosine, clipping at 1) on our executor and on PyTorch, from the same parameters and over the same batches,
 * in turns of a hundred iterations. Prints times, losses over a hundred validation batches, and text that our model writes.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Executor,
  type NamedTensor,
  prepareLoop,
  type PreparedProgram,
  stateRoot,
  type Tensor,
} from '../packages/engine/src/index.ts';
import { buildModel, type BuiltModel, characterTokenizer, type ModelSpec } from '../packages/models/src/index.ts';
import { option } from './lib/arguments.ts';
import { type ExecutorName, executorNames, ourExecutor } from './lib/executors.ts';
import type { Measured } from './lib/alternate.ts';
import { missingRow, plainRow, type Row, round, turnsRow } from './lib/measure.ts';
import { type PythonPeer, startPythons } from './lib/python.ts';
import { gpt } from './lib/specs.ts';
import { filled, initialParameters, uniforms } from './lib/step-case.ts';
import { inTemporaryFolder, writeTensorFile } from './lib/tensor-file.ts';

const validationBatches = 100;
const turn = 100;
const reportEvery = 500;
/** nanoGPT's README reports 1.88 for this recipe. */
const lossTarget = 1.9;

const temperature = 0.8;
const topK = 200;
const sampleLength = 500;

interface Corpus {
  readonly train: Int32Array;
  readonly validation: Int32Array;
  /** First tokens of every batch, [iterations, batch] and [validationBatches, batch]. */
  readonly offsets: Tensor;
  readonly validationOffsets: Tensor;
}

const { batchSize, context } = gpt;

function integers(data: Int32Array): Tensor {
  return { dtype: 'int32', shape: [data.length], data };
}

function corpusOf(tokens: Int32Array, iterations: number): Corpus {
  const border = Math.floor(tokens.length * 0.9);
  const [train, validation] = [tokens.slice(0, border), tokens.slice(border)];
  const random = uniforms(1337);
  const offsets = (part: Int32Array, batches: number): Tensor =>
    filled({ dtype: 'int32', shape: [batches, batchSize] }, () => random() * (part.length - context));
  return { train, validation, offsets: offsets(train, iterations), validationOffsets: offsets(validation, validationBatches) };
}

/** x and y of one batch: windows of `part` and what follows each token in them. */
function windows(part: Int32Array, offsets: Tensor, batch: number): [Tensor, Tensor] {
  const [x, y] = [new Int32Array(batchSize * context), new Int32Array(batchSize * context)];
  for (let row = 0; row < batchSize; row++) {
    const start = offsets.data[batch * batchSize + row] ?? 0;
    x.set(part.subarray(start, start + context), row * context);
    y.set(part.subarray(start + 1, start + 1 + context), row * context);
  }
  const shape = [batchSize, context];
  return [
    { dtype: 'int32', shape, data: x },
    { dtype: 'int32', shape, data: y },
  ];
}

/** Somebody who trains: `train` returns milliseconds and the loss of the last step. */
interface Trainer {
  readonly name: string;
  train(from: number, to: number): Promise<{ readonly milliseconds: number; readonly loss: number }>;
  evaluate(): Promise<number>;
}

async function torchTrainer(python: PythonPeer, spec: ModelSpec, file: string): Promise<Trainer> {
  await python.ask({ do: 'recipe', action: 'start', spec, file });
  return {
    name: `pytorch${python.suffix}`,
    async train(from, to) {
      const answer = await python.ask({ do: 'recipe', action: 'train', from, to });
      return { milliseconds: Number(answer['milliseconds']), loss: Number(answer['loss']) };
    },
    evaluate: async () => Number((await python.ask({ do: 'recipe', action: 'evaluate' }))['loss']),
  };
}

interface OurTrainer extends Trainer {
  parameters(): Tensor[];
}

function ourTrainer(
  name: string,
  executor: Executor,
  { model, programs }: BuiltModel,
  initial: readonly Tensor[],
  corpus: Corpus,
): OurTrainer {
  const stateCount = model.parameters.length + model.slots.length;
  const loop = prepareLoop(executor, programs.trainStep, stateCount);
  loop.setState([...initial, ...model.slots.map((slot) => filled(slot, () => 0))]);
  const key: Tensor = { dtype: 'uint32', shape: [2], data: Uint32Array.of(0, 0) };
  const parameters = (): Tensor[] => loop.readState().slice(0, model.parameters.length);
  return {
    name,
    parameters,
    train(from, to) {
      const began = performance.now();
      let loss = Number.NaN;
      for (let step = from; step < to; step++) {
        const batch = windows(corpus.train, corpus.offsets, step);
        loss = loop.step([...batch, key, { dtype: 'int32', shape: [], data: Int32Array.of(step) }])[0]?.data[0] ?? Number.NaN;
      }
      return Promise.resolve({ milliseconds: performance.now() - began, loss });
    },
    evaluate() {
      const evaluate = executor.prepare(programs.evaluate);
      const mask = filled({ dtype: 'float32', shape: [batchSize] }, () => 1);
      const now = parameters();
      let sum = 0;
      for (let batch = 0; batch < validationBatches; batch++) {
        const [lossSum] = evaluate.run([...now, ...windows(corpus.validation, corpus.validationOffsets, batch), mask]);
        sum += lossSum?.data[0] ?? Number.NaN;
      }
      evaluate.dispose();
      return Promise.resolve(sum / (validationBatches * batchSize));
    },
  };
}

/** The token drawn from `scores` at the temperature, among the `topK` likeliest. */
function draw(scores: Float32Array, random: () => number): number {
  const candidates = [...scores.entries()].toSorted((a, b) => b[1] - a[1]).slice(0, topK);
  const highest = candidates[0]?.[1] ?? 0;
  const weights = candidates.map(([, score]) => Math.exp((score - highest) / temperature));
  let left = random() * weights.reduce((sum, weight) => sum + weight, 0);
  const chosen = weights.findIndex((weight) => (left -= weight) < 0);
  return candidates[Math.max(chosen, 0)]?.[0] ?? 0;
}

/** `length` tokens that the model writes after the token `first`, from windows of its context. */
function sample(apply: PreparedProgram, parameters: readonly Tensor[], vocabulary: number, first: number, length: number): number[] {
  const random = uniforms(42);
  const text = [first];
  while (text.length <= length) {
    const window = text.slice(-context);
    const x: Tensor = { dtype: 'int32', shape: [1, context], data: Int32Array.from({ length: context }, (_, i) => window[i] ?? 0) };
    const scores = apply.run([...parameters, x])[0]?.data as Float32Array;
    const last = window.length - 1;
    text.push(draw(scores.subarray(last * vocabulary, (last + 1) * vocabulary), random));
  }
  return text.slice(1);
}

async function chosenExecutor(threads: number): Promise<[ExecutorName, Executor] | string> {
  const asked = option('executor', '');
  let reason = `--executor: one of ${executorNames.join(', ')}`;
  for (const name of executorNames) {
    if (asked !== '' && asked !== name) continue;
    const found = await ourExecutor(name, threads);
    if (typeof found !== 'string') return [name, found];
    reason = found;
  }
  return reason;
}

/** Seconds of all turns together; the ratio is that of the sums, beside it those within the turns. */
function timeRow(
  bench: string,
  trainers: readonly Trainer[],
  turns: readonly (readonly number[])[],
  absent: Readonly<Record<string, string>>,
): Row {
  const measured = trainers.map(({ name }, index): Measured => {
    const blocks = turns[index] ?? [];
    return { name, blocks, milliseconds: blocks.reduce((sum, time) => sum + time, 0), fastestMs: Math.min(...blocks) };
  });
  const [ours, ...peers] = measured as [Measured, ...Measured[]];
  const row = turnsRow(bench, 's', ours, peers, (ms) => ms / 1000, absent, 1);
  return {
    ...row,
    ratio: peers.length === 0 ? null : round(Math.min(...peers.map(({ milliseconds }) => milliseconds)) / ours.milliseconds),
  };
}

/** Rows of the suite. `--executor`, `--threads` and `--iterations` choose others than the fastest, 1 and 2000. */
export async function* gptSuite(): AsyncGenerator<Row> {
  const path = option('data', '');
  if (path === '') throw new Error('gpt: --data <text file>, for instance tinyshakespeare.txt');
  const iterations = Number(option('iterations', '2000'));
  const threads = Number(option('threads', '1'));
  const chosen = await chosenExecutor(threads);
  if (typeof chosen === 'string') {
    yield missingRow('gpt recipe', chosen);
    return;
  }
  const [name, executor] = chosen;
  const text = readFileSync(path, 'utf8');
  const tokenizer = characterTokenizer([text]);
  const spec: ModelSpec = {
    ...gpt,
    vocabulary: tokenizer.vocabulary,
    schedule: { kind: 'cosine', warmupSteps: 100, totalSteps: iterations, minimumRate: 1e-4 },
  };
  const built = await buildModel(spec);
  const single = await buildModel({ ...spec, evaluationBatch: 1 });
  const corpus = corpusOf(tokenizer.encode(text), iterations);
  const initial = initialParameters(built);
  const { peers: pythons, missing } = await startPythons(threads);
  const ours = ourTrainer(name, executor, built, initial, corpus);
  const trainers: Trainer[] = [ours];
  await inTemporaryFolder(async (folder) => {
    const file = join(folder, 'start');
    const { train, validation, offsets, validationOffsets } = corpus;
    writeTensorFile(file, [
      ...initial,
      { name: 'train', ...integers(train) },
      { name: 'validation', ...integers(validation) },
      { name: 'offsets', ...offsets },
      { name: 'validationOffsets', ...validationOffsets },
    ]);
    for (const python of pythons) if (python.hasTorch) trainers.push(await torchTrainer(python, spec, file));
  });
  const turns = trainers.map((): number[] => []);
  const absent: Record<string, string> = missing === null ? {} : { pytorch: missing };
  for (let from = 0; from < iterations; from += turn) {
    const to = Math.min(from + turn, iterations);
    const losses: number[] = [];
    for (const [index, trainer] of trainers.entries()) {
      const { milliseconds, loss } = await trainer.train(from, to);
      turns[index]?.push(milliseconds);
      losses.push(round(loss));
    }
    if (to % reportEvery === 0 || to === iterations) {
      const peers = Object.fromEntries(trainers.slice(1).map((trainer, index) => [trainer.name, losses[index + 1] ?? Number.NaN]));
      yield plainRow(`gpt recipe, iteration ${to}, training loss`, 'nats', losses[0] ?? Number.NaN, { ...peers, ...absent });
    }
  }
  yield timeRow(`gpt recipe, ${iterations} iterations, ${name}, threads: ${threads}`, trainers, turns, absent);
  const validation: number[] = [];
  for (const trainer of trainers) validation.push(round(await trainer.evaluate()));
  const theirs = Object.fromEntries(trainers.slice(1).map((trainer, index) => [trainer.name, validation[index + 1] ?? Number.NaN]));
  const loss = validation[0] ?? Number.NaN;
  const verdict = iterations === 2000 ? { target: loss <= lossTarget ? `${lossTarget} reached` : `MISSED: at most ${lossTarget}` } : {};
  yield plainRow(`gpt recipe, loss over ${validationBatches} validation batches`, 'nats', loss, { ...theirs, ...absent, ...verdict });
  for (const python of pythons) await python.close();
  const parameters = ours.parameters();
  const named = initial.map(({ name: parameter }, index): NamedTensor => ({ name: parameter, ...(parameters[index] as Tensor) }));
  yield plainRow('gpt recipe, parameters trained', 'tensors', parameters.length, { root: stateRoot(named) });
  const apply = executor.prepare(single.programs.apply);
  const newline = tokenizer.encode('\n')[0] ?? 0;
  const written = tokenizer.decode(sample(apply, parameters, tokenizer.vocabulary, newline, sampleLength));
  apply.dispose();
  yield plainRow(`gpt recipe, text at temperature ${temperature}`, 'characters', sampleLength, { text: written });
}
