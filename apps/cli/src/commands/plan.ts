/**
 * `muster plan`: will training this model fit this machine, how long does a round take, and what travels.
 */
import { readFile } from 'node:fs/promises';
import { decodeModelSpec, estimateModel, gptOfSize, type ModelSpec, parseParameters, type StepMemory } from '@muster/models';
import { cidOfBytes, MusterError } from '@muster/protocol';
import type { Command } from 'commander';
import { addExecutorOptions, executorEnvironment, type ExecutorFlags } from '../executor.ts';
import { type Machine, machineFrom, openTraining, stepTime, thisMachine, type Training } from '../machine.ts';
import { duration, planOf } from '../planning.ts';
import { type Context, contextOf } from './context.ts';

export interface PlanFlags extends ExecutorFlags {
  readonly model?: string;
  readonly params?: string;
  readonly batch?: string;
  readonly context?: string;
  readonly lora?: string;
  readonly steps: string;
  readonly rounds?: string;
  readonly bandwidth: string;
  readonly memory?: string;
  readonly machine?: string;
  readonly deadline: string;
}

const usage = (message: string): MusterError => new MusterError('USAGE', message);

function integerOf(option: string, text: string, most = 1e9): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > most) throw usage(`${option} takes an integer from 1`);
  return value;
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 1e12)) throw usage(`${option} takes a number above 0`);
  return value;
}

/** The specification that the flags name: a JSON file, or a GPT of a size; with adapters on every kernel where --lora asks for them. */
async function specOf(flags: PlanFlags): Promise<ModelSpec> {
  const spec = await baseSpecOf(flags);
  if (flags.lora === undefined) return spec;
  const rank = integerOf('--lora', flags.lora, 65_536);
  // Nothing is trained, so the base may be any object.
  return { ...spec, adapter: { rank, alpha: 2 * rank, targets: ['*.kernel'], base: cidOfBytes(new Uint8Array(0), 'raw') } };
}

async function baseSpecOf(flags: PlanFlags): Promise<ModelSpec> {
  if ((flags.model === undefined) === (flags.params === undefined)) throw usage('give --model <file> or --params <size>');
  const batch = flags.batch === undefined ? null : integerOf('--batch', flags.batch, 65_536);
  if (flags.params !== undefined) {
    const context = flags.context === undefined ? undefined : integerOf('--context', flags.context, 65_536);
    return gptOfSize(parseParameters(flags.params), batch ?? 1, context);
  }
  const file = flags.model as string;
  let value: unknown;
  try {
    value = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new MusterError('MODEL_INVALID', `${file}: ${cause instanceof Error ? cause.message : String(cause)}`, { file }, { cause });
  }
  const changes = {
    ...(batch === null ? {} : { batchSize: batch }),
    ...(flags.context === undefined ? {} : { context: integerOf('--context', flags.context) }),
  };
  return decodeModelSpec(value !== null && typeof value === 'object' ? { ...value, ...changes } : value);
}

async function machineOf(flags: PlanFlags): Promise<readonly [Machine, Training | null]> {
  if (flags.machine === undefined) {
    const training = await openTraining(executorEnvironment(flags, 'most'));
    return [thisMachine(training), training];
  }
  if (flags.executor !== undefined || flags.threads !== undefined)
    throw usage('--machine says which executor and how many threads: give --executor and --threads to `muster doctor --json` there');
  let content: string;
  try {
    content = await readFile(flags.machine, 'utf8');
  } catch (cause) {
    throw new MusterError('USAGE', `${flags.machine} cannot be read`, { file: flags.machine }, { cause });
  }
  return [machineFrom(flags.machine, content), null];
}

/** Three digits and the largest unit that leaves something before the point: `3.43 TFLOP`. */
function scaled(value: number, unit: string): string {
  const prefixes = ['', 'k', 'M', 'G', 'T', 'P', 'E'] as const;
  let [left, step] = [value, 0];
  while (left >= 999.5 && step + 1 < prefixes.length) [left, step] = [left / 1000, step + 1];
  return `${Number(left.toPrecision(3))} ${prefixes[step]}${unit}`;
}
const gigabytes = (bytes: number): string => scaled(bytes, 'B');
const grouped = (count: number): string => count.toLocaleString('en-US');

function memoryLine({ parameters, optimizer, nextState, gradients, given, activations, tables, total }: StepMemory): string {
  const parts: readonly (readonly [string, number])[] = [
    ['parameters', parameters],
    ['optimizer', optimizer],
    ['next state', nextState],
    ['gradients', gradients],
    ['batch and frozen', given],
    ['activations', activations],
    ['tables', tables],
  ];
  const named = parts.filter(([, bytes]) => bytes > 0.002 * total).map(([name, bytes]) => `${name} ${gigabytes(bytes)}`);
  return `${gigabytes(total)}: ${named.join(', ')}`;
}

export async function planCommand({ output }: Context, flags: PlanFlags): Promise<boolean> {
  const spec = await specOf(flags);
  const schedule = {
    steps: integerOf('--steps', flags.steps),
    rounds: flags.rounds === undefined ? null : integerOf('--rounds', flags.rounds),
    bitsPerSecond: 1e6 * positive('--bandwidth', flags.bandwidth),
    roundTimeoutSeconds: positive('--deadline', flags.deadline),
  };
  const memory = flags.memory === undefined ? null : 1e9 * positive('--memory', flags.memory);
  const [machine, training] = await machineOf(flags);
  const estimate = estimateModel(spec);
  const { seconds, whole, sampledShare } = stepTime(estimate, machine, training);
  const { executorBytes, overheadBytes, processBytes, threads } = machine;
  const limits = { memoryBytes: memory ?? machine.memoryBytes, executorBytes, overheadBytes, processBytes };
  const plan = planOf(estimate, seconds, schedule, limits);
  const { cost, parameters, rematerialised } = estimate;
  const timed = whole ? 'run here' : `${Math.round(100 * sampledShare)} % of it timed by its kernel calls`;
  output.event(
    'plan.finished',
    {
      family: spec.family,
      parameters,
      flopsPerStep: cost.flops,
      memory: estimate.memory,
      rematerialised: { memory: rematerialised.memory, flopsPerStep: rematerialised.flops },
      sampledShare,
      machine: { cpu: machine.cpu, cores: machine.cores, executor: machine.executor, threads, ...limits },
      schedule,
      ...plan,
    },
    null,
  );
  output.line(`model     ${spec.family}, ${grouped(parameters)} ${flags.lora === undefined ? 'parameters' : 'parameters in adapters'}`);
  output.line(
    `machine   ${machine.cpu}, ${machine.cores} cores, ${gigabytes(limits.memoryBytes)}; executor ${machine.executor}${threads > 1 ? '' : ', 1 thread'}`,
  );
  output.line(`step      ${scaled(cost.flops, 'FLOP')}, ${duration(plan.stepSeconds)} (${timed})`);
  output.line(`memory    ${memoryLine(estimate.memory)}`);
  output.line(
    `          ${gigabytes(rematerialised.memory.total)} with values computed again, for ${Math.round(100 * (rematerialised.flops / cost.flops - 1))} % more arithmetic`,
  );
  output.line(
    `          ${gigabytes(plan.processBytes)} for the whole process, ${gigabytes(processBytes)} of it before there is a program`,
  );
  output.line(
    `round     ${schedule.steps} steps ${duration(plan.taskSeconds)}, transfer ${duration(plan.transferSeconds)} at ${flags.bandwidth} Mbit/s`,
  );
  output.line(
    `traffic   ${gigabytes(plan.perRound.downBytes)} down and ${gigabytes(plan.perRound.upBytes)} up per round and task; per month ${gigabytes(plan.perMonth.downBytes)} and ${gigabytes(plan.perMonth.upBytes)}`,
  );
  output.line(
    `          update in forms not built yet: int8 ${gigabytes(plan.plannedUpdateBytes.int8)}, largest 1 % ${gigabytes(plan.plannedUpdateBytes.topPercent)}`,
  );
  output.line(
    `rounds    ${grouped(plan.rounds)} in ${duration(plan.totalSeconds)}${schedule.rounds === null ? ' (a month without pause)' : ''}`,
  );
  output.line(
    `verdict   this machine ${plan.verdict === 'tight' ? 'can take part, but it is tight' : `${plan.verdict} take part`}: ${plan.reasons.join('; ')}`,
  );
  for (const remedy of plan.remedies) output.line(`          ${remedy}`);
  return plan.verdict !== 'cannot';
}

/** Adds the command to `program`; `finish` takes whether it succeeded. */
export function addPlan(program: Command, finish: (ok: boolean) => void): void {
  addExecutorOptions(program.command('plan'), 'all cores')
    .description('will training a model fit this machine: memory, time, traffic; exit code 0 if it can take part')
    .option('--model <file>', 'model specification (JSON)')
    .option('--params <size>', 'a GPT of this size instead: 124M, 500M, 1B, 3B, …')
    .option('--batch <n>', 'records per step (default: as the file says, else 1)')
    .option('--context <n>', 'tokens per record (default: as the file says, else 1024)')
    .option('--lora <rank>', 'train low-rank adapters of this rank on every kernel instead of the model')
    .option('--steps <n>', 'optimizer steps per task', '32')
    .option('--rounds <n>', 'rounds of the job (default: what a month has room for)')
    .option('--bandwidth <Mbps>', 'megabits per second, up and down', '100')
    .option('--deadline <seconds>', 'deadline of a round', '600')
    .option('--memory <GB>', 'memory of the machine (default: what it has)')
    .option('--machine <file>', 'another machine: what `muster doctor --json` printed there')
    .action(async (flags: PlanFlags, command: Command) => finish(await planCommand(contextOf(command), flags)));
}
