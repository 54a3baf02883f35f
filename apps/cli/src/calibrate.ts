/**
 * How fast this machine is, measured in a few seconds through the executor that would train: speeds of kinds of work, and for a program that
 * fits, the time of each of its kernel calls. What follows from them is `plan`'s and `doctor`'s business.
 */
import {
  callSamples,
  type Executor,
  type MachineSpeed,
  predictSeconds,
  prepareLoop,
  type Program,
  ProgramBuilder,
  scheduleProgram,
  type Tensor,
  type TensorType,
  type Value,
} from '@muster/engine';
import { MusterError } from '@muster/protocol';

const sizeOf = (shape: readonly number[]): number => shape.reduce((size, extent) => size * extent, 1);

/** Values that no operation faults on by themselves: floats from ½ to 1, small indices, every other bool. */
function filled({ dtype, shape }: TensorType): Tensor {
  const length = sizeOf(shape);
  switch (dtype) {
    case 'float32':
      return { dtype, shape, data: Float32Array.from({ length }, (_, i) => 0.5 + (i % 61) / 128) };
    case 'int32':
      return { dtype, shape, data: Int32Array.from({ length }, (_, i) => i % 2) };
    case 'uint32':
      return { dtype, shape, data: Uint32Array.from({ length }, (_, i) => i % 2) };
    case 'bool':
      return { dtype, shape, data: Uint8Array.from({ length }, (_, i) => i % 2) };
    default:
      return dtype satisfies never;
  }
}

/** Milliseconds that this thread has computed, in steps of the kernel's clock. */
export function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** Longer runs are interrupted on a busy machine: their own time counts, averaged over enough of the kernel's clock steps. */
const sliceMs = 1;
const leastOwnMs = 40;

/**
 * Least seconds of one call of `run` in about `budgetMs`; at least two calls. `alone`: it computes on this thread alone, so that this
 * thread's own time says how long it took where the machine is busy.
 */
export function leastSeconds(run: () => unknown, budgetMs: number, alone = true): number {
  let least = Infinity;
  const own = threadMs();
  const until = performance.now() + budgetMs;
  let turn = 0;
  for (; turn < 2 || (performance.now() < until && turn < 2000); turn++) {
    const start = performance.now();
    run();
    least = Math.min(least, performance.now() - start);
  }
  const ownTotal = threadMs() - own;
  return (alone && least > sliceMs && ownTotal >= leastOwnMs ? Math.min(least, ownTotal / turn) : least) / 1000;
}

/** Least seconds of one run of `program` in about `budgetMs`, at least two runs; null if it faults on made-up inputs. */
export function timeProgram(executor: Executor, program: Program, budgetMs: number): number | null {
  const loop = prepareLoop(executor, program, 0, program.inputs.length);
  try {
    loop.setFixed(program.inputs.map(filled));
    loop.step([]);
    return leastSeconds(() => loop.step([]), budgetMs, !executor.name.endsWith('-threads'));
  } catch (error) {
    if (error instanceof MusterError && error.code === 'NUMERIC_FAULT') return null;
    throw error;
  } finally {
    loop.dispose();
  }
}

/** Small numbers that are not negative, as weights and as what optimizers keep. */
function gentle(type: TensorType): Tensor {
  const { shape } = type;
  if (type.dtype !== 'float32') return filled(type);
  return { dtype: 'float32', shape, data: Float32Array.from({ length: sizeOf(shape) }, (_, i) => (i % 13) / 200) };
}

/** Least seconds of a training step with `state` state tensors, run as a whole in about `budgetMs`; null if it faults on made-up inputs. */
export function timeStep(executor: Executor, step: Program, state: number, budgetMs: number): number | null {
  const loop = prepareLoop(executor, step, state);
  try {
    loop.setState(step.inputs.slice(0, state).map(gentle));
    const given = step.inputs.slice(state).map(gentle);
    loop.step(given);
    return leastSeconds(() => loop.step(given), budgetMs, !executor.name.endsWith('-threads'));
  } catch (error) {
    if (error instanceof MusterError && error.code === 'NUMERIC_FAULT') return null;
    throw error;
  } finally {
    loop.dispose();
  }
}

/** A program whose outputs are single elements of what `build` makes, so that reading them out costs nothing. */
function probe(build: (builder: ProgramBuilder) => readonly Value[]): Program {
  const builder = new ProgramBuilder('probe');
  const tips = build(builder).map((value) => builder.apply('shrink', { slice: value.shape.map((): [number, number] => [0, 1]) }, value));
  return builder.finish(tips.map((value, index) => ({ name: `r${index}`, value })));
}

const input = (builder: ProgramBuilder, name: string, ...shape: number[]): Value => builder.input({ name, dtype: 'float32', shape });

const product = (extent: number): Program =>
  probe((b) => [b.apply('dot', {}, input(b, 'x', extent, 1, extent), input(b, 'y', 1, extent, extent))]);

const convolution = probe((b) => {
  const params = {
    vmapDims: 0,
    strides: [1, 1],
    padding: [
      [1, 1],
      [1, 1],
    ] as const,
    lhsDilation: [1, 1],
    rhsDilation: [1, 1],
  };
  return [b.apply('conv', params, input(b, 'x', 16, 16, 28, 28), input(b, 'w', 32, 16, 3, 3))];
});
const convolutionFlops = 2 * 16 * 32 * 28 * 28 * 16 * 9;

const small = 16_384;
const simple = probe((b) => {
  const [x, y] = [input(b, 'x', small), input(b, 'y', small)];
  let value = b.apply('add', {}, x, y);
  for (let i = 0; i < 8; i++) value = b.apply('add', {}, b.apply('mul', {}, value, y), x);
  return [value];
});
const simpleOperations = 17;
const functions = probe((b) => {
  let value = b.apply('neg', {}, input(b, 'x', small));
  for (let i = 0; i < 4; i++) value = b.apply('exp', {}, b.apply('neg', {}, value));
  return [value];
});
const sums = probe((b) => [b.apply('reduce', { op: 'add', axis: [1] }, input(b, 'x', 512, 1024))]);
const large = 4 * 1024 * 1024;
const copy = probe((b) => [b.apply('add', {}, input(b, 'x', large), input(b, 'y', large))]);
const chainLength = 64;
const calls = probe((b) => {
  let value = input(b, 'x', 16);
  for (let i = 0; i < chainLength; i++)
    value = b.apply('reduce', { op: 'add', axis: [] }, b.apply('reshape', { shape: [16, 1].slice(0, 1 + (i % 2)) }, value));
  return [value];
});
/** Below what a call costs outside a loop that does nothing else. */
const leastCallSeconds = 2e-7;
const nothing = probe((b) => [b.apply('neg', {}, input(b, 'x', 1))]);

const productExtents = [32, 64, 128, 256, 512, 1024] as const;

export interface Calibration {
  readonly executor: string;
  readonly speed: MachineSpeed;
  /** Time of running a program that does nothing. */
  readonly secondsPerRun: number;
}

/** Speeds of `executor` here, in two to three seconds of computing. */
export function calibrate(executor: Executor): Calibration {
  const secondsPerRun = timed(nothing, 50);
  function timed(program: Program, budgetMs: number): number {
    const seconds = timeProgram(executor, program, budgetMs);
    if (seconds === null) throw new MusterError('INTERNAL', 'a probe of the calibration faults');
    return seconds;
  }
  const net = (program: Program, budgetMs: number): number => Math.max(timed(program, budgetMs) - secondsPerRun, 1e-8);
  const products = productExtents.map((extent) => ({
    extent,
    flopsPerSecond: (2 * extent ** 3) / net(product(extent), extent < 512 ? 80 : 150),
  }));
  return {
    executor: executor.name,
    secondsPerRun,
    speed: {
      products,
      convolutionFlopsPerSecond: convolutionFlops / net(convolution, 100),
      simpleElementsPerSecond: (simpleOperations * small) / net(simple, 80),
      functionElementsPerSecond: (4 * small) / net(functions, 80),
      reducedElementsPerSecond: (512 * 1024) / net(sums, 80),
      bytesPerSecond: (12 * large) / net(copy, 150),
      secondsPerCall: Math.max(net(calls, 50) / chainLength, leastCallSeconds),
    },
  };
}

export interface StepTime {
  readonly seconds: number;
  /** Whether it was run as a whole. */
  readonly whole: boolean;
  /** Share of it that was timed: as a whole, or by the step's own kernel calls; the rest follows from speeds of kinds of work. */
  readonly sampledShare: number;
}

/** Most arithmetic and bytes of a call that is timed by itself. */
const largestSample = 2e9;

/**
 * Seconds of one run of `step`: its distinct kernel calls are timed one by one, the heaviest first, for about `budgetMs` together; what is left
 * or too large, and every call of a step that cannot be executed, follows from the speeds.
 */
export function predictStep(
  executor: Executor | null,
  calibration: Calibration,
  step: Program,
  executable: boolean,
  budgetMs = 4000,
): StepTime {
  const { speed, secondsPerRun } = calibration;
  if (executor === null || !executable) return { seconds: predictSeconds(step, speed), whole: false, sampledShare: 0 };
  const samples = callSamples(step, scheduleProgram(step));
  const until = performance.now() + budgetMs;
  let sampled = 0;
  let rest = 0;
  for (const { count, flops, bytes, program } of samples) {
    const estimated = predictSeconds(program, speed);
    const fits = flops + bytes < largestSample && performance.now() < until;
    const seconds = fits ? timeProgram(executor, program, Math.min(60, Math.max(4, 10_000 * estimated))) : null;
    if (seconds === null) rest += count * estimated;
    else sampled += count * Math.max(seconds - secondsPerRun, 0);
  }
  const seconds = sampled + rest + secondsPerRun;
  return { seconds, whole: false, sampledShare: (sampled + secondsPerRun) / seconds };
}
