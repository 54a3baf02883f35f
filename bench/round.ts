/**
 * Suite `round`: what a round costs besides training, with every role in this process. bench/README.md defines each figure.
 */
import { installFastSha256 } from '../packages/adapters/src/index.ts';
import { wasmExecutor } from '../packages/engine/src/index.ts';
import { memoryBlobStore } from '../packages/ports/src/index.ts';
import { loadMaterial, reader } from '../packages/roles/src/index.ts';
import { aggregationRows } from './aggregation.ts';
import { digestRows } from './digest.ts';
import { median, plainRow, type Row } from './lib/measure.ts';
import { type BenchNetwork, type Change, digitModel, type NetworkPlan, openNetwork, orderOf } from './lib/network.ts';
import { roundPeers } from './lib/peers.ts';
import { profiled } from './lib/profile.ts';
import type { Traffic } from './lib/stopwatch.ts';

const redundancy = 3;
const localSteps = 32;

/** Stages of a round by the event that ends each; the first begins when the round before is published. */
const stages = [
  ['assign (close, beacon, assignment)', ['roundAssigned']],
  ['work (train, commit, reveal, validate)', ['committed', 'opened', 'revealed']],
  ['aggregate (average, evaluate, store)', ['aggregated']],
  ['finalize (rewards on chain)', ['roundFinalized']],
  ['publish (checkpoint on chain)', ['checkpointAdded']],
] as const;

/** Totals at one moment; figures of a round are differences. */
interface Totals {
  readonly at: number;
  readonly trained: number;
  readonly tasks: number;
  readonly transactions: number;
  readonly requests: number;
  readonly blocks: number;
  readonly changes: number;
  readonly traffic: Traffic;
}

async function totals(network: BenchNetwork): Promise<Totals> {
  const { chainCalls, changes } = network;
  const at = performance.now();
  const requests = [...chainCalls.values()].reduce((sum, count) => sum + count, 0);
  const traffic = { uploadedBytes: 0, downloadedBytes: 0, puts: 0, gets: 0, has: 0 };
  for (const one of network.traffic) for (const key of Object.keys(traffic) as (keyof Traffic)[]) traffic[key] += one[key];
  const taken = {
    at,
    trained: network.trained(),
    tasks: network.tasksTrained(),
    transactions: chainCalls.get('eth_sendRawTransaction') ?? 0,
    requests,
    changes: changes.length,
    traffic,
  };
  return { ...taken, blocks: (await network.reader.head()).block };
}

interface Round {
  readonly wallMs: number;
  readonly trainedMs: number;
  readonly tasks: number;
  readonly transactions: number;
  readonly requests: number;
  readonly blocks: number;
  readonly traffic: Traffic;
  readonly stagesMs: readonly number[];
}

function roundBetween(before: Totals, after: Totals, changes: readonly Change[]): Round {
  const traffic = { ...after.traffic };
  for (const key of Object.keys(traffic) as (keyof Traffic)[]) traffic[key] -= before.traffic[key];
  let begun = before.at;
  const stagesMs = stages.map(([, ends]) => {
    const end = changes.findLast(({ change }) => (ends as readonly string[]).includes(change))?.at ?? begun;
    const took = Math.max(0, end - begun);
    begun = Math.max(begun, end);
    return took;
  });
  return {
    wallMs: after.at - before.at,
    trainedMs: after.trained - before.trained,
    tasks: after.tasks - before.tasks,
    transactions: after.transactions - before.transactions,
    requests: after.requests - before.requests,
    blocks: after.blocks - before.blocks,
    traffic,
    stagesMs,
  };
}

const planOf = (trainers: number, rounds: number): NetworkPlan => ({
  trainers,
  tasks: trainers,
  redundancy,
  rounds,
  localSteps,
  model: digitModel('softmax'),
});

function demandQuiet(network: BenchNetwork): void {
  if (network.trouble.length > 0)
    throw new Error(`the network was in trouble, its figures mean nothing: ${network.trouble.slice(0, 3).join('; ')}`);
}

/** Milliseconds of one task computed alone in this process, nothing else going on: median over a round's tasks. */
async function taskAlone(plan: NetworkPlan): Promise<number> {
  const store = memoryBlobStore();
  const material = await loadMaterial(await orderOf(plan, store), reader(store), wasmExecutor);
  const base = material.initialParameters();
  const times: number[] = [];
  for (let task = 0; task < plan.tasks + 3; task++) {
    const started = performance.now();
    for (const _ of material.execute(0, task % plan.tasks, { base, slotState: null }));
    if (task >= 3) times.push(performance.now() - started);
  }
  return median(times);
}

async function* networkRows(trainers: number, rounds: number): AsyncGenerator<Row> {
  const plan = planOf(trainers, rounds);
  const name = `round, ${trainers} trainers, ${plan.tasks} tasks × ${redundancy}`;
  const network = await openNetwork(plan);
  const measured: Round[] = [];
  try {
    // The first round also loads programs and data everywhere: it is not counted.
    await network.finished(0);
    for (let round = 1; round < rounds; round++) {
      const before = await totals(network);
      await network.finished(round);
      const after = await totals(network);
      measured.push(roundBetween(before, after, network.changes.slice(before.changes, after.changes)));
    }
    demandQuiet(network);
    const of = (figure: (round: Round) => number): number => median(measured.map(figure));
    const peers = roundPeers();
    const row = (what: string, unit: string, figure: (round: Round) => number, others: Row['peers'] = {}): Row =>
      plainRow(`${name}: ${what}`, unit, of(figure), others);
    yield row('overhead = wall − training', 'ms', ({ wallMs, trainedMs }) => wallMs - trainedMs, peers);
    yield row('wall', 'ms', ({ wallMs }) => wallMs, peers);
    yield row('training, all slots', 'ms', ({ trainedMs }) => trainedMs);
    yield row('overhead per slot', 'ms', ({ wallMs, trainedMs, tasks }) => (wallMs - trainedMs) / tasks);
    for (const [index, [stage]] of stages.entries()) yield row(`stage ${stage}`, 'ms', ({ stagesMs }) => stagesMs[index] ?? 0);
    yield row('chain transactions a round', 'transactions', ({ transactions }) => transactions);
    yield row('chain transactions a second', 'per s', ({ transactions, wallMs }) => (1000 * transactions) / wallMs);
    yield row('chain blocks a round', 'blocks', ({ blocks }) => blocks);
    yield row('chain requests a transaction', 'requests', ({ requests, transactions }) => requests / transactions);
    yield row('uploaded per trainer', 'kB per round', ({ traffic }) => traffic.uploadedBytes / trainers / 1000, peers);
    yield row('downloaded per trainer', 'kB per round', ({ traffic }) => traffic.downloadedBytes / trainers / 1000, peers);
    yield row('uploaded, all trainers', 'kB per round', ({ traffic }) => traffic.uploadedBytes / 1000);
    yield row('downloaded, all trainers', 'kB per round', ({ traffic }) => traffic.downloadedBytes / 1000);
    yield row('store requests per trainer', 'per round', ({ traffic: { puts, gets, has } }) => (puts + gets + has) / trainers);

    await network.finished(rounds);
    const started = performance.now();
    const audit = await network.audit();
    const auditMs = performance.now() - started;
    if (!audit.ok) throw new Error(`the audit found ${JSON.stringify(audit.firstFault)}`);
    const alone = await taskAlone(plan);
    yield plainRow(
      `${name}: training, one task in its round`,
      'ms',
      of(({ trainedMs, tasks }) => trainedMs / tasks),
      {},
    );
    yield plainRow(`${name}: training, one task alone`, 'ms', alone, {});
    yield plainRow(`${name}: audit per task, everything included`, 'ms', auditMs / audit.tasks, {});
    yield plainRow(
      `${name}: audit ÷ training it checks (${redundancy} slots a task)`,
      '×',
      auditMs / audit.tasks / (redundancy * alone),
      {},
    );
  } finally {
    await network.close();
  }
}

/** Where the time of rounds goes: another network, watched by V8's sampling profiler. */
async function* profileRows(trainers: number): AsyncGenerator<Row> {
  const rounds = 5;
  const network = await openNetwork(planOf(trainers, rounds));
  try {
    await network.finished(1);
    const shares = await profiled(() => network.finished(rounds - 1));
    demandQuiet(network);
    const counted = rounds - 2;
    for (const { part, milliseconds } of shares)
      yield plainRow(`round, ${trainers} trainers, profile: ${part}`, 'ms per round', milliseconds / counted, {});
  } finally {
    await network.close();
  }
}

function sizes(): number[] {
  return (process.env['MUSTER_BENCH_TRAINERS'] ?? '8,64').split(',').map(Number);
}

/** Networks of 8 and 64 trainers, or of what `MUSTER_BENCH_TRAINERS` says (a comma list). */
export async function* networkSuite(): AsyncGenerator<Row> {
  installFastSha256();
  for (const trainers of sizes()) yield* networkRows(trainers, trainers > 16 ? 3 : 8);
}

/** The profile of the first of them. */
export async function* profileSuite(): AsyncGenerator<Row> {
  installFastSha256();
  yield* profileRows(sizes()[0] ?? 8);
}

/** Everything about rounds. */
export async function* roundSuite(): AsyncGenerator<Row> {
  installFastSha256();
  yield* aggregationRows(roundPeers());
  yield* digestRows();
  yield* networkSuite();
  yield* profileSuite();
}
