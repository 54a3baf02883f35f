/**
 * `muster doctor`: what runs on this machine and how fast, whether it gives the right bits, and whether its home folder can be used.
 */
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkFunctionVector, checkVector, type Executor, readFunctionVectors, readVectors } from '@muster/engine';
import type { Command } from 'commander';
import { executorReports } from '@muster/adapters';
import { addExecutorOptions, executorEnvironment, type ExecutorFlags } from '../executor.ts';
import { instructionSets, openTraining, thisMachine } from '../machine.ts';
import { type Context, contextOf } from './context.ts';

/** The conformance vectors of this clone. */
export const vectorFolder = fileURLToPath(new URL('../../../../vectors/engine', import.meta.url));

export interface Conformance {
  readonly executor: string;
  readonly vectors: number;
  /** Names of vectors that differ; the first twenty. */
  readonly wrong: readonly string[];
  /** Whether every vector was reproduced bit for bit; null where the vectors are not installed. */
  readonly ok: boolean | null;
}

/** Runs every conformance vector in `folder` through `executor`. */
export async function checkConformance(executor: Executor, folder = vectorFolder): Promise<Conformance> {
  if (!existsSync(folder)) return { executor: executor.name, vectors: 0, wrong: [], ok: null };
  const wrong: string[] = [];
  let vectors = 0;
  for (const file of (await readdir(folder)).toSorted()) {
    const json: unknown = JSON.parse(await readFile(join(folder, file), 'utf8'));
    const results =
      file === 'functions.json'
        ? readFunctionVectors(json).map((vector) => ({ name: vector.name, ...checkFunctionVector(executor, vector) }))
        : readVectors(json).map((vector) => ({ name: vector.name, ...checkVector(executor, vector) }));
    vectors += results.length;
    for (const { name, ok } of results) if (!ok && wrong.length < 20) wrong.push(`${file}: ${name}`);
  }
  return { executor: executor.name, vectors, wrong, ok: wrong.length === 0 };
}

interface HomeReport {
  readonly path: string;
  readonly writable: boolean;
  readonly reason: string | null;
  readonly freeBytes: number | null;
}

/** Whether the home folder can be written, and the space of its disk. Leaves nothing behind that was not there. */
async function checkHome(path: string): Promise<HomeReport> {
  const existed = existsSync(path);
  let reason: string | null = null;
  let freeBytes: number | null = null;
  try {
    await mkdir(path, { recursive: true });
    const probe = join(path, `.doctor-${process.pid}`);
    await writeFile(probe, 'muster');
    await rm(probe);
    const { bavail, bsize } = await statfs(path);
    freeBytes = bavail * bsize;
  } catch (error) {
    reason = error instanceof Error ? error.message : String(error);
  }
  if (!existed && reason === null) await rm(path, { recursive: true });
  return { path, writable: reason === null, reason, freeBytes };
}

const gigabytes = (bytes: number | null): string => (bytes === null ? 'unknown' : `${(bytes / 1e9).toFixed(1)} GB`);
const giga = (rate: number): string => (rate / 1e9).toPrecision(3);

/** Why the executor called `name` is the one that trains. */
function whyTaken(name: string, asked: string): string {
  if (asked !== 'auto') return 'asked for';
  return name.startsWith('native')
    ? 'auto takes native kernels with the best instruction set of this processor'
    : 'auto takes WebAssembly where there are no native kernels';
}

export async function doctorCommand({ paths, output }: Context, flags: ExecutorFlags = {}): Promise<boolean> {
  const environment = executorEnvironment(flags, 'most');
  const training = await openTraining(environment);
  const node = { version: process.version, supported: Number(process.versions.node.split('.')[0]) >= 24, path: dirname(process.execPath) };
  const home = await checkHome(paths.root);
  const executors = executorReports();
  const conformance: Conformance[] = [];
  for (const { name, executor } of executors)
    if (executor !== null) conformance.push({ ...(await checkConformance(executor)), executor: name });
  const machine = thisMachine(training);
  const taken = whyTaken(machine.executor, environment['MUSTER_EXECUTOR'] ?? 'auto');
  const instructions = instructionSets();
  const ok = node.supported && home.writable && conformance.length > 0 && conformance.every((result) => result.ok !== false);
  output.event(
    'doctor.finished',
    {
      ok,
      node,
      machine,
      instructionSets: instructions,
      executors: executors.map(({ name, available, reason, lanes, threads, memoryBytes }) => ({
        name,
        available,
        reason,
        lanes,
        threads,
        memoryBytes,
      })),
      taken: { executor: machine.executor, threads: machine.threads, why: taken },
      conformance,
      home,
    },
    null,
  );
  output.line(`node        ${node.version}${node.supported ? '' : ': 24 or newer is needed'}`);
  output.line(`processor   ${machine.cpu}, ${machine.cores} cores${instructions === null ? '' : `, ${instructions.join(' ')}`}`);
  output.line(`memory      ${gigabytes(machine.memoryBytes)}, ${gigabytes(machine.freeBytes)} free`);
  for (const { name, available, reason, lanes, threads } of executors) {
    const tested = conformance.find((result) => result.executor === name);
    const bits =
      tested === undefined || tested.ok === null
        ? 'vectors not found'
        : tested.ok
          ? `${tested.vectors} conformance vectors reproduced`
          : `${tested.wrong.length} of ${tested.vectors} conformance vectors differ: it must not train`;
    const what = available
      ? `${lanes} lanes, ${threads === 1 ? '1 thread' : `up to ${threads} threads`}; ${bits}`
      : `not here: ${reason ?? 'unknown'}`;
    output.line(`executor    ${name}: ${what}`);
  }
  output.line(`trains on   ${machine.executor}${machine.threads > 1 ? '' : ', 1 thread'}: ${taken}`);
  const { speed } = machine.calibration;
  const products = speed.products.map(({ extent, flopsPerSecond }) => `${extent}: ${giga(flopsPerSecond)}`).join(', ');
  output.line(`speed       matrix product GFLOP/s by size: ${products}`);
  output.line(
    `            convolution ${giga(speed.convolutionFlopsPerSecond)} GFLOP/s, element-wise ${giga(speed.simpleElementsPerSecond)} G/s, exp ${giga(speed.functionElementsPerSecond)} G/s`,
  );
  output.line(`            sums ${giga(speed.reducedElementsPerSecond)} G/s, memory ${giga(speed.bytesPerSecond)} GB/s`);
  output.line(
    `home        ${home.path}: ${home.writable ? `writable, ${gigabytes(home.freeBytes)} free` : `not writable: ${home.reason ?? ''}`}`,
  );
  output.line(ok ? 'All is well.' : 'This machine cannot take part as it is.');
  return ok;
}

/** Adds the command to `program`; `finish` takes whether all is well. */
export function addDoctor(program: Command, finish: (ok: boolean) => void): void {
  addExecutorOptions(program.command('doctor'), 'all cores')
    .description('what runs on this machine, how fast, and whether it gives the right bits')
    .action(async (flags: ExecutorFlags, command: Command) => finish(await doctorCommand(contextOf(command), flags)));
}
