/**
 * A whole network in one process, for tests: the embedded chain in memory with the real contracts, an in-memory store and
 * event log, the WASM executor, and coordinator, validator and trainers driven turn by turn. Time passes only between turns
 * in which nothing is under way, so no test depends on how fast the machine is.
 */
import {
  addressOfKey,
  connectAccount,
  connectChain,
  deployContracts,
  type EmbeddedChain,
  inProcessTransport,
  nodeKeyFromSeed,
  openEmbeddedChain,
  packCapabilities,
  verifySignature,
} from '@muster/adapters';
import { createWasmExecutor, type Executor } from '@muster/engine';
import {
  type BlobStore,
  type ChainInfo,
  type ChainReader,
  type ChainWriter,
  type EventLog,
  memoryBlobStore,
  memoryEventLog,
  type NodeKey,
  type NodeRole,
} from '@muster/ports';
import {
  decodeCanonical,
  digestOf,
  encodeLinked,
  type ErrorCode,
  type JobId,
  type JobPolicy,
  keccakOfWords,
  MusterError,
  networkName,
  openEnvelope,
  plainPolicy,
  type Root,
  sealEnvelope,
  sha256,
} from '@muster/protocol';
import {
  auditJob,
  type AuditResult,
  ChainHistory,
  Coordinator,
  type CoordinatorLink,
  type JobRecord,
  Trainer,
  Validator,
} from '../../src/index.ts';
import { type Death, Life } from './life.ts';
import { type Order, storeOrder } from './order.ts';
import { handTime, type HandTime } from './time.ts';

const chainId = 77_007;
const ether = 10n ** 18n;
export const stakeWei = ether;
const maxTrainers = 10;
export const presenceTimeoutMs = 4000;
/** Of jobs that settle in batches: nodes have an eighth of this, 15 s, to act for themselves. */
export const batchedPolicy = { settlement: 'batched', roundTimeout: 120 } as const;

const seedOf = (label: string): Uint8Array => sha256(new TextEncoder().encode(label));
const accountKey = (label: string): `0x${string}` => `0x${Buffer.from(seedOf(`account ${label}`)).toString('hex')}`;

let executor: Promise<Executor> | null = null;
/** One executor for everybody: it holds no state between tasks. */
export const sharedExecutor = (): Promise<Executor> => (executor ??= createWasmExecutor());

export interface Reported {
  readonly by: string;
  readonly event: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface Participant {
  readonly name: string;
  readonly key: NodeKey;
  readonly role: 'trainer' | 'validator';
  /** Says hello and takes turns. */
  present: boolean;
  /** Does its work at its turn; false: it only says hello. */
  atWork: boolean;
  /** Set when the node found its stake gone. */
  ended: string | null;
  worker: Trainer | Validator;
  life: Life;
  /** Kills the process for good. */
  vanish(): void;
  /** Throws the process away and starts it anew with the same key. */
  restart(death?: Death): void;
}

export interface WorldOptions {
  readonly trainers: number;
  /** Indices of trainers that lie. */
  readonly liars?: readonly number[];
  readonly validator?: boolean;
  /** What the coordinator sees instead of its ports, for coordinators that misbehave. */
  readonly coordinatorPorts?: (ports: CoordinatorPorts) => CoordinatorPorts;
}

export interface CoordinatorPorts {
  readonly chain: ChainWriter;
  readonly blobs: BlobStore;
  readonly log: EventLog;
}

export class World {
  readonly time: HandTime = handTime();
  readonly blobs = memoryBlobStore();
  readonly log = memoryEventLog();
  readonly reports: Reported[] = [];
  readonly participants: Participant[] = [];
  readonly embedded: EmbeddedChain;
  readonly info: ChainInfo;
  readonly reader: ChainReader;
  readonly organizer: ChainWriter;
  readonly network: string;
  coordinator!: Coordinator;
  coordinatorLife = new Life();
  /** Called at every report, before anything else happens. */
  onReport: (report: Reported) => void = () => undefined;
  /** How often the coordinator was started. */
  lives = 0;
  readonly #options: WorldOptions;
  #nonce = 0;

  private constructor(
    embedded: EmbeddedChain,
    info: ChainInfo,
    reader: ChainReader,
    organizer: ChainWriter,
    options: WorldOptions,
    time: HandTime,
  ) {
    this.embedded = embedded;
    this.info = info;
    this.reader = reader;
    this.organizer = organizer;
    this.time = time;
    this.#options = options;
    this.network = networkName(info.chainId, info.contracts.proofOfCompute);
  }

  static async open(options: WorldOptions): Promise<World> {
    const time = handTime();
    const names = ['organizer', 'coordinator', 'validator', ...Array.from({ length: maxTrainers }, (_, index) => `trainer ${index}`)];
    const accounts = names.map((name) => ({ address: addressOfKey(accountKey(name)), balanceWei: 1000n * ether }));
    const embedded = await openEmbeddedChain({ path: ':memory:', chainId, genesis: { accounts }, clock: time, followMs: null });
    const endpoint = { transport: inProcessTransport(embedded), pollMs: 1 };
    const [coordinator, validator] = [addressOfKey(accountKey('coordinator')), addressOfKey(accountKey('validator'))];
    const info = await deployContracts({ ...endpoint, privateKey: accountKey('organizer'), coordinator, validator });
    const reader = await connectChain({ ...endpoint, info });
    const organizer = await connectAccount({ ...endpoint, info, privateKey: accountKey('organizer') });
    const world = new World(embedded, info, reader, organizer, options, time);
    await world.startCoordinator();
    const liars = options.liars ?? [];
    await Promise.all([
      ...Array.from({ length: options.trainers }, (_, index) => world.#join(`trainer ${index}`, 'trainer', liars.includes(index))),
      ...(options.validator === false ? [] : [world.#join('validator', 'validator', false)]),
    ]);
    world.participants.sort((a, b) => (a.name < b.name ? -1 : 1));
    return world;
  }

  async close(): Promise<void> {
    this.coordinatorLife.die();
    for (const { life } of this.participants) life.die();
    await this.embedded.close();
  }

  get trainers(): Participant[] {
    return this.participants.filter(({ role }) => role === 'trainer');
  }

  writer(name: string): Promise<ChainWriter> {
    return connectAccount({ transport: inProcessTransport(this.embedded), pollMs: 1, info: this.info, privateKey: accountKey(name) });
  }

  /** Starts the coordinator from its event log; an earlier one is killed. */
  async startCoordinator(death: Death | null = null): Promise<void> {
    this.coordinatorLife.die();
    const life = new Life(death);
    const own = { chain: await this.writer('coordinator'), blobs: this.blobs as BlobStore, log: this.log };
    const { chain, blobs, log } = this.#options.coordinatorPorts?.(own) ?? own;
    this.lives++;
    this.coordinatorLife = life;
    this.coordinator = new Coordinator({
      chain: life.through(chain),
      blobs: life.through(blobs),
      log: life.through(log),
      executor: await sharedExecutor(),
      verify: verifySignature,
      scheduler: this.time.scheduler(life),
      report: (event, fields) => this.#report('coordinator', life, event, fields),
      signal: new AbortController().signal,
      presenceTimeoutMs,
      pollMs: 100,
      organizers: [],
      grantWei: 0n,
      uploadBytesPerHour: 2 ** 40,
    });
  }

  async #join(name: string, role: 'trainer' | 'validator', dishonest: boolean): Promise<void> {
    const key = nodeKeyFromSeed(seedOf(`node ${name}`));
    const own = await this.writer(name);
    const caps = packCapabilities({ hasGPU: false, hasTEE: false, diskGB: 1, bandwidthMbps: 10, computeUnits: 1 });
    await own.send({
      call: 'registerNode',
      node: key.node,
      role: role satisfies NodeRole,
      region: 'test',
      caps,
      slaId: `0x${'0'.repeat(64)}` as Root,
      stakeWei,
    });
    const work = await sharedExecutor();
    const build = (life: Life): Trainer | Validator => {
      const common = {
        link: this.link(key, life),
        chain: life.through(own),
        key,
        executor: work,
        scheduler: this.time.scheduler(life),
        report: (event: string, fields: Readonly<Record<string, unknown>>) => this.#report(name, life, event, fields),
        signal: new AbortController().signal,
        pollMs: 100,
      };
      return role === 'trainer' ? new Trainer({ ...common, dishonest }) : new Validator(common);
    };
    const life = new Life();
    const participant: Participant = {
      name,
      key,
      role,
      present: true,
      atWork: true,
      ended: null,
      worker: build(life),
      life,
      vanish: () => {
        participant.present = false;
        participant.life.die();
      },
      restart: (death) => {
        participant.life.die();
        participant.life = new Life(death ?? null);
        participant.worker = build(participant.life);
      },
    };
    this.participants.push(participant);
  }

  #report(by: string, life: Life, event: string, fields: Readonly<Record<string, unknown>>): void {
    if (life.dead) return;
    this.reports.push({ by, event, fields });
    this.onReport({ by, event, fields });
  }

  /** Events reported under `event`. */
  reported(event: string): Reported[] {
    return this.reports.filter((report) => report.event === event);
  }

  /** What `key` signs for this network now. */
  seal(key: NodeKey, kind: string, body: unknown): Uint8Array {
    const nonce = new Uint8Array(16);
    new DataView(nonce.buffer).setUint32(0, ++this.#nonce);
    return sealEnvelope(key, { kind, network: this.network, nonce, issuedAtMs: this.time.now(), body });
  }

  /** A link to whichever coordinator lives now: envelopes are sealed and opened as on the wire. */
  link(key: NodeKey, life: Life): CoordinatorLink {
    const alive = <T>(ask: () => Promise<T>): Promise<T> =>
      life.hold(async () => {
        const { coordinatorLife } = this;
        const gone = coordinatorLife.end.then((): never => {
          throw new MusterError('PEER_UNREACHABLE', 'the coordinator does not answer');
        });
        return await Promise.race([ask(), gone]);
      });
    return {
      blobs: life.through(this.blobs),
      get: (path) =>
        alive(async () => {
          const handler = this.coordinator.publicRoutes()[path];
          if (handler === undefined) throw new MusterError('ROUTE_UNKNOWN', path);
          return await handler({});
        }),
      message: (kind, body) => alive(() => this.deliver(this.seal(key, kind, body))),
    };
  }

  /** Opens an envelope and hands it to the coordinator, as its server does. */
  async deliver(sealed: Uint8Array): Promise<unknown> {
    const routes = this.coordinator.signedRoutes();
    const opened = openEnvelope(sealed, {
      network: this.network,
      kinds: Object.keys(routes),
      verify: verifySignature,
      nowMs: this.time.now(),
      windowMs: 120_000,
    });
    const handler = routes[opened.kind];
    if (handler === undefined) throw new MusterError('INTERNAL', opened.kind);
    return await handler(opened);
  }

  /** Stores the order and submits its job as the organizer. */
  async submit(order: Order, budgetWei = 10n ** 15n, policy: Partial<JobPolicy> = {}): Promise<JobId> {
    await storeOrder(order, this.blobs);
    const { spec } = order;
    const stored = encodeLinked(spec);
    await this.blobs.put(stored.bytes, 'dag-cbor');
    const specCid = digestOf(stored.cid);
    const { block } = await this.organizer.head();
    const modelId = keccakOfWords([specCid, this.organizer.account, block]);
    await this.organizer.send({ call: 'registerModel', modelId, modelCid: digestOf(spec.model), datasetCid: digestOf(spec.dataset) });
    const { rounds, tasks, redundancy } = spec;
    const [coordinator, validator] = [addressOfKey(accountKey('coordinator')), addressOfKey(accountKey('validator'))];
    const receipt = await this.organizer.send({
      call: 'submitJob',
      specCid,
      modelId,
      rounds,
      tasks,
      redundancy,
      coordinator,
      validator,
      budgetWei,
      policy: { ...plainPolicy(tasks), ...policy },
    });
    const submitted = receipt.events.find((event) => event.event === 'JobSubmitted');
    if (submitted === undefined) throw new Error('no JobSubmitted event');
    return submitted.job;
  }

  /** One turn of everybody, then time passes once nothing is under way. */
  async turn(): Promise<void> {
    await Promise.race([this.coordinator.turn().catch((error: unknown) => this.#trouble('coordinator', error)), this.coordinatorLife.end]);
    await Promise.all(this.participants.filter(({ present }) => present).map((participant) => this.#act(participant)));
    await this.idle();
    this.time.advance(250);
    await this.idle();
  }

  #trouble(by: string, error: unknown): void {
    this.reports.push({ by, event: 'turn.failed', fields: { reason: String(error) } });
  }

  async #act(participant: Participant): Promise<void> {
    const { key, role, worker, life } = participant;
    await Promise.race([life.end, this.#work(participant, worker, life, { key, role })]);
  }

  async #work(
    participant: Participant,
    worker: Trainer | Validator,
    life: Life,
    { key, role }: Pick<Participant, 'key' | 'role'>,
  ): Promise<void> {
    try {
      await this.link(key, life)
        .message('hello', { role })
        .catch(() => undefined);
      while (participant.atWork && (await worker.turn()));
    } catch (error) {
      participant.present = false;
      participant.ended = error instanceof MusterError ? error.code : String(error);
    }
  }

  /** Resolves when the coordinator neither asks nor is answered for a few turns of the event loop. */
  async idle(): Promise<void> {
    for (let quiet = 0; quiet < 4;) {
      await new Promise((resolve) => setImmediate(resolve));
      quiet = this.coordinatorLife.dead || this.coordinatorLife.inFlight === 0 ? quiet + 1 : 0;
    }
  }

  async history(): Promise<ChainHistory> {
    const history = new ChainHistory(this.reader);
    await history.sync();
    return history;
  }

  async record(job: JobId): Promise<JobRecord> {
    const record = (await this.history()).jobs.get(job);
    if (record === undefined) throw new Error(`no job ${job} on chain`);
    return record;
  }

  /** Turns until `done`; fails with what was last reported after `limit` turns. */
  async until(done: () => boolean | Promise<boolean>, limit = 600): Promise<void> {
    for (let turns = 0; !(await done()); turns++) {
      if (turns === limit) throw new Error(`nothing came of it: ${JSON.stringify(this.reports.slice(-12), null, 1)}`);
      await this.turn();
    }
  }

  /** Turns until the job has ended on chain. */
  async finish(job: JobId): Promise<JobRecord> {
    await this.until(async () => (await this.reader.job(job))?.status === 'completed');
    await this.turn();
    return await this.record(job);
  }

  /** The job as the coordinator tells it. */
  async shown(job: JobId): Promise<Shown> {
    const handler = this.coordinator.publicRoutes()['jobs/:job'];
    return (await handler?.({ job })) as Shown;
  }

  async audit(job: JobId, instead: { readonly chain?: ChainReader; readonly blobs?: BlobStore } = {}): Promise<AuditResult> {
    return await auditJob({
      chain: instead.chain ?? this.reader,
      blobs: instead.blobs ?? this.blobs,
      executor: await sharedExecutor(),
      verify: verifySignature,
      scheduler: this.time.scheduler(new Life()),
      report: () => undefined,
      job,
    });
  }

  /** Refusals that the coordinator recorded. */
  async refusals(): Promise<{ readonly code: ErrorCode; readonly node: string | null; readonly kind: string | null }[]> {
    const entries = await this.log.read('refusals', 0, 1000);
    return entries.map(({ bytes }) => decodeCanonical(bytes) as { code: ErrorCode; node: string | null; kind: string | null });
  }
}

/** Opens a world, hands it to `use` and closes it, whatever happens. */
export async function inWorld<T>(options: WorldOptions, use: (world: World) => Promise<T>): Promise<T> {
  const world = await World.open(options);
  try {
    return await use(world);
  } finally {
    await world.close();
  }
}

/** What `GET /v1/jobs/<job>` answers. */
export interface Shown {
  readonly state: string;
  readonly round: number;
  readonly phase: string | null;
  readonly model: string | null;
  readonly checkpoint: string | null;
  readonly slashed: readonly string[];
  readonly replaced: readonly string[];
  readonly checkpoints: readonly {
    readonly round: number;
    readonly model: string;
    readonly loss: number;
    readonly accuracy: number | null;
    readonly tasks: number;
  }[];
}
