/**
 * Which executor a command uses: what its options say, else the environment, else a default. Child processes are told through theirs.
 */
import { availableParallelism } from 'node:os';
import { type ExecutorReport, executorReports } from '@muster/adapters';
import { MusterError } from '@muster/protocol';
import type { Command } from 'commander';

export interface ExecutorFlags {
  readonly executor?: string;
  readonly threads?: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Adds `--executor` and `--threads` to `command`; `threads` says in words how many there are by default. */
export function addExecutorOptions(command: Command, threads: string): Command {
  return command
    .option('--executor <name>', 'auto, native, wasm, … as `muster doctor` lists them (default: $MUSTER_EXECUTOR or auto)')
    .option('--threads <n>', `threads that compute together (default: $MUSTER_THREADS or ${threads})`);
}

/** The report of the executor that `name` (`auto`, `native`, …) takes; null if there is none of that name here. */
function reportOf(name: string, reports: readonly ExecutorReport[]): ExecutorReport | null {
  const here = reports.filter(({ available }) => available);
  if (name === 'auto') return here[0] ?? null;
  if (name === 'native') return here.find((report) => report.name.startsWith('native')) ?? null;
  return here.find((report) => report.name === name) ?? null;
}

/** All cores where the executor of this name can use them, else 1. WebAssembly can where memory is shared. */
export function mostThreads(name: string): number {
  const reports = executorReports();
  const found = reportOf(name, reports);
  const threaded = found?.name === 'wasm' ? reportOf('wasm-threads', reports) : found;
  return Math.min(64, threaded?.threads ?? 1, availableParallelism());
}

/**
 * `environment` with MUSTER_EXECUTOR and MUSTER_THREADS as the options say, and with `threads` where nothing says how many ('most': as
 * many as the executor can use here). Throws USAGE.
 */
export function executorEnvironment(
  flags: ExecutorFlags,
  threads: number | 'most',
  environment: Environment = process.env,
): Environment & { readonly MUSTER_THREADS: string } {
  const name = flags.executor ?? (environment['MUSTER_EXECUTOR'] || 'auto');
  if (flags.threads !== undefined && !/^([1-9]|[1-5]\d|6[0-4])$/.test(flags.threads))
    throw new MusterError('USAGE', `--threads takes a whole number from 1 to 64, not "${flags.threads}"`, { option: '--threads' });
  const given = flags.threads ?? (environment['MUSTER_THREADS'] || undefined);
  const count = given ?? String(threads === 'most' ? mostThreads(name) : threads);
  return { ...environment, MUSTER_EXECUTOR: name, MUSTER_THREADS: count };
}
