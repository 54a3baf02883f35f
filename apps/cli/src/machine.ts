/**
 * What this machine is: processor, memory, executors, speed. `doctor` prints it and `plan` reads it, from here or from a file that `doctor --json`
 * wrote on another machine.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import type { MachineSpeed } from '@muster/engine';
import { MusterError } from '@muster/protocol';
import { calibrate, type Calibration } from './calibrate.ts';
import { type ExecutorReport, executorReports } from '@muster/adapters';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly freeBytes: number;
  /** Executor that would train. */
  readonly executor: string;
  /** Most memory that one of its programs may take. */
  readonly executorBytes: number;
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

/** The executor that a node here would use. Throws INTERNAL if there is none. */
export function firstExecutor(): ExecutorReport & { readonly executor: NonNullable<ExecutorReport['executor']> } {
  const found = executorReports().find(({ available }) => available);
  if (found?.executor === null || found === undefined) throw new MusterError('INTERNAL', 'no executor runs on this machine');
  return { ...found, executor: found.executor };
}

/** This machine, calibrated in a few seconds. */
export function thisMachine(): Machine {
  const { name, memoryBytes, executor } = firstExecutor();
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    freeBytes: freemem(),
    executor: name,
    executorBytes: memoryBytes,
    calibration: calibrate(executor),
  };
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
    const { cpu, cores, memoryBytes, freeBytes, executor, executorBytes, calibration } = machine;
    const numbers = [cores, memoryBytes, freeBytes, executorBytes, calibration?.secondsPerRun];
    if (typeof cpu !== 'string' || typeof executor !== 'string' || numbers.some((number) => typeof number !== 'number')) break;
    if (!isSpeed(calibration?.speed)) break;
    return machine as Machine; // every field was looked at
  }
  throw new MusterError('USAGE', `${file} is not the output of \`muster doctor --json\``, { file });
}
