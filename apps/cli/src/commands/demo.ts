/**
 * `muster demo`: a whole network on this machine, from an empty folder to an audited model.
 *
 * Chain, coordinator, validator and every trainer are processes of their own. The last trainers lie, others are killed while
 * they work; then a fresh process replays everything.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { executorFromEnvironment, installFastSha256, openFolderStore, systemClock } from '@muster/adapters';
import { buildModel, type ModelSpec } from '@muster/models';
import { type CidText, type JobId, MusterError } from '@muster/protocol';
import { ChainHistory } from '@muster/roles';
import { executorEnvironment, type ExecutorFlags } from '../executor.ts';
import { chainUrl, homePaths, type HomePaths } from '../home.ts';
import { jobSpecFor, storeDataset, storeModel, submitJob } from '../jobs.ts';
import { startNetwork, type RunningNetwork } from '../network.ts';
import { booksOf, booksTable } from '../money.ts';
import { ether, percent, shortId } from '../output.ts';
import { stopOnSignals } from '../runtime.ts';
import { awaitReport, Child, type ChildReport } from '../supervise.ts';
import { connectOrganizer, type Context } from './context.ts';
import { describe } from './up.ts';

export interface DemoFlags extends ExecutorFlags {
  readonly data?: string;
  readonly model: string;
  readonly trainers: string;
  readonly rounds: string;
  readonly tasks: string;
  readonly redundancy: string;
  readonly steps?: string;
  readonly split: string;
  readonly cheat: string;
  readonly drop: string;
  readonly seed: string;
}

interface DemoPlan {
  readonly model: 'softmax' | 'mlp' | 'cnn';
  readonly trainers: number;
  readonly rounds: number;
  readonly tasks: number;
  readonly redundancy: number;
  readonly steps: number;
  readonly cheat: number;
  readonly drop: number;
  readonly seed: number;
}

/** What one execution is paid. A node's stake must cover all that it has under way. */
const slotRewardWei = 2n * 10n ** 16n;

function integerFlag(option: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most)
    throw new MusterError('USAGE', `${option} must be an integer from ${least} to ${most}, got "${text}"`, { option });
  return value;
}

function planOf(flags: DemoFlags): DemoPlan {
  const { model } = flags;
  if (model !== 'softmax' && model !== 'mlp' && model !== 'cnn')
    throw new MusterError('USAGE', `--model must be mlp, cnn or softmax, got "${model}"`, { option: '--model' });
  const redundancy = integerFlag('--redundancy', flags.redundancy, 1, 15);
  const trainers = integerFlag('--trainers', flags.trainers, redundancy, 64);
  const cheat = integerFlag('--cheat', flags.cheat, 0, trainers - 1);
  const drop = integerFlag('--drop', flags.drop, 0, trainers - 1);
  if (trainers - cheat - drop < 1)
    throw new MusterError('USAGE', 'at least one trainer must neither lie nor be killed', { option: '--trainers' });
  return {
    model,
    trainers,
    redundancy,
    cheat,
    drop,
    rounds: integerFlag('--rounds', flags.rounds, 1, 1000),
    tasks: integerFlag('--tasks', flags.tasks, 1, 1024),
    steps: integerFlag('--steps', flags.steps ?? '32', 1, 100_000),
    seed: integerFlag('--seed', flags.seed, 0, 2 ** 31),
  };
}

/** The demonstration's models: 28 × 28 digits, ten classes. */
function modelSpecOf(family: DemoPlan['model']): ModelSpec {
  const training = { batchSize: 32, evaluationBatch: 250, optimizer: { kind: 'momentum', learningRate: 0.05, momentum: 0.9 } } as const;
  switch (family) {
    case 'softmax':
      return { family, input: [28, 28], classes: 10, ...training };
    case 'mlp':
      return { family, input: [28, 28], classes: 10, hidden: [128], ...training };
    case 'cnn':
      return { family, input: [28, 28, 1], classes: 10, channels: [8, 16], kernelSize: 3, hidden: [], ...training };
    default:
      return family satisfies never;
  }
}

const splits = {
  equal: { kind: 'equal' },
  dirichlet: { kind: 'dirichlet', alpha: 0.5 },
  label: { kind: 'label', shardsPerSlot: 2 },
  class: { kind: 'class' },
} as const;

export async function demoCommand(context: Context, flags: DemoFlags): Promise<boolean> {
  const plan = planOf(flags);
  const split = Object.hasOwn(splits, flags.split) ? splits[flags.split as keyof typeof splits] : null;
  if (split === null) throw new MusterError('USAGE', `--split must be one of ${Object.keys(splits).join(', ')}`, { option: '--split' });
  // Many trainers share this machine, so each takes one thread unless told otherwise.
  const environment = executorEnvironment(flags, 1);
  await executorFromEnvironment(environment);
  const { output } = context;
  const paths = context.homeGiven ? context.paths : homePaths(join(context.paths.root, `demo-${systemClock.now().toString(36)}`));
  await mkdir(paths.root, { recursive: true });
  installFastSha256();
  const controller = stopOnSignals();
  const started = systemClock.now();

  output.line(`muster demo  (home ${paths.root})`);
  const store = await openFolderStore(paths.store);
  const put = store.put.bind(store);
  if (flags.data === undefined) output.line('no --data given: drawing 10 000 digits (strokes, distortions, noise) instead');
  const data = await storeDataset(flags.data === undefined ? null : resolve(flags.data), {}, plan.seed, put, output);
  output.event(
    'data.imported',
    { dataset: data.cid, records: data.records, bytes: data.bytes },
    `  dataset  ${data.cid}  (${data.records} records)`,
  );
  const built = await buildModel(modelSpecOf(plan.model));
  const model = await storeModel(built, put);
  output.event('model.built', { model, name: built.model.name }, `  model    ${model}  (${plan.model})`);

  const show = (report: ChildReport, child: Child): void => {
    const { event, ...fields } = report;
    const quiet = event === 'task.trained' || event === 'node.ready' || event === 'node.joined';
    output.event(event, { process: child.name, ...fields }, quiet ? null : describe(event, fields));
  };
  const dropper = new Dropper(plan, (line) => output.line(line));
  let running: RunningNetwork | null = null;
  const trainers: Child[] = [];
  try {
    running = await startNetwork({
      paths,
      host: '127.0.0.1',
      coordinatorPort: 0,
      chainPort: 0,
      environment,
      onReport: (report, child) => {
        show(report, child);
        dropper.onReport(report);
      },
    });
    output.line(`  network  ${running.url}  (chain ${chainUrl(running.network)})`);
    await startTrainers(plan, paths, running.url, environment, trainers, show);
    dropper.trainers = trainers;
    output.line(`  ${plan.trainers} trainers joined, ${plan.cheat} of them will lie, ${plan.drop} will be killed`);
    const job = await findOrSubmit(context, paths, plan, model, data.cid, split);
    output.event('job.submitted', { job, state: 'running', round: 0 }, `  job      ${job}`);
    await awaitEnd(paths, job, controller.signal);
    if (controller.signal.aborted)
      throw new MusterError('STATE_CONFLICT', 'interrupted; run the same command with the same --home to go on', { home: paths.root });
    await Promise.all(trainers.map((trainer) => trainer.stop()));
    const summary = await summarize(context, paths, job, systemClock.now() - started);
    await running.stop();
    running = null;
    output.line(`  auditing in a fresh process: muster audit ${job} --home ${paths.root}`);
    const auditOk = await auditApart(context, paths, job, environment);
    output.event(
      'demo.finished',
      { job, ...summary, replaced: summary.replaced, auditOk, home: paths.root },
      `  ${auditOk ? 'audit green: every task, aggregation, signature and payment was replayed' : 'AUDIT FAILED'}`,
    );
    return auditOk && summary.addsUp && summary.rounds === plan.rounds;
  } finally {
    await Promise.all(trainers.map((trainer) => trainer.stop()));
    await running?.stop();
  }
}

async function startTrainers(
  plan: DemoPlan,
  paths: HomePaths,
  url: string,
  environment: Readonly<Record<string, string | undefined>>,
  trainers: Child[],
  onReport: (report: ChildReport, child: Child) => void,
): Promise<void> {
  const ready: Promise<void>[] = [];
  for (let index = 0; index < plan.trainers; index++) {
    const dishonest = index >= plan.trainers - plan.cheat;
    const seen = new Set<string>();
    const child = new Child({
      name: `trainer ${index}`,
      arguments: ['run', 'trainer', '--home', paths.trainer(index), '--url', url, ...(dishonest ? ['--dishonest'] : [])],
      environment,
      restart: false,
      onReport: (report, self) => {
        seen.add(report.event);
        onReport(report, self);
      },
    });
    trainers.push(child);
    child.start();
    ready.push(
      awaitReport(child, seen, 'node.ready', 120_000).catch((error: unknown) => {
        // In a demonstration that goes on, who was slashed before cannot come back.
        if (!child.lastError.includes('NODE_INACTIVE')) throw error;
      }),
    );
  }
  await Promise.all(ready);
}

/** Kills the first trainers with SIGKILL, one in each of the first rounds, while they hold work. */
class Dropper {
  trainers: readonly Child[] = [];
  readonly #plan: DemoPlan;
  readonly #say: (line: string) => void;
  #killed = 0;

  constructor(plan: DemoPlan, say: (line: string) => void) {
    this.#plan = plan;
    this.#say = say;
  }

  onReport({ event, round }: ChildReport): void {
    if (event !== 'round.assigned' || this.#killed >= this.#plan.drop || typeof round !== 'number') return;
    if (round < Math.min(1, this.#plan.rounds - 1)) return;
    const victim = this.trainers[this.#killed];
    if (victim === undefined) return;
    this.#killed++;
    this.#say(`  round ${round}: ${victim.name} is killed (SIGKILL to process ${victim.processId ?? '–'})`);
    victim.kill();
  }
}

/** The job of an interrupted demonstration in this home, or a new one. */
async function findOrSubmit(
  context: Context,
  paths: HomePaths,
  plan: DemoPlan,
  model: CidText,
  dataset: CidText,
  split: (typeof splits)[keyof typeof splits],
): Promise<JobId> {
  const { network, client, chain } = await connectOrganizer(paths);
  const history = new ChainHistory(chain);
  await history.sync();
  const open = [...history.jobs.values()].find(({ ended }) => ended === null);
  if (open !== undefined) {
    context.output.line('  going on with the job that was interrupted here');
    return open.submitted.job;
  }
  const settings = {
    name: `demo ${plan.model}`,
    model,
    dataset,
    seed: plan.seed,
    rounds: plan.rounds,
    tasks: plan.tasks,
    redundancy: plan.redundancy,
    localSteps: plan.steps,
    commitTimeoutMs: 30_000,
    revealTimeoutMs: 20_000,
    split,
  };
  const spec = await jobSpecFor(settings, client.blobs);
  const { coordinator, validator } = network.accounts;
  return await submitJob({
    spec,
    blobs: client.blobs,
    chain,
    coordinator,
    validator,
    budgetWei: slotRewardWei * BigInt(plan.rounds * plan.tasks * plan.redundancy),
  });
}

/** Waits until the job has ended on chain. */
async function awaitEnd(paths: HomePaths, job: JobId, signal: AbortSignal): Promise<void> {
  const { chain } = await connectOrganizer(paths);
  const history = new ChainHistory(chain);
  while (!signal.aborted) {
    await history.sync().catch(() => undefined);
    if (history.jobs.get(job)?.ended !== null) return;
    await new Promise((done) => setTimeout(done, 200));
  }
}

interface Summary {
  readonly rounds: number;
  readonly accuracy: number | null;
  readonly model: string;
  readonly slashed: readonly string[];
  readonly replaced: readonly string[];
  readonly milliseconds: number;
  /** Whether the network's money adds up to the wei. */
  readonly addsUp: boolean;
}

/** Prints the closing table: model, accuracy, money. */
async function summarize({ output }: Context, paths: HomePaths, job: JobId, milliseconds: number): Promise<Summary> {
  const { client, chain } = await connectOrganizer(paths);
  const shown = (await client.get(`jobs/${job}`)) as {
    readonly model: string;
    readonly slashed: readonly string[];
    readonly replaced: readonly string[];
    readonly checkpoints: readonly { readonly accuracy: number | null; readonly loss: number }[];
  };
  const history = new ChainHistory(chain);
  await history.sync();
  const record = history.jobs.get(job);
  const earned = new Map<string, bigint>();
  for (const round of record?.rounds.values() ?? []) {
    for (const task of round.tasks.values()) {
      for (const { rewarded } of task.slots.values()) {
        if (rewarded === null) continue;
        earned.set(rewarded.node, (earned.get(rewarded.node) ?? 0n) + rewarded.amountWei);
      }
    }
  }
  const accuracy = shown.checkpoints.at(-1)?.accuracy ?? null;
  output.line(`finished ${shown.checkpoints.length} rounds in ${(milliseconds / 1000).toFixed(1)} s`);
  output.line(`  model    ${shown.model}`);
  output.line(`  accuracy ${percent(accuracy)} on held-out records`);
  output.line('  node             earned (ether)   stake');
  for (const node of history.nodes.values()) {
    if (node.role !== 'trainer') continue;
    const slashed = (history.slashed.get(node.node) ?? []).reduce((sum, { amountWei }) => sum + amountWei, 0n);
    const stake = `${ether(node.stakeWei - slashed)}${slashed > 0n ? `  slashed ${ether(slashed)}` : ''}`;
    output.line(`  ${shortId(node.node).padEnd(15)}  ${ether(earned.get(node.node) ?? 0n).padStart(14)}   ${stake}`);
  }
  const books = await booksOf(chain, history);
  for (const line of booksTable(books)) output.line(`  ${line}`);
  return {
    rounds: shown.checkpoints.length,
    accuracy,
    model: shown.model,
    slashed: [...history.slashed.keys()],
    replaced: [...new Set(shown.replaced)],
    milliseconds,
    addsUp: books.addsUp,
  };
}

/** Runs `muster audit` in a process of its own, which shares nothing with this one but the files. */
async function auditApart(
  { output }: Context,
  paths: HomePaths,
  job: JobId,
  env: Readonly<Record<string, string | undefined>>,
): Promise<boolean> {
  const program = fileURLToPath(new URL('../main.ts', import.meta.url));
  const child = spawn(process.execPath, [program, 'audit', job, '--home', paths.root, ...(output.json ? ['--json'] : [])], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env,
  });
  createInterface({ input: child.stdout }).on('line', (line) => process.stdout.write(output.json ? `${line}\n` : `  ${line}\n`));
  const [code] = (await once(child, 'close')) as [number | null];
  return code === 0;
}
