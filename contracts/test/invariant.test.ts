/**
 * Random histories: many actors make many calls, mostly sensible ones, and after each of them the books must balance.
 */
import type { ChainCall, ChainEvent, ChainJob, ChainWriter } from '@muster/ports';
import { type Address, assignmentLeaf, commitmentOf, type JobId, MusterError, type NodeId, type Root } from '@muster/protocol';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { assignmentTree, nodeOf, rootOf, startTestChain, type TestChain, zeroRoot } from './harness.ts';

let chain: TestChain;
beforeAll(async () => {
  chain = await startTestChain();
});
afterAll(() => chain.close());

const ACTORS = 6;
const NODES_PER_ACTOR = 2;
const STAKE = 10n ** 18n;
const shape = { rounds: 2, tasks: 2, redundancy: 3 };
const results = [rootOf('result a'), rootOf('result b')] as const;

/** One random choice: which kind of call, by whom, and numbers to fill it in with. */
interface Choice {
  readonly kind: number;
  readonly actor: number;
  readonly job: number;
  readonly task: number;
  readonly slot: number;
  readonly number: number;
}

const choice: fc.Arbitrary<Choice> = fc.record({
  kind: fc.nat(999),
  actor: fc.nat(ACTORS - 1),
  job: fc.nat(1),
  task: fc.nat(shape.tasks - 1),
  slot: fc.nat(shape.redundancy - 1),
  number: fc.nat(999),
});

/** Everything a history has done, seen from outside. */
class World {
  readonly actors: readonly ChainWriter[];
  readonly jobs: JobId[] = [];
  readonly events: ChainEvent[] = [];
  readonly nodes: NodeId[] = [];
  readonly accepted = new Map<string, number>();
  private readonly evidences = new Map<string, `0x${string}`>();
  private readonly totalWei: bigint;

  private constructor(actors: readonly ChainWriter[], totalWei: bigint) {
    this.actors = actors;
    this.totalWei = totalWei;
  }

  static async start(): Promise<World> {
    const actors = await Promise.all(Array.from({ length: 12 }, (_, index) => chain.actor(index)));
    return new World(actors, await allMoney(actors));
  }

  actor(index: number): ChainWriter {
    const actor = this.actors[index + 1];
    if (actor === undefined) throw new Error(`no actor ${index}`);
    return actor;
  }

  /** Slot → node of the assignment: tasks share nodes, but no task has a node twice. */
  private seat(task: number, slot: number): { node: NodeId; operator: ChainWriter } {
    const index = (task + slot * NODES_PER_ACTOR) % (ACTORS * NODES_PER_ACTOR);
    return { node: nodeOf(`invariant ${index}`), operator: this.actor(index % ACTORS) };
  }

  private leaves(job: JobId, round: number): Root[] {
    const { tasks, redundancy } = shape;
    return Array.from({ length: tasks * redundancy }, (_, index) => {
      const [task, slot] = [Math.floor(index / redundancy), index % redundancy];
      return assignmentLeaf(job, round, task, slot, this.seat(task, slot).node);
    });
  }

  /** The call that `choice` stands for, in a job whose state is `state`. */
  async callOf(choice: Choice, state: ChainJob | null): Promise<{ by: ChainWriter; call: ChainCall }> {
    const any = this.actor(choice.actor);
    const { job } = state ?? { job: rootOf('none') as string as JobId };
    const round = choice.number % 20 === 0 ? choice.number % 3 : (state?.nextRound ?? 0);
    const slotId = { job, round, task: choice.task, slot: choice.slot };
    const { node, operator } = this.seat(choice.task, choice.slot);
    const by = choice.number % 15 === 0 ? any : operator;
    const coordinator = choice.number % 15 === 0 ? any : this.actor(1);
    // Two in three are honest; the others claim the other root.
    const resultRoot = results[(choice.slot + choice.number) % 3 === 0 ? 1 : 0];
    const salt = rootOf(`salt ${round} ${choice.task} ${choice.slot}`);
    const kind = choice.kind % 100;
    if (kind < 5) {
      const stakeWei = choice.number % 10 === 0 ? 0n : STAKE + BigInt(choice.number);
      return { by, call: { call: 'registerNode', node, role: 'trainer', region: '', caps: zeroRoot, slaId: zeroRoot, stakeWei } };
    }
    if (kind < 9) return { by: coordinator, call: { call: 'closeNodes', job, round, nodeSetRoot: zeroRoot, nodeCount: 12 } };
    if (kind < 15) {
      const assignmentRoot = assignmentTree(this.leaves(job, round)).root;
      return { by: coordinator, call: { call: 'assign', job, round, assignmentRoot, assignmentCid: zeroRoot, commitDeadline: 0 } };
    }
    if (kind < 42) {
      const commitment = commitmentOf(job, round, choice.task, choice.slot, node, salt, resultRoot);
      const proof = assignmentTree(this.leaves(job, round)).proof(choice.task * shape.redundancy + choice.slot);
      return { by, call: { call: 'commit', ...slotId, node, commitment, proof } };
    }
    if (kind < 70) {
      const digests = { lossDigest: zeroRoot, gradientDigest: zeroRoot, weightsDigest: zeroRoot };
      const proof = { step: 1, timestamp: 1, signature: `0x${'00'.repeat(64)}`, ...digests } as const;
      const committed = this.events.findLast((event) => event.event === 'Committed' && sameSlot(event, slotId));
      const root = results.find(
        (candidate) =>
          committed?.event === 'Committed' &&
          commitmentOf(job, round, choice.task, choice.slot, node, salt, candidate) === committed.commitment,
      );
      return { by, call: { call: 'reveal', ...slotId, node, salt, resultRoot: root ?? resultRoot, resultCid: zeroRoot, proof } };
    }
    if (kind < 75) return { by: coordinator, call: { call: 'closeCommits', job, round, task: choice.task } };
    if (kind < 80) {
      const evidence = await this.evidence(job, round, choice.task, results[choice.number % 7 === 0 ? 1 : 0]);
      return { by: any, call: { call: 'convict', ...slotId, node, verdictCid: zeroRoot, evidence } };
    }
    if (kind < 88) {
      const accepted = [];
      for (let task = 0; task < shape.tasks; task++) {
        if ((choice.number >> task) % 4 === 0) continue;
        const root = results[(choice.number >> (task + 3)) % 5 === 0 ? 1 : 0];
        const evidence = choice.number % 3 === 0 ? await this.evidence(job, round, task, root) : '0x';
        accepted.push({ task, resultRoot: root, evidence } as const);
      }
      return { by: coordinator, call: { call: 'finalize', job, round, checkpointCid: zeroRoot, accepted } };
    }
    if (kind < 90) return { by: coordinator, call: { call: 'reassign', ...slotId, node: nodeOf(`invariant ${choice.number % 12}`) } };
    if (kind < 96) return { by: any, call: { call: 'withdraw' } };
    if (kind < 97) return { by: coordinator, call: { call: 'pauseJob', job } };
    if (kind < 98) return { by: coordinator, call: { call: 'resumeJob', job } };
    if (kind < 99) return { by: coordinator, call: { call: 'completeJob', job } };
    return { by: choice.number % 4 === 0 ? this.actor(0) : any, call: { call: 'cancelJob', job } };
  }

  /** `choice` turned to what moves the job on, as far as one can see from its events. */
  private forward(choice: Choice, { job, nextRound, status }: ChainJob): Choice {
    const ofRound = this.events.filter((event) => 'job' in event && event.job === job && 'round' in event && event.round === nextRound);
    const kinds = { close: 5, assign: 9, commit: 15, reveal: 42, closeCommits: 70, convict: 75, finalize: 80, resume: 97, complete: 98 };
    const honest = { ...choice, number: 3 * choice.number + 1 };
    const to = (kind: keyof typeof kinds, place: { task: number; slot: number } = choice): Choice => {
      // Numbers that neither `% 15` nor `% 20` turns into a wrong caller or round, and one slot in four that lies.
      const number = 60 * choice.number + (choice.number % 4 === 0 ? 33 : 7) - (place.slot % 3);
      return { ...honest, kind: kinds[kind], task: place.task, slot: place.slot, number };
    };
    if (status === 'paused') return to('resume');
    if (nextRound === shape.rounds) return to('complete');
    if (!ofRound.some((event) => event.event === 'NodesClosed')) return to('close');
    if (!ofRound.some((event) => event.event === 'RoundAssigned')) return to('assign');
    for (let task = 0; task < shape.tasks; task++) {
      const closed = ofRound.some((event) => event.event === 'CommitsClosed' && event.task === task);
      for (let slot = 0; slot < shape.redundancy; slot++) {
        const place = { job, round: nextRound, task, slot };
        const committed = ofRound.some((event) => event.event === 'Committed' && sameSlot(event, place));
        const revealed = ofRound.some((event) => event.event === 'Revealed' && sameSlot(event, place));
        if (!closed && !committed) return to(choice.number % 9 === 0 ? 'closeCommits' : 'commit', place);
        if (closed && committed && !revealed) return to('reveal', place);
      }
    }
    const cheats = ofRound.filter((event) => event.event === 'Revealed' && event.resultRoot === results[1]);
    const cheat = cheats[choice.kind % Math.max(cheats.length, 1)];
    return cheat?.event === 'Revealed' && choice.number % 2 === 0 ? to('convict', cheat) : to('finalize');
  }

  /** The validator's word; made once, since signing costs more than the calls. */
  private async evidence(job: JobId, round: number, task: number, resultRoot: Root): Promise<`0x${string}`> {
    const key = `${job} ${round} ${task} ${resultRoot}`;
    const known = this.evidences.get(key) ?? (await this.actor(2).signVerdict({ job, round, task, resultRoot, verdictCid: zeroRoot }));
    this.evidences.set(key, known);
    return known;
  }

  async submit(index: number): Promise<void> {
    const [coordinator, validator] = [this.actor(1).account, this.actor(2).account];
    const terms = { specCid: rootOf(`spec ${index}`), modelId: zeroRoot, coordinator, validator, ...shape };
    const { events } = await this.actor(0).send({ call: 'submitJob', ...terms, budgetWei: 10n ** 18n + BigInt(index * 7 + 5) });
    for (const event of events) {
      this.events.push(event);
      if (event.event === 'JobSubmitted') this.jobs.push(event.job);
    }
  }

  /** Makes the call; false where a contract refused it, which changes nothing. Anything else that goes wrong is thrown. */
  async play(choice: Choice): Promise<boolean> {
    const id = this.jobs[choice.job];
    const state = id === undefined ? null : await chain.reader.job(id);
    const { by, call } = await this.callOf(choice.kind < 600 && state !== null ? this.forward(choice, state) : choice, state);
    try {
      const { events } = await by.send(call);
      this.events.push(...events);
      this.accepted.set(call.call, (this.accepted.get(call.call) ?? 0) + 1);
      for (const event of events) if (event.event === 'NodeRegistered') this.nodes.push(event.node);
      return true;
    } catch (error) {
      if (!(error instanceof MusterError) || error.code !== 'CHAIN_REVERTED') throw error;
      // Every refusal is one of the contracts' own errors, never a panic such as an overflow.
      expect(['Unknown', 'Panic', 'Error']).not.toContain(error.details['error']);
      return false;
    }
  }

  /** Money and history as they must be after every call. */
  async check(): Promise<void> {
    const { nodeCertRegistry, jobManager, proofOfCompute } = chain.info.contracts;
    const nodes = await Promise.all(this.nodes.map((node) => chain.reader.node(node)));
    let stakes = 0n;
    for (const node of nodes) {
      expect(node?.stakeWei).toBeGreaterThanOrEqual(0n);
      stakes += node?.stakeWei ?? 0n;
    }
    expect(await chain.reader.balance(nodeCertRegistry)).toBe(stakes);

    let owed = 0n;
    for (const actor of this.actors) owed += await chain.reader.credit(actor.account);
    for (const id of this.jobs) {
      const job = await chain.reader.job(id);
      if (job === null) throw new Error('the job is gone');
      expect(job.paidWei).toBeLessThanOrEqual(job.budgetWei);
      const rewards = this.events.filter((event) => event.event === 'RewardCredited' && event.job === id);
      expect(job.paidWei).toBe(BigInt(rewards.length) * (job.budgetWei / BigInt(shape.rounds * shape.tasks * shape.redundancy)));
      if (job.status === 'running' || job.status === 'paused') owed += job.budgetWei - job.paidWei;
    }
    expect(await chain.reader.balance(jobManager)).toBe(owed);
    expect(await chain.reader.balance(proofOfCompute)).toBe(0n);
    expect(await allMoney(this.actors)).toBe(this.totalWei);
    this.checkHistory();
  }

  /** Each reward belongs to one slot, which had revealed the accepted root and was not convicted by then. */
  private checkHistory(): void {
    const revealed = new Map<string, { readonly node: NodeId; readonly root: Root }>();
    const convicted = new Set<string>();
    const paid = new Map<string, ChainEvent & { event: 'RewardCredited' }>();
    for (const event of this.events) {
      if (event.event === 'Revealed') {
        expect(revealed.has(slotKey(event))).toBe(false);
        revealed.set(slotKey(event), { node: event.node, root: event.resultRoot });
      } else if (event.event === 'Convicted') {
        expect(revealed.get(slotKey(event))).toMatchObject({ node: event.node, root: event.revealedRoot });
        expect(event.correctRoot).not.toBe(event.revealedRoot);
        expect(convicted.has(slotKey(event))).toBe(false);
        convicted.add(slotKey(event));
      } else if (event.event === 'RewardCredited') {
        expect(revealed.get(slotKey(event))?.node).toBe(event.node);
        expect(convicted.has(slotKey(event))).toBe(false);
        expect(paid.has(slotKey(event))).toBe(false);
        paid.set(slotKey(event), event);
      } else if (event.event === 'TaskFinalized') {
        const own = [...paid.values()].filter(({ job, round, task }) => job === event.job && round === event.round && task === event.task);
        expect(own.length).toBe(event.paid);
        for (const reward of own) expect(revealed.get(slotKey(reward))?.root).toBe(event.resultRoot);
      }
    }
  }

  /** Ends every job and lets everybody withdraw; then nothing but stakes is left in the contracts. */
  async settle(): Promise<void> {
    for (const job of this.jobs) {
      const state = await chain.reader.job(job);
      if (state?.status === 'running' || state?.status === 'paused') await this.actor(0).send({ call: 'cancelJob', job });
    }
    for (const actor of this.actors) if ((await chain.reader.credit(actor.account)) > 0n) await actor.send({ call: 'withdraw' });
    expect(await chain.reader.balance(chain.info.contracts.jobManager)).toBe(0n);
  }
}

interface SlotFields {
  readonly job: JobId;
  readonly round: number;
  readonly task: number;
  readonly slot: number;
}
const slotKey = ({ job, round, task, slot }: SlotFields): string => `${job} ${round} ${task} ${slot}`;
const sameSlot = (a: SlotFields, b: SlotFields): boolean => slotKey(a) === slotKey(b);

/** All ether of the actors and the contracts; gas is free on the test chain. */
async function allMoney(actors: readonly ChainWriter[]): Promise<bigint> {
  const accounts: Address[] = [...actors.map(({ account }) => account), ...Object.values(chain.info.contracts)];
  const balances = await Promise.all(accounts.map((account) => chain.reader.balance(account)));
  return balances.reduce((sum, balance) => sum + balance, 0n);
}

test('money is conserved and only accepted work is paid, whatever anybody calls', async () => {
  const accepted = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(fc.array(choice, { minLength: 250, maxLength: 250 }), async (choices) => {
      await chain.reverting(async () => {
        const world = await World.start();
        for (const index of [0, 1]) await world.submit(index);
        for (let index = 0; index < ACTORS * NODES_PER_ACTOR; index += 1 + ((choices[0]?.number ?? 0) % 2)) {
          const node = nodeOf(`invariant ${index}`);
          const { events } = await world
            .actor(index % ACTORS)
            .send({ call: 'registerNode', node, role: 'trainer', region: '', caps: zeroRoot, slaId: zeroRoot, stakeWei: STAKE });
          world.events.push(...events);
          world.nodes.push(node);
        }
        for (const next of choices) {
          if (await world.play(next)) await world.check();
        }
        await world.settle();
        await world.check();
        for (const [call, count] of world.accepted) accepted.set(call, (accepted.get(call) ?? 0) + count);
      });
    }),
    { numRuns: 5, endOnFailure: true },
  );
  // The histories went somewhere: each kind of call was accepted at times.
  for (const call of ['commit', 'reveal', 'finalize', 'closeCommits', 'withdraw']) expect(accepted.get(call) ?? 0).toBeGreaterThan(0);
});
