/**
 * One whole job in memory: coordinator, trainers, validator and chain, in virtual time, with faults drawn from a seed.
 *
 * The coordinator runs the real job machine and the real draw; training is replaced by a known result per task, so that the
 * simulation knows who is right. The same options give the same run. It checks the invariants after every step, replays the
 * record at every crash, and lists what is broken in `violations`. It does not model bandwidth or gas.
 * Long because one class holds one world: each section is a role.
 */
import { RandomStream } from '@muster/data';
import { cidOfRoot, type CidText, commitmentOf, digestOf, type JobSpec, keccakOfWords, type NodeId, type Root } from '@muster/protocol';
import { Agenda } from './agenda.ts';
import { drawAssignment } from './assign.ts';
import { dutiesOf, dutyKey } from './duties.ts';
import { checkInvariants } from './invariants.ts';
import { initialJobState, nextDeadline, stepJob } from './job.ts';
import { evenShare } from './reward.ts';
import { type CallResult, commitsClosed, SimulatedChain, type SimulatedChainEntry, simulatedHolder, waits } from './simulated-chain.ts';
import {
  anything,
  noFaults,
  simulatedJob as job,
  simulatedNode,
  simulatedSpec,
  type SimulatedFaults,
  type SimulatedStep,
  type SimulatedTask,
  type SimulationOptions,
  type SimulationResult,
} from './simulation.ts';
import type { Duty, JobEvent, JobState, OpenedResult } from './state.ts';

interface Trainer {
  readonly node: NodeId;
  readonly liar: boolean;
  readonly hung: boolean;
  readonly joinsAt: number;
  readonly computeMs: number;
  /** Stops for good at this time. */
  readonly diesAt: number;
  /** Stops at the next commitment for so long; used up once. */
  crashMs: number | null;
  readonly crashAfterCommit: boolean;
  downUntil: number;
  busyUntil: number;
  readonly readyAt: Map<string, number>;
  readonly shown: Set<string>;
}

interface RoundBase {
  readonly parameters: CidText;
  readonly slotStates: readonly (CidText | null)[];
}

/** Runs one job to its end, or to `limitMs`. */
export function simulateJob(options: SimulationOptions): SimulationResult {
  return new Simulation(options).run();
}

const pollMs = 250;
const retryMs = 500;
const presenceTimeoutMs = 2500;

class Simulation {
  readonly #options: SimulationOptions;
  readonly #spec: JobSpec;
  readonly #faults: SimulatedFaults;
  readonly #random: RandomStream;
  readonly #chain: SimulatedChain;
  readonly #trainers: readonly Trainer[];
  readonly #agenda = new Agenda();
  readonly #bases = new Map<number, RoundBase>();
  readonly #steps: SimulatedStep[] = [];
  readonly #tasks: SimulatedTask[] = [];
  readonly #violations: string[] = [];
  readonly #seenLies = new Set<string>();
  readonly #honestRoots = new Map<string, Root>();
  readonly #presence = new Map<NodeId, number>();
  readonly #tried = new Map<string, number>();
  readonly #budgetWei: bigint;
  #state: JobState;
  #now = 0;
  #read = 0;
  #coordinatorDownUntil = 0;
  /** Nobody listens: from a crash until the record is restored. */
  #away = false;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#spec = { ...simulatedSpec, ...options.spec };
    this.#faults = { ...noFaults, ...options.faults };
    this.#random = new RandomStream(options.seed, 'simulate');
    this.#budgetWei = options.budgetWei ?? 1_000_003n;
    const nodes = Array.from({ length: options.nodes }, (_, index) => simulatedNode(index));
    this.#trainers = nodes.map((node, index) => this.#trainer(node, index));
    this.#chain = new SimulatedChain({
      job,
      spec: this.#spec,
      nodes,
      budgetWei: this.#budgetWei,
      stakeWei: 1000n,
      verdictSecret: anything(options.seed),
    });
    this.#state = initialJobState(job, this.#spec);
  }

  /** Liars are the first nodes, killed, crashing and late ones the next, hung ones the last. */
  #trainer(node: NodeId, index: number): Trainer {
    const { liars, killed, crashing, late, hung } = this.#faults;
    const honest = index - liars;
    const dies = honest >= 0 && honest < killed;
    const crashes = !dies && honest >= killed && honest < killed + crashing;
    const isLate = !dies && !crashes && honest >= killed + crashing && honest < killed + crashing + late;
    const diesAtCommit = dies && this.#random.below(2) === 0;
    return {
      node,
      liar: index < liars,
      hung: index >= this.#options.nodes - hung,
      joinsAt: isLate ? 3000 + this.#random.below(15_000) : this.#random.below(400),
      computeMs: 100 + this.#random.below(900),
      diesAt: dies && !diesAtCommit ? this.#random.below(12_000) : Number.POSITIVE_INFINITY,
      crashMs: diesAtCommit ? Number.POSITIVE_INFINITY : crashes ? 500 + this.#random.below(6000) : null,
      crashAfterCommit: this.#random.below(2) === 0,
      downUntil: 0,
      busyUntil: 0,
      readyAt: new Map(),
      shown: new Set(),
    };
  }

  run(): SimulationResult {
    const { coordinatorCrashes, pauses, cancelAtMs } = this.#faults;
    this.#every(pollMs, () => this.#coordinate());
    this.#every(pollMs + 50, () => this.#validate());
    for (const trainer of this.#trainers) {
      this.#every(pollMs + 30, () => this.#train(trainer));
      this.#every(700, () => this.#sayHello(trainer));
    }
    for (let crash = 0; crash < coordinatorCrashes; crash++)
      this.#agenda.add(500 + this.#random.below(20_000), () => this.#crashCoordinator());
    for (let pause = 0; pause < pauses; pause++) this.#agenda.add(1000 + this.#random.below(20_000), () => this.#pause());
    if (cancelAtMs !== null) this.#agenda.add(cancelAtMs, () => this.#chain.cancelJob(this.#now));
    const limit = this.#options.limitMs ?? 20 * 60_000;
    let next = this.#agenda.next();
    while (next !== undefined && next.at <= limit && !this.#over() && this.#violations.length === 0) {
      this.#now = next.at;
      next.action();
      next = this.#agenda.next();
    }
    this.#checkEnd();
    const { rounds, tasks, redundancy } = this.#spec;
    return {
      state: this.#state,
      ended: this.#over(),
      virtualMs: this.#now,
      steps: this.#steps,
      chain: this.#chain.log,
      tasks: this.#tasks,
      finalized: this.#chain.finalized,
      paid: this.#chain.paid,
      convicted: this.#chain.convicted,
      liars: this.#trainers.filter(({ liar }) => liar).map(({ node }) => node),
      seenLies: [...this.#seenLies],
      refundWei: this.#chain.ownerCreditWei,
      reserveWei: this.#chain.reserveWei,
      rewardWei: evenShare({ budgetWei: this.#budgetWei, rounds, tasks, redundancy }),
      violations: this.#violations,
    };
  }

  // --- time and network -------------------------------------------------------------------------------------------------

  #every(periodMs: number, action: () => void): void {
    const again = (): void => {
      action();
      this.#agenda.add(this.#now + periodMs + this.#random.below(60), again);
    };
    this.#agenda.add(this.#random.below(periodMs), again);
  }

  /** Delivers `message` late, twice or never. */
  #send(message: () => void): void {
    const { dropPercent, duplicatePercent, maxDelayMs } = this.#faults;
    const copies = this.#random.below(100) < duplicatePercent ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      if (this.#random.below(100) >= dropPercent) this.#agenda.add(this.#now + 1 + this.#random.below(maxDelayMs), message);
    }
  }

  /** Whether `label` may be tried again now. */
  #mayTry(label: string): boolean {
    if (this.#now < (this.#tried.get(label) ?? Number.NEGATIVE_INFINITY) + retryMs) return false;
    this.#tried.set(label, this.#now);
    return true;
  }

  #over(): boolean {
    return this.#state.status === 'completed' || this.#state.status === 'stopped';
  }

  #pause(): void {
    if (this.#chain.pauseJob(this.#now) !== null) return;
    this.#agenda.add(this.#now + 500 + this.#random.below(20_000), () => this.#chain.resumeJob(this.#now));
  }

  // --- coordinator ------------------------------------------------------------------------------------------------------

  #coordinate(): void {
    if (this.#now < this.#coordinatorDownUntil) return;
    if (this.#away) this.#return();
    this.#followChain();
    for (const [node, seen] of this.#presence) {
      if (this.#now - seen <= presenceTimeoutMs) continue;
      this.#presence.delete(node);
      this.#apply({ type: 'nodeAbsent', node });
    }
    const deadline = nextDeadline(this.#state);
    if (deadline !== null && deadline <= this.#now) this.#apply({ type: 'tick' });
    for (const duty of dutiesOf(this.#state)) if (this.#mayTry(dutyKey(duty))) this.#perform(duty);
  }

  #followChain(): void {
    for (; this.#read < this.#chain.log.length; this.#read++) {
      const { event, block } = this.#chain.log[this.#read] as SimulatedChainEntry;
      this.#apply(event, block);
    }
  }

  #apply(event: JobEvent, block = -1): void {
    const before = this.#state;
    const { state, effects } = stepJob(before, event, { now: this.#now });
    if (state === before) {
      if (effects.length > 0) this.#violations.push(`${event.type} changed nothing and made duties`);
      return;
    }
    this.#state = deepFreeze(state);
    this.#steps.push({ at: this.#now, block, event, state });
    for (const sentence of checkInvariants(state)) this.#violations.push(`after ${JSON.stringify(event)}: ${sentence}`);
    if (event.type === 'revealed') this.#noteLie(before, event);
    if (before.round?.phase === 'work' && state.round?.phase === 'aggregate') this.#noteTasks(state);
  }

  #noteLie(before: JobState, event: Extract<JobEvent, { type: 'revealed' }>): void {
    const phase = before.round?.tasks[event.task]?.phase;
    if (event.resultRoot === this.#honestRoot(event.round, event.task) || (phase !== 'reveal' && phase !== 'judge')) return;
    this.#seenLies.add(`${event.round}/${event.task}/${event.slot}/${event.node}`);
  }

  #noteTasks({ round }: JobState): void {
    if (round === null) return;
    for (const [task, state] of round.tasks.entries()) {
      this.#tasks.push({ round: round.round, task, honestRoot: this.#honestRoot(round.round, task), state });
    }
  }

  #crashCoordinator(): void {
    if (this.#away) return;
    this.#coordinatorDownUntil = this.#now + 300 + this.#random.below(this.#faults.coordinatorAwayMs);
    this.#away = true;
    const replayed = this.#steps.reduce(
      (state, { event, at }) => stepJob(state, event, { now: at }).state,
      initialJobState(job, this.#spec),
    );
    if (JSON.stringify(replayed) !== JSON.stringify(this.#state)) this.#violations.push('the replayed state differs');
    if (JSON.stringify(dutiesOf(replayed)) !== JSON.stringify(dutiesOf(this.#state))) this.#violations.push('the replayed duties differ');
    this.#state = deepFreeze(replayed);
    this.#tried.clear();
    // The newest block that left a trace is read again; everybody recorded as present has until the timeout to say so.
    const lastBlock = this.#steps.reduce((last, { block }) => Math.max(last, block), -1);
    const from = this.#chain.log.findIndex(({ block }) => block >= lastBlock);
    this.#read = Math.min(this.#read, from < 0 ? this.#chain.log.length : from);
    this.#presence.clear();
    for (const node of replayed.trainers) this.#presence.set(node, this.#coordinatorDownUntil);
  }

  #return(): void {
    this.#away = false;
    this.#apply({ type: 'coordinatorReturned', awayMs: this.#now - (this.#steps.at(-1)?.at ?? this.#now) });
  }

  #perform(duty: Duty): void {
    const chain = this.#chain;
    switch (duty.duty) {
      case 'prepare':
        return this.#apply({
          type: 'prepared',
          parameters: cidOfRoot(keccakOfWords([this.#spec.seed]), 'dag-cbor'),
          shardSizes: Array.from({ length: this.#spec.tasks }, (_, task) => 10 + task),
        });
      case 'closeNodes':
        return this.#call(() => chain.closeNodes(this.#now, duty.round, duty.nodes));
      case 'drawBeacon': {
        const beacon = chain.beacon(this.#now, duty.round);
        return beacon === null ? undefined : this.#apply({ type: 'beaconDrawn', round: duty.round, beacon });
      }
      case 'assign':
        return this.#assign(duty);
      case 'reassign':
        return this.#call(() => chain.reassign(this.#now, duty.round, duty.task, duty.slot, duty.node));
      case 'closeCommits':
        return this.#call(() => chain.closeCommits(this.#now, duty.round, duty.task));
      case 'judge':
      case 'commitBatch':
        // The simulated chain settles directly.
        return undefined;
      case 'convict':
        return this.#call(() => chain.convict(this.#now, duty.round, duty.task, duty.slot, duty.node, duty.verdict.evidence));
      case 'aggregate':
        return this.#aggregate(duty);
      case 'finalize':
        return this.#call(() => chain.finalize(this.#now, duty.round, duty.checkpoint, duty.accepted));
      case 'addCheckpoint':
        return this.#call(() => chain.addCheckpoint(this.#now, duty.round));
      case 'publishModel':
        return this.#call(() => chain.publishModel(this.#now));
      case 'completeJob':
        return this.#call(() => chain.completeJob(this.#now));
      default:
        return duty satisfies never;
    }
  }

  #call(action: () => CallResult): void {
    this.#send(() => {
      action();
    });
  }

  #assign(duty: Extract<Duty, { duty: 'assign' }>): void {
    const { base, shardSizes, slotStates } = this.#state;
    const beacon = this.#chain.beacon(this.#now, duty.round);
    if (base === null || beacon === null) return;
    const slots = shardSizes.map((sampleCount, task) => ({ sampleCount, slotState: slotStates[task] ?? null }));
    const { nodes, round } = duty;
    const assignment = drawAssignment({ job, round, nodes, beacon, base: base.parameters, redundancy: this.#spec.redundancy, slots });
    const deadline = Math.ceil((this.#now + this.#spec.commitTimeoutMs) / 1000);
    this.#bases.set(round, { parameters: base.parameters, slotStates });
    const cid = cidOfRoot(keccakOfWords([round, beacon]), 'dag-cbor');
    const tasks = assignment.tasks.map((task) => task.nodes);
    this.#call(() => this.#chain.assign(this.#now, round, cid, tasks, deadline));
  }

  #aggregate({ round, accepted }: Extract<Duty, { duty: 'aggregate' }>): void {
    const { base } = this.#state;
    if (base === null) return;
    const words = accepted.flatMap(({ task, weight, resultRoot }) => [task, weight, resultRoot]);
    const parameters =
      accepted.length === 0 ? base.parameters : cidOfRoot(keccakOfWords([digestOf(base.parameters), ...words]), 'dag-cbor');
    const checkpoint = cidOfRoot(keccakOfWords([round, digestOf(parameters)]), 'dag-cbor');
    this.#apply({ type: 'aggregated', round, checkpoint, parameters });
  }

  // --- trainers ---------------------------------------------------------------------------------------------------------

  #honestRoot(round: number, task: number): Root {
    const label = `${round}/${task}`;
    const known = this.#honestRoots.get(label);
    const base = this.#bases.get(round);
    if (known !== undefined) return known;
    const carried = base?.slotStates[task] ?? null;
    const root = keccakOfWords([base === undefined ? 0 : digestOf(base.parameters), carried === null ? 0 : digestOf(carried), round, task]);
    if (base !== undefined) this.#honestRoots.set(label, root);
    return root;
  }

  #resultOf({ node, liar }: Trainer, round: number, task: number): Root {
    const honest = this.#honestRoot(round, task);
    return liar ? keccakOfWords([honest, this.#faults.collude ? 0 : node]) : honest;
  }

  #up(trainer: Trainer): boolean {
    return this.#now >= trainer.joinsAt && this.#now >= trainer.downUntil && this.#now < trainer.diesAt;
  }

  #sayHello(trainer: Trainer): void {
    if (!this.#up(trainer) || !this.#chain.active(trainer.node)) return;
    this.#send(() => {
      if (this.#away || !this.#chain.active(trainer.node)) return;
      const known = this.#presence.has(trainer.node);
      this.#presence.set(trainer.node, this.#now);
      if (!known) this.#apply({ type: 'nodePresent', node: trainer.node });
    });
  }

  #train(trainer: Trainer): void {
    const round = this.#chain.nextRound;
    if (!this.#up(trainer) || trainer.hung || !this.#chain.active(trainer.node)) return;
    for (let task = 0; task < this.#spec.tasks; task++) {
      const state = this.#chain.task(round, task);
      if (state === null) return;
      for (let slot = 0; slot < this.#spec.redundancy; slot++) {
        const entry = state.slots[slot];
        if (entry === undefined) continue;
        if (waits(entry) && state.holders[slot] === trainer.node) this.#commit(trainer, round, task, slot);
        else if (entry.node === trainer.node && entry.status === 'committed' && commitsClosed(state))
          this.#reveal(trainer, round, task, slot);
        if (!this.#up(trainer)) return;
      }
    }
  }

  /** Whether `trainer` stops here. */
  #crashes(trainer: Trainer, afterCommit: boolean): boolean {
    if (trainer.crashMs === null || trainer.crashAfterCommit !== afterCommit) return false;
    trainer.downUntil = this.#now + trainer.crashMs;
    trainer.crashMs = null;
    trainer.readyAt.clear();
    return true;
  }

  #commit(trainer: Trainer, round: number, task: number, slot: number): void {
    const { node } = trainer;
    const label = `${node}/${round}/${task}/${slot}`;
    const ready = trainer.readyAt.get(label);
    if (ready === undefined) {
      trainer.busyUntil = Math.max(this.#now, trainer.busyUntil) + trainer.computeMs;
      trainer.readyAt.set(label, trainer.busyUntil);
      return;
    }
    if (this.#now < ready || this.#crashes(trainer, false) || !this.#mayTry(`commit/${label}`)) return;
    const root = this.#resultOf(trainer, round, task);
    const commitment = commitmentOf(job, round, task, slot, simulatedHolder(node), saltOf(node, round, task, slot), root);
    this.#call(() => this.#chain.commit(this.#now, round, task, slot, node, commitment));
  }

  #reveal(trainer: Trainer, round: number, task: number, slot: number): void {
    const { node } = trainer;
    const label = `${node}/${round}/${task}/${slot}`;
    if (this.#crashes(trainer, true)) return;
    const root = this.#resultOf(trainer, round, task);
    if (!trainer.shown.has(label) && !(trainer.liar && this.#faults.withhold)) {
      if (this.#mayTry(`show/${label}`)) {
        this.#send(() => {
          if (this.#show(round, task, slot, node, root)) this.#send(() => trainer.shown.add(label));
        });
      }
      return;
    }
    if (!this.#mayTry(`reveal/${label}`)) return;
    this.#call(() => this.#chain.reveal(this.#now, round, task, slot, node, saltOf(node, round, task, slot), root));
  }

  /** The coordinator takes an opening, as `POST result` does; whether it answers for good. */
  #show(round: number, task: number, slot: number, node: NodeId, resultRoot: Root): boolean {
    if (this.#away) return false;
    this.#followChain();
    const current = this.#state.round?.round === round ? this.#state.round.tasks[task] : undefined;
    if (current === undefined || current.phase === 'accepted' || current.phase === 'failed') return true;
    const held = current.slots[slot];
    if (current.phase === 'commit' || current.phase === 'closing' || held?.node !== node || held.phase === 'working') return false;
    if (held.opened === null) this.#apply({ type: 'opened', round, task, slot, node, result: openedOf(resultRoot) });
    return true;
  }

  // --- validator --------------------------------------------------------------------------------------------------------

  #validate(): void {
    const { round } = this.#state;
    if (this.#faults.validator === 'silent' || round === null || this.#away) return;
    const next = round.tasks.findIndex((task, index) => {
      return task.phase === 'judge' && task.verdict === null && this.#mayTry(`verdict/${round.round}/${index}`);
    });
    if (next < 0) return;
    const root = this.#honestRoot(round.round, next);
    const evidence = this.#chain.evidence(round.round, next, root);
    this.#send(() => {
      if (this.#away) return;
      this.#followChain();
      const { outcome, resultCid } = openedOf(root);
      this.#apply({
        type: 'verdict',
        round: round.round,
        task: next,
        verdict: { resultRoot: root, verdictCid: resultCid, evidence, outcome },
      });
    });
  }

  // --- checks -----------------------------------------------------------------------------------------------------------

  #checkEnd(): void {
    const chain = this.#chain;
    const broken = this.#violations;
    const { rounds, tasks, redundancy } = this.#spec;
    const reward = evenShare({ budgetWei: this.#budgetWei, rounds, tasks, redundancy });
    const liars = new Set(this.#trainers.filter(({ liar }) => liar).map(({ node }) => node));
    for (const node of chain.convicted) if (!liars.has(node)) broken.push(`honest node ${node} was convicted`);
    if (chain.totalWei() !== chain.initialWei) broken.push(`there are ${chain.totalWei()} wei, there were ${chain.initialWei}`);
    const over = chain.status === 'completed' || chain.status === 'cancelled';
    const paidWei = reward * BigInt(chain.paid.length);
    if (over && paidWei + chain.ownerCreditWei + chain.reserveWei !== this.#budgetWei) broken.push('rewards and refund are not the budget');
    for (const { round, task, slot, node } of chain.paid) {
      const accepted = chain.finalized[round]?.accepted.find((entry) => entry.task === task)?.resultRoot;
      const revealed = chain.log.some(
        ({ event }) =>
          event.type === 'revealed' &&
          event.round === round &&
          event.task === task &&
          event.slot === slot &&
          event.node === node &&
          event.resultRoot === accepted,
      );
      if (!revealed) broken.push(`slot ${slot} of task ${task} in round ${round} was paid without an accepted reveal`);
    }
    for (const [index, entry] of chain.log.entries()) {
      if (entry.at < (chain.log[index - 1]?.at ?? 0)) broken.push('the chain log goes back in time');
    }
  }
}

const saltOf = (node: NodeId, round: number, task: number, slot: number): Root => keccakOfWords([node, round, task, slot]);

function openedOf(resultRoot: Root): OpenedResult {
  const linked = (label: number): CidText => cidOfRoot(keccakOfWords([resultRoot, label]), 'dag-cbor');
  return { resultRoot, resultCid: linked(1), outcome: { kind: 'update', update: linked(2), slotState: linked(3) } };
}

/** `value` with everything in it frozen; parts that are frozen already are left alone. */
export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const part of Object.values(value)) deepFreeze(part);
  }
  return value;
}
