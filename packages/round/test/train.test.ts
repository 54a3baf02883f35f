import {
  type LoopingProgram,
  type NamedTensor,
  type NamedType,
  prepareLoop,
  type PreparedProgram,
  referenceExecutor,
  resultRoot,
  stateRoot,
  type Tensor,
} from '@muster/engine';
import { buildModel, type BuiltModel, type ModelSpec, type OptimizerSpec } from '@muster/models';
import { type CidText, decodeCanonical, encodeLinked, MusterError, objectKinds, parseRoot } from '@muster/protocol';
import {
  type Block,
  chunkBytes,
  type ComputedTask,
  encodeTensors,
  evaluateModel,
  executeTask,
  FederatedAverage,
  firstNotFinite,
  lossesOf,
  loadTensors,
  outcomeRoot,
  summarize,
  type TaskInputs,
  withNames,
  zeros,
} from '@muster/round';
import { describe, expect, it } from 'vitest';
import { cid } from './support.ts';

const momentum: OptimizerSpec = { kind: 'momentum', learningRate: 0.125, momentum: 0.75 };
const specOf = (optimizer: OptimizerSpec): ModelSpec => ({
  family: 'mlp',
  input: [4],
  classes: 3,
  hidden: [5],
  batchSize: 6,
  evaluationBatch: 5,
  optimizer,
});

interface Prepared {
  readonly built: BuiltModel;
  readonly program: (role: keyof BuiltModel['programs']) => PreparedProgram;
  readonly base: readonly NamedTensor[];
}

async function prepare(optimizer: OptimizerSpec = momentum): Promise<Prepared> {
  const built = await buildModel(specOf(optimizer));
  const { parameters } = built.model;
  const program = (role: keyof BuiltModel['programs']): PreparedProgram => referenceExecutor.prepare(built.programs[role]);
  const keys: Tensor = {
    dtype: 'uint32',
    shape: [parameters.length, 2],
    data: Uint32Array.from({ length: 2 * parameters.length }, (_, i) => 7 * i + 1),
  };
  return { built, program, base: withNames(parameters, program('init').run([keys])) };
}

/** Numbers in [0, 1) that follow from `seed`. */
const noise = (seed: number): number => (Math.imul(seed + 1, 2_654_435_761) >>> 8) / 2 ** 24;

/** A batch of which the class is the largest of the first three inputs. */
function batch(step: number, size = 6): [Tensor, Tensor] {
  const x = Float32Array.from({ length: size * 4 }, (_, index) => noise(1000 * step + index));
  const y = Int32Array.from({ length: size }, (_, row) =>
    [0, 1, 2].reduce((best, k) => ((x[4 * row + k] ?? 0) > (x[4 * row + best] ?? 0) ? k : best), 0),
  );
  return [
    { dtype: 'float32', shape: [size, 4], data: x },
    { dtype: 'int32', shape: [size], data: y },
  ];
}

const loopOf = ({ built }: Pick<Prepared, 'built'>): LoopingProgram =>
  prepareLoop(referenceExecutor, built.programs.trainStep, built.model.parameters.length + built.model.slots.length);

function taskOf({ built, program, base }: Prepared, change: Partial<TaskInputs> = {}): TaskInputs {
  return {
    parameters: built.model.parameters,
    slots: built.model.slots,
    frozen: [],
    trainStep: loopOf({ built }),
    update: program('update'),
    base,
    slotState: null,
    carry: true,
    steps: 5,
    firstStep: 0,
    digestInterval: 2,
    batch: (step) => batch(step),
    key: (step) => ({ dtype: 'uint32', shape: [2], data: Uint32Array.of(step, 9) }),
    ...change,
  };
}

function finish(task: TaskInputs): { readonly computed: ComputedTask; readonly yields: number[] } {
  const yields: number[] = [];
  const run = executeTask(task);
  for (let next = run.next(); ; next = run.next()) {
    if (next.done === true) return { computed: next.value, yields };
    yields.push(next.value);
  }
}

const reader = (blocks: readonly Block[]) => {
  const stored = new Map(blocks.map((block) => [block.cid, block.bytes]));
  return async (id: CidText): Promise<Uint8Array> => {
    const bytes = stored.get(id);
    if (bytes === undefined) throw new MusterError('OBJECT_MISSING', id);
    return bytes;
  };
};

const updateOf = ({ outcome }: ComputedTask) => {
  if (outcome.kind !== 'update') throw new Error(`ended in a fault at step ${outcome.step}`);
  return outcome;
};

const large = (step: number): [Tensor, Tensor] => {
  const [x, y] = batch(step);
  return [{ ...x, data: Float32Array.from(x.data, (value) => value * 1e18) }, y];
};

const filled = (tensor: Tensor): Tensor => ({ ...tensor, data: new Float32Array(tensor.data.length).fill(Infinity) });

describe('executing a task', () => {
  it('gives the same result whoever executes it, yielding after every step', async () => {
    const first = finish(taskOf(await prepare()));
    const second = finish(taskOf(await prepare()));
    expect(first).toEqual(second);
    expect(first.yields).toEqual([1, 2, 3, 4, 5]);
    expect(parseRoot(first.computed.resultRoot)).toBe(first.computed.resultRoot);
  });

  it('has an outcome that opens its result root, with a trace entry per interval and after the last step', async () => {
    const { computed } = finish(taskOf(await prepare()));
    const outcome = updateOf(computed);
    expect(outcomeRoot(outcome)).toBe(computed.resultRoot);
    expect(outcome.trace).toHaveLength(3);
    expect(outcome.trace.at(-1)).toBe(outcome.stateRoot);
    expect(resultRoot({ state: outcome.stateRoot, update: outcome.updateRoot, loss: outcome.lossRoot, trace: outcome.traceRoot })).toBe(
      computed.resultRoot,
    );
    expect(lossesOf(outcome.losses)).toHaveLength(5);
    const result = { version: 1, job: cidRoot, round: 0, task: 0, slot: 0, node: cidRoot, resultRoot: computed.resultRoot, outcome };
    expect(objectKinds.taskResult.schema(decodeBack(result), 'result').outcome).toEqual(outcome);
  });

  it('stores an update and a slot state that give the update root', async () => {
    const prepared = await prepare();
    const { computed } = finish(taskOf(prepared));
    const outcome = updateOf(computed);
    const { parameters, slots } = prepared.built.model;
    const read = reader(computed.blocks);
    const update = await loadTensors(read, outcome.update, parameters);
    const slotState = await loadTensors(read, outcome.slotState ?? cid(0), slots);
    expect(stateRoot([...update, ...slotState])).toBe(outcome.updateRoot);
    expect(summarize(outcome)).toEqual({ kind: 'update', update: outcome.update, slotState: outcome.slotState });
  });

  it('learns', async () => {
    const losses = lossesOf(
      updateOf(finish(taskOf(await prepare(), { steps: 60, digestInterval: 60, batch: () => batch(0) })).computed).losses,
    );
    expect(losses[59]).toBeLessThan((losses[0] ?? 0) / 2);
  });

  it('carries the optimizer state into the result and takes it up again, or leaves it out where the job resets it', async () => {
    const prepared = await prepare();
    const first = updateOf(finish(taskOf(prepared)).computed);
    const { computed } = finish(taskOf(prepared));
    const carried = await loadTensors(reader(computed.blocks), first.slotState ?? cid(0), prepared.built.model.slots);
    expect(carried.some(({ data }) => data.some((value) => value !== 0))).toBe(true);
    const continued = finish(taskOf(prepared, { slotState: carried })).computed;
    expect(continued.resultRoot).not.toBe(computed.resultRoot);

    const reset = finish(taskOf(prepared, { carry: false })).computed;
    const outcome = updateOf(reset);
    expect(outcome.slotState).toBeNull();
    expect(outcome.update).toBe(first.update);
    expect(outcome.updateRoot).not.toBe(first.updateRoot);
    expect(stateRoot(await loadTensors(reader(reset.blocks), outcome.update, prepared.built.model.parameters))).toBe(outcome.updateRoot);
  });

  it('starts from zeros where no state is carried', async () => {
    const prepared = await prepare();
    const explicit = finish(taskOf(prepared, { slotState: prepared.built.model.slots.map(zeros) })).computed;
    expect(explicit.resultRoot).toBe(finish(taskOf(prepared)).computed.resultRoot);
  });

  it('depends on base, data, number of steps and digest interval, but does not change its inputs', async () => {
    const prepared = await prepare();
    const before = JSON.stringify(prepared.base.map(({ data }) => [...data]));
    const roots = [{}, { steps: 4 }, { digestInterval: 3 }, { batch: (step: number) => batch(step + 1) }].map(
      (change) => finish(taskOf(prepared, change)).computed.resultRoot,
    );
    expect(new Set(roots).size).toBe(4);
    expect(JSON.stringify(prepared.base.map(({ data }) => [...data]))).toBe(before);
  });

  it('that is not finite ends in a fault at the same place, again and again', async () => {
    const exploding = await prepare({ kind: 'sgd', learningRate: 1e6 });
    const run = (): ComputedTask => finish(taskOf(exploding, { steps: 20, batch: large })).computed;
    const { outcome, resultRoot: found, blocks } = run();
    expect(outcome.kind).toBe('fault');
    expect(run()).toEqual({ outcome, resultRoot: found, blocks });
    expect(blocks).toEqual([]);
    expect(outcomeRoot(outcome)).toBe(found);
    expect(summarize(outcome)).toEqual(outcome);
    expect(outcomeRoot({ kind: 'fault', step: 0, operation: 1 })).not.toBe(outcomeRoot({ kind: 'fault', step: 1, operation: 0 }));
    expect(outcomeRoot({ kind: 'fault', step: 0, operation: null })).not.toBe(outcomeRoot({ kind: 'fault', step: 0, operation: 0 }));
  });

  it('names the operation that made a NaN, and none where the state became infinite', async () => {
    const prepared = await prepare();
    const inner = loopOf(prepared);
    const loop = (change: Partial<LoopingProgram>): LoopingProgram => ({
      program: inner.program,
      stateCount: inner.stateCount,
      fixedCount: inner.fixedCount,
      setFixed: (fixed) => inner.setFixed(fixed),
      setState: (state) => inner.setState(state),
      step: (inputs) => inner.step(inputs),
      readState: () => inner.readState(),
      stateRoots: () => inner.stateRoots(),
      firstNotFinite: () => inner.firstNotFinite(),
      dispose: () => inner.dispose(),
      ...change,
    });
    const throwing = (code: 'NUMERIC_FAULT' | 'TENSOR_MISMATCH', details: Record<string, number>): LoopingProgram =>
      loop({
        step: () => {
          throw new MusterError(code, 'wrong', details);
        },
      });
    const outcomeOf = (trainStep: LoopingProgram) => finish(taskOf(prepared, { trainStep, digestInterval: 1 })).computed.outcome;
    expect(outcomeOf(throwing('NUMERIC_FAULT', { operation: 12 }))).toEqual({ kind: 'fault', step: 0, operation: 12 });
    expect(outcomeOf(loop({ firstNotFinite: () => 1 }))).toEqual({ kind: 'fault', step: 0, operation: null });
    expect(outcomeOf(loop({ step: (inputs) => inner.step(inputs).map(filled) }))).toEqual({ kind: 'fault', step: 0, operation: null });
    const broken = throwing('TENSOR_MISMATCH', {});
    expect(() => finish(taskOf(prepared, { trainStep: broken }))).toThrow('wrong');
  });
});

const cidRoot = parseRoot(`0x${'11'.repeat(32)}`);

/** What a reader gets for `value` after it went through canonical bytes. */
function decodeBack(value: object): unknown {
  return decodeCanonical(encodeLinked(value).bytes);
}

const programs = ({ program, built }: Prepared) => ({
  fold: prepareLoop(referenceExecutor, built.programs.fold, built.model.parameters.length),
  finish: program('finish'),
});

const constant = ({ built }: Prepared, value: number): Tensor[] =>
  built.model.parameters.map((type) => ({
    dtype: 'float32',
    shape: type.shape,
    data: new Float32Array(type.shape.reduce((a, b) => a * b, 1)).fill(value),
  }));

describe('averaging', () => {
  it('adds the mean of the updates by their weights to the base', async () => {
    const prepared = await prepare();
    const average = new FederatedAverage(programs(prepared), prepared.built.model.parameters);
    average.add(constant(prepared, 1), 3);
    average.add(constant(prepared, -2), 1);
    const parameters = average.finish(constant(prepared, 10));
    for (const { data } of parameters) expect([...data].every((value) => value === 10.25)).toBe(true);
  });

  it('of nothing is the base itself', async () => {
    const prepared = await prepare();
    expect(new FederatedAverage(programs(prepared), prepared.built.model.parameters).finish(prepared.base)).toBe(prepared.base);
  });

  it('gives the same bits again for the same order', async () => {
    const prepared = await prepare();
    const updates = [1, 2, 3].map((seed) => constant(prepared, noise(seed)));
    const run = (): string => {
      const average = new FederatedAverage(programs(prepared), prepared.built.model.parameters);
      for (const [index, update] of updates.entries()) average.add(update, 100 + index);
      return stateRoot(withNames(prepared.built.model.parameters, average.finish(prepared.base)));
    };
    expect(run()).toBe(run());
  });

  it('refuses weights that float32 cannot add exactly, and results that are not finite', async () => {
    const prepared = await prepare();
    const average = new FederatedAverage(programs(prepared), prepared.built.model.parameters);
    average.add(constant(prepared, 0), 2 ** 24 - 1);
    expect(() => average.add(constant(prepared, 0), 1)).toThrow(expect.objectContaining({ code: 'JOB_INVALID' }));
    const large = new FederatedAverage(programs(prepared), prepared.built.model.parameters);
    large.add(constant(prepared, 3e38), 1);
    expect(() => large.finish(constant(prepared, 3e38))).toThrow(expect.objectContaining({ code: 'NUMERIC_FAULT' }));
  });
});

const whole = (step: number, records: number) => {
  const [x, y] = batch(step, 5);
  return {
    x,
    y,
    mask: { dtype: 'float32', shape: [5], data: Float32Array.from({ length: 5 }, (_, row) => (row < records ? 1 : 0)) } as Tensor,
    records,
  };
};

describe('evaluation', () => {
  it('sums losses and hits over batches, and counts only the records of a padded batch', async () => {
    const prepared = await prepare();
    const evaluate = prepared.program('evaluate');
    const run = (batches: readonly ReturnType<typeof whole>[]) => {
      const yields: number[] = [];
      const generator = evaluateModel(evaluate, prepared.base, batches);
      for (let next = generator.next(); ; next = generator.next()) {
        if (next.done === true) return { evaluation: next.value, yields };
        yields.push(next.value);
      }
    };
    const { evaluation, yields } = run([whole(0, 5), whole(1, 2)]);
    expect(yields).toEqual([5, 7]);
    const first = run([whole(0, 5)]).evaluation;
    const second = run([whole(1, 2)]).evaluation;
    expect(evaluation.records).toBe(7);
    expect(evaluation.correct).toBe(first.correct + second.correct);
    expect(evaluation.loss).toBeCloseTo((5 * first.loss + 2 * second.loss) / 7, 6);
    expect(Math.fround(evaluation.loss)).toBe(evaluation.loss);
    expect(run([]).evaluation).toEqual({ records: 0, loss: 0, correct: 0 });
  });
});

describe('stored tensors', () => {
  const types = [
    { name: 'large', dtype: 'float32', shape: [chunkBytes / 4 + 3] },
    { name: 'empty', dtype: 'float32', shape: [0] },
    { name: 'scalar', dtype: 'float32', shape: [] },
    { name: 'counts', dtype: 'int32', shape: [2, 2] },
    { name: 'flags', dtype: 'bool', shape: [3] },
  ] as const satisfies readonly NamedType[];
  const listed: readonly NamedType[] = types;
  const tensors: readonly NamedTensor[] = [
    { ...types[0], data: Float32Array.from({ length: chunkBytes / 4 + 3 }, (_, index) => index / 3) },
    { ...types[1], data: new Float32Array(0) },
    { ...types[2], data: Float32Array.of(-0) },
    { ...types[3], data: Int32Array.of(1, -2, 3, -4) },
    { ...types[4], data: Uint8Array.of(1, 0, 1) },
  ];
  const stored = encodeTensors(tensors);

  it('come back as they were, in blocks of at most a mebibyte, the set itself last', async () => {
    expect(await loadTensors(reader(stored.blocks), stored.cid, types)).toEqual(tensors);
    expect(stored.blocks.map(({ bytes }) => bytes.length)).toEqual([chunkBytes, 12, 4, 16, 3, expect.any(Number)]);
    expect(stored.blocks.at(-1)?.cid).toBe(stored.cid);
    expect(encodeTensors(tensors).cid).toBe(stored.cid);
  });

  it('are refused under other names, types, shapes or numbers', async () => {
    const wrongTypes = [
      listed.slice(1),
      listed.with(0, { ...types[0], name: 'other' }),
      listed.with(3, { ...types[3], dtype: 'uint32' }),
      listed.with(3, { ...types[3], shape: [4] }),
    ];
    for (const wanted of wrongTypes)
      await expect(loadTensors(reader(stored.blocks), stored.cid, wanted)).rejects.toMatchObject({ code: 'TENSOR_MISMATCH' });
  });

  it('are refused with chunks too many, too few or of the wrong length', async () => {
    const small = encodeTensors([{ name: 'a', dtype: 'float32', shape: [2], data: Float32Array.of(1, 2) }]);
    const chunk = small.blocks[0]?.cid ?? cid(0);
    const short = encodeTensors([{ name: 'a', dtype: 'float32', shape: [1], data: Float32Array.of(1) }]).blocks[0] as Block;
    for (const chunks of [[], [chunk, chunk], [short.cid]]) {
      const set = encodeLinked({ version: 1, tensors: [{ name: 'a', dtype: 'float32', shape: [2], chunks }] });
      const read = reader([...small.blocks, short, { ...set, codec: 'dag-cbor' }]);
      await expect(loadTensors(read, set.cid, [{ name: 'a', dtype: 'float32', shape: [2] }])).rejects.toMatchObject({
        code: 'TENSOR_MISMATCH',
      });
    }
  });

  it('are refused where a value is not finite', async () => {
    for (const value of [Number.NaN, Infinity, -Infinity]) {
      const bad = encodeTensors([{ name: 'a', dtype: 'float32', shape: [2], data: Float32Array.of(1, value) }]);
      const loading = loadTensors(reader(bad.blocks), bad.cid, [{ name: 'a', dtype: 'float32', shape: [2] }]);
      await expect(loading).rejects.toMatchObject({ code: 'NUMERIC_FAULT', details: { tensor: 'a', index: 1 } });
    }
    expect(firstNotFinite({ dtype: 'uint32', shape: [1], data: Uint32Array.of(0xffff_ffff) })).toBeNull();
  });

  it('that the store lacks are reported as missing', async () => {
    await expect(loadTensors(reader([]), stored.cid, types)).rejects.toMatchObject({ code: 'OBJECT_MISSING' });
  });
});
