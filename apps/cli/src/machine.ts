/**
 * What this machine is: processor, memory, executors, speed. `doctor` prints it and `plan` reads it, from here or from a file that `doctor --json`
 * wrote on another machine.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import { type CompiledExecutor, type CostLimits, defaultCostLimits, type MachineSpeed, scratchBytes } from '@muster/engine';
import type { ModelEstimate } from '@muster/models';
import { MusterError } from '@muster/protocol';
import { calibrate, type Calibration, predictStep, type StepTime, timeStep } from './calibrate.ts';
import { createNativeExecutor, executorFromEnvironment, openExecutor } from '@muster/adapters';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly freeBytes: number;
  /** Executor that would train, and how many threads it would use. */
  readonly executor: string;
  readonly threads: number;
  /** Most memory that one of its programs may take. */
  readonly executorBytes: number;
  /** What the executor takes beside a program's tensors and tables: scratch of its threads, kernels. */
  readonly overheadBytes: number;
  /** What a process of Muster takes here before it has a program; measured. */
  readonly processBytes: number;
  readonly calibration: Calibration;
}

/** Vector instructions of the processor that matter here, as Linux lists them; null where it is not known. */
export function instructionSets(): readonly string[] | null {
  let text: string;
  try {
    text = readFileSync('/proc/cpuinfo', 'utf8');
  } catch {
    return null;
  }
  const flags = new Set(/^(?:flags|Features)\s*:\s*(.*)$/m.exec(text)?.[1]?.split(' ') ?? []);
  return ['sse2', 'avx', 'avx2', 'fma', 'avx512f', 'avx512bw', 'avx512vl', 'asimd', 'sve'].filter((name) => flags.has(name));
}

/** Memory that processes here may have: the machine's, or less where a container says so. */
function machineBytes(): number {
  const allowed = process.constrainedMemory();
  return allowed > 0 ? Math.min(allowed, totalmem()) : totalmem();
}

/** What a job's programs may cost on this machine. */
export function costLimits({ backend }: CompiledExecutor): CostLimits {
  return { ...defaultCostLimits, peakBytes: Math.min(defaultCostLimits.peakBytes, machineBytes(), backend.maxBytes) };
}

/** The executor that `environment` asks for, as a node would use it, and what measures it. */
export interface Training {
  readonly executor: CompiledExecutor;
  readonly threads: number;
  /** Memory from which programs run on all threads. */
  readonly threadedFrom: number;
  /** The executor for a single kernel call of a program that runs on all threads, and of one that does not. */
  readonly sampling: { readonly threaded: CompiledExecutor; readonly single: CompiledExecutor };
}

/** As `createNativeExecutor` has it. */
const threadedFrom = 1 << 20;

/** Opens the executor. Throws USAGE, EXECUTOR_UNAVAILABLE. */
export async function openTraining(environment: Readonly<Record<string, string | undefined>>): Promise<Training> {
  const executor = await executorFromEnvironment(environment);
  const threads = Number(/-(\d+)-threads$/.exec(executor.name)?.[1] ?? 1);
  const instructionSet = /^native-([a-z0-9]+)/.exec(executor.name)?.[1];
  const single = await openExecutor({ name: instructionSet === undefined ? 'wasm' : `native-${instructionSet}`, threads: 1 });
  // WebAssembly's workers start too slowly for short measurements: one thread stands for all, and the prediction is an upper bound.
  const threaded = threads > 1 && instructionSet !== undefined ? createNativeExecutor({ instructionSet, threads, leastBytes: 0 }) : single;
  return { executor, threads, threadedFrom, sampling: { threaded, single } };
}

/** What measures the kernel calls of a program that takes `bytes`. */
export function samplingExecutor({ sampling, threadedFrom }: Training, bytes: number): CompiledExecutor {
  return bytes < threadedFrom ? sampling.single : sampling.threaded;
}

/** Scratch, and in WebAssembly also stacks and the kernels' own data. */
function overheadOf({ executor: { name, backend }, threads }: Training): number {
  return name.startsWith('wasm') ? backend.start + 2 ** 32 - backend.maxBytes : threads * scratchBytes;
}

/** This machine, calibrated in a few seconds. */
export function thisMachine(training: Training): Machine {
  const processBytes = process.memoryUsage.rss();
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: machineBytes(),
    freeBytes: freemem(),
    executor: training.executor.name,
    threads: training.threads,
    executorBytes: training.executor.backend.maxBytes,
    overheadBytes: overheadOf(training),
    processBytes,
    calibration: calibrate(training.sampling.threaded),
  };
}

/** A step that takes longer is not run as a whole to be timed. */
const longestWhole = 0.5;
const wholeBudgetMs = 1500;

/**
 * Seconds of a step. Where it fits this machine it is run, or if it is long its kernel calls are; else, and for another machine
 * (`training` null), they follow from the machine's speeds.
 */
export function stepTime({ step, state, traced, memory }: ModelEstimate, machine: Machine, training: Training | null): StepTime {
  const { calibration, freeBytes, executorBytes } = machine;
  const bySpeed = predictStep(null, calibration, step, false);
  if (training === null || !traced || memory.total >= 0.5 * Math.min(freeBytes, executorBytes)) return bySpeed;
  const seconds = bySpeed.seconds < longestWhole ? timeStep(training.executor, step, state, wholeBudgetMs) : null;
  if (seconds !== null) return { seconds, whole: true, sampledShare: 1 };
  return predictStep(samplingExecutor(training, memory.total), calibration, step, true);
}

function isSpeed(value: unknown): value is MachineSpeed {
  const speed = value as Partial<MachineSpeed> | null | undefined;
  const rates = [
    speed?.convolutionFlopsPerSecond,
    speed?.simpleElementsPerSecond,
    speed?.functionElementsPerSecond,
    speed?.reducedElementsPerSecond,
    speed?.bytesPerSecond,
    speed?.secondsPerCall,
  ];
  const products = speed?.products;
  return (
    rates.every((rate) => typeof rate === 'number' && rate > 0) &&
    Array.isArray(products) &&
    products.length > 0 &&
    products.every(({ extent, flopsPerSecond }) => extent > 0 && flopsPerSecond > 0)
  );
}

/** The machine in the output of `muster doctor --json`. Throws USAGE naming the file. */
export function machineFrom(file: string, content: string): Machine {
  for (const line of content.split('\n')) {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      continue;
    }
    const machine = (value as { readonly event?: unknown; readonly machine?: Partial<Machine> } | null)?.machine;
    if ((value as { readonly event?: unknown } | null)?.event !== 'doctor.finished' || machine === undefined) continue;
    const { cpu, cores, memoryBytes, freeBytes, executor, threads, executorBytes, overheadBytes, processBytes, calibration } = machine;
    const numbers = [cores, memoryBytes, freeBytes, threads, executorBytes, overheadBytes, processBytes, calibration?.secondsPerRun];
    if (typeof cpu !== 'string' || typeof executor !== 'string' || numbers.some((number) => typeof number !== 'number')) break;
    if (!isSpeed(calibration?.speed)) break;
    return machine as Machine; // every field was looked at
  }
  throw new MusterError('USAGE', `${file} is not the output of \`muster doctor --json\``, { file });
}
