/**
 * Stages 2 and 3, train and update: executes one task of a round.
 *
 * The result depends on the job, the round, the task and the base parameters alone, never on who computes it or when.
 * Generators yield after every step, so that a shell can answer its network in between.
 */
import {
  lossRoot,
  type LoopingProgram,
  type NamedTensor,
  type NamedType,
  type PreparedProgram,
  resultRoot,
  stateRoot,
  stateRootOf,
  type Tensor,
  traceRoot,
} from '@muster/engine';
import { encodeCanonical, MusterError, type Root, leafHash, bytesToHex, merkleRoot, type TaskOutcome } from '@muster/protocol';
import { type Block, encodeTensors, firstNotFinite } from './tensors.ts';

export interface TaskInputs {
  /** Parameters and optimizer state of the model, in program order. */
  readonly parameters: readonly NamedType[];
  readonly slots: readonly NamedType[];
  /** Values of the model's frozen tensors, in order. */
  readonly frozen: readonly Tensor[];
  /**
   * parameters…, slots…, frozen…, x, y, key, step → parameters…, slots…, loss; parameters and slots are its state, the frozen
   * tensors its fixed inputs. Used by one task at a time.
   */
  readonly trainStep: LoopingProgram;
  /** final parameters…, base parameters… → update…. */
  readonly update: PreparedProgram;
  readonly base: readonly Tensor[];
  /** Carried optimizer state; null starts from zeros. */
  readonly slotState: readonly Tensor[] | null;
  /** Whether the optimizer state is part of the result. */
  readonly carry: boolean;
  readonly steps: number;
  /** Number of the task's first step among all steps that its slot has in the job: round · steps. Schedules follow from it. */
  readonly firstStep: number;
  readonly digestInterval: number;
  /** x and y of step `step`. */
  readonly batch: (step: number) => readonly [Tensor, Tensor];
  /** uint32[2], for randomness inside the program. */
  readonly key: (step: number) => Tensor;
}

export interface ComputedTask {
  readonly resultRoot: Root;
  readonly outcome: TaskOutcome;
  /** Everything the outcome links, to be stored before it is revealed. */
  readonly blocks: readonly Block[];
}

/** Executes a task; yields the number of steps done. A computation that is not finite is a result of kind `fault`. */
export function* executeTask(task: TaskInputs): Generator<number, ComputedTask, undefined> {
  const named = [...task.parameters, ...task.slots];
  const losses = new Float32Array(task.steps);
  const trace: Root[] = [];
  task.trainStep.setFixed(task.frozen);
  task.trainStep.setState([...task.base, ...(task.slotState ?? task.slots.map(zeros))]);
  for (let step = 0; step < task.steps; step++) {
    const outputs = attempt(() => task.trainStep.step([...task.batch(step), task.key(step), int32Scalar(task.firstStep + step)]));
    if ('fault' in outputs) return faultOf(step, outputs.fault);
    losses[step] = outputs.values[0]?.data[0] ?? 0;
    if (!Number.isFinite(losses[step])) return faultOf(step, null);
    if (step + 1 === task.steps || (step + 1) % task.digestInterval === 0) {
      if (task.trainStep.firstNotFinite() !== null) return faultOf(step, null);
      const roots = task.trainStep.stateRoots();
      trace.push(stateRootOf(named.map((type, index) => ({ ...type, root: roots[index] as Root }))));
    }
    yield step + 1;
  }
  const parameterCount = task.parameters.length;
  const final = withNames(named, task.trainStep.readState());
  const difference = attempt(() => task.update.run([...final.slice(0, parameterCount), ...task.base]));
  if ('fault' in difference || difference.values.some((tensor) => firstNotFinite(tensor) !== null)) {
    return faultOf(task.steps - 1, null);
  }
  const update = withNames(task.parameters, difference.values);
  const slots = task.carry ? final.slice(parameterCount) : [];
  const storedUpdate = encodeTensors(update);
  const storedSlots = task.carry ? encodeTensors(slots) : null;
  const finalRoot = trace.at(-1);
  if (finalRoot === undefined) throw new MusterError('INTERNAL', 'a task needs at least one step');
  const roots = { state: finalRoot, update: stateRoot([...update, ...slots]), loss: lossRoot(losses), trace: traceRoot(trace) };
  return {
    resultRoot: resultRoot(roots),
    outcome: {
      kind: 'update',
      stateRoot: roots.state,
      updateRoot: roots.update,
      lossRoot: roots.loss,
      traceRoot: roots.trace,
      trace,
      losses: littleEndian(losses),
      update: storedUpdate.cid,
      slotState: storedSlots?.cid ?? null,
    },
    blocks: [...storedUpdate.blocks, ...(storedSlots?.blocks ?? [])],
  };
}

/** The result root that `outcome` opens. */
export function outcomeRoot(outcome: TaskOutcome): Root {
  if (outcome.kind === 'update') {
    return resultRoot({ state: outcome.stateRoot, update: outcome.updateRoot, loss: outcome.lossRoot, trace: outcome.traceRoot });
  }
  return bytesToHex(merkleRoot([leafHash(encodeCanonical(['fault', outcome.step, outcome.operation]))])) as Root;
}

/** Losses of an outcome: float32, one per step. */
export function lossesOf(bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.length / 4 }, (_, index) => view.getFloat32(4 * index, true));
}

function faultOf(step: number, operation: number | null): ComputedTask {
  const outcome: TaskOutcome = { kind: 'fault', step, operation };
  return { resultRoot: outcomeRoot(outcome), outcome, blocks: [] };
}

/** Runs a program; a numeric fault becomes a value. */
function attempt(run: () => Tensor[]): { readonly values: Tensor[] } | { readonly fault: number | null } {
  try {
    return { values: run() };
  } catch (error) {
    if (!(error instanceof MusterError) || error.code !== 'NUMERIC_FAULT') throw error;
    const { operation } = error.details;
    return { fault: typeof operation === 'number' ? operation : null };
  }
}

const int32Scalar = (value: number): Tensor => ({ dtype: 'int32', shape: [], data: Int32Array.of(value) });

/** A tensor of zeros: the state every optimizer starts from. */
export function zeros(type: NamedType): Tensor {
  const length = type.shape.reduce((product, extent) => product * extent, 1);
  switch (type.dtype) {
    case 'float32':
      return { ...type, data: new Float32Array(length) };
    case 'int32':
      return { ...type, data: new Int32Array(length) };
    case 'uint32':
      return { ...type, data: new Uint32Array(length) };
    case 'bool':
      return { ...type, data: new Uint8Array(length) };
    default:
      return type.dtype satisfies never;
  }
}

export function withNames(types: readonly NamedType[], tensors: readonly Tensor[]): NamedTensor[] {
  return types.map((type, index) => {
    const tensor = tensors[index];
    if (tensor === undefined) throw new MusterError('INTERNAL', `no tensor for ${type.name}`);
    return { ...tensor, name: type.name };
  });
}

function littleEndian(values: Float32Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * values.length));
  for (const [index, value] of values.entries()) view.setFloat32(4 * index, value, true);
  return new Uint8Array(view.buffer);
}
