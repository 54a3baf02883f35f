/**
 * A whole network in this process: the real contracts on an embedded chain in memory, a store in memory, and the real coordinator,
 * validator and trainers with sealed envelopes between them, woken as the processes of `muster demo` are. There is no HTTP, no disk
 * and no second thread: what is measured is what the protocol itself costs.
 */
import { createHash } from 'node:crypto';
import {
  addressOfKey,
  connectAccount,
  connectChain,
  deployContracts,
  inProcessTransport,
  nodeKeyFromSeed,
  openEmbeddedChain,
  packCapabilities,
  systemClock,
  systemEntropy,
  verifySignature,
} from '../../packages/adapters/src/index.ts';
import { jobSpecFor, storeModel, submitJob } from '../../apps/cli/src/jobs.ts';
import { drawDigits, packDataset } from '../../packages/data/src/index.ts';
import { createWasmExecutor } from '../../packages/engine/src/index.ts';
import { buildModel, type ModelSpec } from '../../packages/models/src/index.ts';
import {
  type BlobStore,
  type ChainReader,
  type ChainWriter,
  memoryBlobStore,
  memoryEventLog,
  type NodeKey,
} from '../../packages/ports/src/index.ts';
import {
  type JobId,
  type JobSpec,
  MusterError,
  networkName,
  openEnvelope,
  type Root,
  sealEnvelope,
} from '../../packages/protocol/src/index.ts';
import { auditJob, type AuditResult, Coordinator, type CoordinatorLink, Trainer, Validator } from '../../packages/roles/src/index.ts';
import { counted, countedChain, noTraffic, type Stopwatch, stopwatch, type Traffic } from './stopwatch.ts';

/** As in the processes of the command line. */
const coordinatorPollMs = 200;
const nodePollMs = 1000;
const stakeWei = 10n ** 18n;

export interface NetworkPlan {
  readonly trainers: number;
  readonly tasks: number;
  readonly redundancy: number;
  readonly rounds: number;
  readonly localSteps: number;
  readonly model: ModelSpec;
}

/** What the coordinator saw happen, at `performance.now()`. */
export interface Change {
  readonly change: string;
  readonly at: number;
}

export interface BenchNetwork {
  readonly job: JobId;
  readonly spec: JobSpec;
  readonly reader: ChainReader;
  /** Chain requests by method so far, of everybody. */
  readonly chainCalls: ReadonlyMap<string, number>;
  /** Traffic of each trainer. */
  readonly traffic: readonly Traffic[];
  /** Changes of the job's state, in order. */
  readonly changes: readonly Change[];
  /** Milliseconds of computing of all trainers. */
  trained(): number;
  /** Milliseconds from the first look at the accepted updates to the stored checkpoint, of each round so far. */
  readonly aggregations: readonly number[];
  /** Tasks trained so far. */
  tasksTrained(): number;
  /** Anything that a role reported as trouble. */
  readonly trouble: readonly string[];
  /** Resolves when round `round` is final and its checkpoint registered; for the number of rounds, when the job has ended. */
  finished(round: number): Promise<void>;
  audit(): Promise<AuditResult>;
  close(): Promise<void>;
}

const digest = (label: string): Uint8Array => new Uint8Array(createHash('sha256').update(label).digest());
const accountKey = (label: string): `0x${string}` => `0x${Buffer.from(digest(`account ${label}`)).toString('hex')}`;

/** Digits, 10 classes; small batches as in the demonstration. */
export function digitModel(family: 'softmax' | 'mlp'): ModelSpec {
  const common = { input: [28, 28], classes: 10, batchSize: 32, evaluationBatch: 250 } as const;
  const optimizer = { kind: 'momentum', learningRate: 0.05, momentum: 0.9 } as const;
  return family === 'softmax' ? { family, ...common, optimizer } : { family, ...common, hidden: [128], optimizer };
}

/** Draws the digits, builds the model, stores both; the spec over them. Deadlines are so late that none comes. */
export async function orderOf(plan: NetworkPlan, store: BlobStore): Promise<JobSpec> {
  const put = store.put.bind(store);
  const dataset = packDataset(drawDigits({ seed: 7, train: 8500, test: 1500 }));
  for (const { bytes, codec } of dataset.blocks) await put(bytes, codec);
  const model = await storeModel(await buildModel(plan.model), put);
  const { trainers, rounds, tasks, redundancy, localSteps } = plan;
  const settings = {
    name: 'bench',
    model,
    dataset: dataset.cid,
    seed: 7,
    rounds,
    tasks,
    redundancy,
    localSteps,
    minimumNodes: trainers,
    commitTimeoutMs: 600_000,
    revealTimeoutMs: 600_000,
    verdictTimeoutMs: 600_000,
    roundTimeoutMs: 3_600_000,
  };
  return await jobSpecFor(settings, store);
}

/** Opens the network and submits its job; round 0 is under way when this resolves. */
export async function openNetwork(plan: NetworkPlan): Promise<BenchNetwork> {
  const chainId = 77_008;
  const names = ['organizer', 'coordinator', 'validator', ...Array.from({ length: plan.trainers }, (_, index) => `trainer ${index}`)];
  const accounts = names.map((name) => ({ address: addressOfKey(accountKey(name)), balanceWei: 1000n * stakeWei }));
  const chainCalls = new Map<string, number>();
  const embedded = countedChain(
    await openEmbeddedChain({ path: ':memory:', chainId, genesis: { accounts }, clock: systemClock }),
    chainCalls,
  );
  const endpoint = { transport: inProcessTransport(embedded) };
  const info = await deployContracts({ ...endpoint, privateKey: accountKey('organizer') });
  const network = networkName(info.chainId, info.contracts.proofOfCompute);
  const writer = (name: string): Promise<ChainWriter> => connectAccount({ ...endpoint, info, privateKey: accountKey(name) });
  const store = memoryBlobStore();
  const executor = await createWasmExecutor();
  const controller = new AbortController();
  const { signal } = controller;
  const schedulers: Stopwatch[] = [];
  const changes: Change[] = [];
  const trouble: string[] = [];
  const aggregations: number[] = [];
  const waiting = new Map<number, () => void>();
  const done = new Set<number>();
  let tasksTrained = 0;

  const report = (event: string, fields: Readonly<Record<string, unknown>>): void => {
    if (event === 'task.trained') tasksTrained++;
    if (event === 'round.aggregated') aggregations.push(fields['milliseconds'] as number);
    if (/trouble|refused|failed|gone|slashed/.test(event))
      trouble.push(`${event} ${JSON.stringify(fields, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))}`);
    if (event !== 'round.finished' && event !== 'job.ended') return;
    const round = event === 'job.ended' ? plan.rounds : (fields['round'] as number);
    done.add(round);
    waiting.get(round)?.();
  };

  const own = stopwatch();
  const coordinatorChain = await writer('coordinator');
  const coordinator = new Coordinator({
    chain: coordinatorChain,
    blobs: store,
    log: memoryEventLog(),
    executor,
    verify: verifySignature,
    scheduler: own,
    report,
    signal,
    presenceTimeoutMs: 600_000,
    pollMs: coordinatorPollMs,
    organizers: [],
    grantWei: 0n,
    uploadBytesPerHour: 2 ** 40,
  });
  coordinator.onChange((_, data) => {
    changes.push({ change: (data as { readonly change: string }).change, at: performance.now() });
    // What the event stream does between processes.
    for (const scheduler of schedulers) scheduler.wake();
  });
  coordinatorChain.watch(() => own.wake(), signal);
  const routes = coordinator.signedRoutes();

  const link = (key: NodeKey, traffic: Traffic): CoordinatorLink => ({
    blobs: counted(store, traffic),
    async get(path) {
      const handler = coordinator.publicRoutes()[path];
      if (handler === undefined) throw new MusterError('ROUTE_UNKNOWN', path);
      return await handler({});
    },
    async message(kind, body) {
      const sealed = sealEnvelope(key, { kind, network, nonce: systemEntropy.bytes(16), issuedAtMs: systemClock.now(), body });
      const opened = openEnvelope(sealed, {
        network,
        kinds: Object.keys(routes),
        verify: verifySignature,
        nowMs: systemClock.now(),
        windowMs: 120_000,
      });
      const handler = routes[opened.kind];
      if (handler === undefined) throw new MusterError('ROUTE_UNKNOWN', opened.kind);
      return await handler(opened);
    },
  });

  const caps = packCapabilities({ hasGPU: false, hasTEE: false, diskGB: 1, bandwidthMbps: 10, computeUnits: 1 });
  const join = async (name: string, role: 'trainer' | 'validator', traffic: Traffic): Promise<() => Promise<void>> => {
    const key = nodeKeyFromSeed(digest(`node ${name}`));
    const chain = await writer(name);
    await chain.send({ call: 'registerNode', node: key.node, role, region: 'bench', caps, slaId: `0x${'0'.repeat(64)}` as Root, stakeWei });
    const scheduler = stopwatch();
    schedulers.push(scheduler);
    const connection = link(key, traffic);
    await connection.message('hello', { role });
    const common = { link: connection, chain, key, executor, scheduler, report, signal, pollMs: nodePollMs };
    const worker = role === 'trainer' ? new Trainer({ ...common, dishonest: false }) : new Validator(common);
    return () => worker.run();
  };

  const traffic = Array.from({ length: plan.trainers }, noTraffic);
  const starts = await Promise.all(traffic.map((of, index) => join(`trainer ${index}`, 'trainer', of)));
  const trainerWatches = schedulers.slice();
  starts.push(await join('validator', 'validator', noTraffic()));

  const spec = await orderOf(plan, store);
  const running = [coordinator.run(), ...starts.map((start) => start())];
  const job = await submitJob({
    spec,
    blobs: store,
    chain: await writer('organizer'),
    coordinator: addressOfKey(accountKey('coordinator')),
    validator: addressOfKey(accountKey('validator')),
    budgetWei: 10n ** 18n,
  });

  const reader = await connectChain({ ...endpoint, info });
  return {
    job,
    spec,
    reader,
    chainCalls,
    traffic,
    changes,
    trouble,
    trained: () => trainerWatches.reduce((sum, watch) => sum + watch.computed(), 0),
    aggregations,
    tasksTrained: () => tasksTrained,
    finished: (round) => (done.has(round) ? Promise.resolve() : new Promise((resolve) => waiting.set(round, resolve))),
    audit: () =>
      auditJob({ chain: reader, blobs: store, executor, verify: verifySignature, scheduler: stopwatch(), report: () => undefined, job }),
    async close() {
      controller.abort();
      await Promise.allSettled(running);
      await embedded.close();
    },
  };
}
