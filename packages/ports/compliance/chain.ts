/**
 * What every chain adapter must do, as one suite: registrations, escrow, a round from node set to reward, refusals, events, order.
 *
 * Runs against any chain with Muster's contracts freshly deployed. It says nothing about durability, finality or speed.
 */
import {
  assignmentLeaf,
  bytesToHex,
  commitmentOf,
  encodeHyperParameters,
  holderOf,
  keccakOfWords,
  MusterError,
  plainPolicy,
  requestedPolicy,
  sha256,
} from '@muster/protocol';
import type { Address, HyperParameters, JobId, NodeId, Root } from '@muster/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AbortSignalLike, ChainEvent, ChainEventName, ChainReader, ChainReceipt, ChainWriter } from '../src/index.ts';

/** 1000 GB, 100 Mbps, 8 units; neither GPU nor TEE, which would need more stake. */
const caps = '0x000000000000000000000000000000000000000000000800000064000003e800' as Root;

const hyperParameters: HyperParameters = {
  version: 1,
  tasks: 3,
  redundancy: 2,
  localSteps: 4,
  batchSize: 8,
  learningRate: 1_000_000,
  optimizer: 'sgd',
  strategy: 'fedavg',
  jobKind: 'federated',
  settlement: 'direct',
  rewardModel: 'perRound',
  gpuSecondsPerTask: 0,
  bonusBasisPoints: 0,
  targetGainBasisPoints: 0,
  roundTimeout: 3600,
  seed: 1n,
};

export interface ChainUnderTest {
  readonly reader: ChainReader;
  /** Writer of account `index`, below 8, which holds at least 100 ether. Account 0 coordinates what is requested. */
  account(index: number): Promise<ChainWriter>;
  /** Resolves once a block after the present head exists. */
  nextBlock(): Promise<void>;
  /** Stake that a registration needs, wei; at most 1 ether. */
  readonly minStakeWei: bigint;
  close(): Promise<void>;
}

/** Declares the suite under `name`. `setup` is called once. */
export function chainCompliance(name: string, setup: () => Promise<ChainUnderTest>): void {
  describe(`${name} keeps the contract of the chain port`, () => {
    let chain: ChainUnderTest;
    beforeAll(async () => {
      chain = await setup();
    }, 120_000);
    afterAll(() => chain?.close());
    const account = (index: number): Promise<ChainWriter> => chain.account(index);

    test('a node is registered with its stake and can be read back', async () => {
      const operator = await account(1);
      const node = nodeOf('read back');
      expect(await chain.reader.node(node)).toBeNull();
      const before = await chain.reader.balance(operator.account);
      const stakeWei = chain.minStakeWei + 5n;
      const { events, block, transaction, gasUsed } = await register(operator, node, stakeWei);
      const found = await chain.reader.node(node);
      expect(found).toMatchObject({ node, operator: operator.account, role: 'trainer', caps, stakeWei, active: true });
      expect(plain(events)).toEqual([{ event: 'NodeRegistered', node, operator: operator.account, role: 'trainer', caps, stakeWei }]);
      expect(events[0]).toMatchObject({ block, transaction, time: found?.registeredAt });
      expect(gasUsed).toBeGreaterThan(21_000);
      expect(before - (await chain.reader.balance(operator.account))).toBeGreaterThanOrEqual(stakeWei);
      await operator.send({ call: 'heartbeat', node });
      expect((await chain.reader.node(node))?.lastHeartbeat).toBeGreaterThanOrEqual(found?.registeredAt ?? Infinity);
    });

    test('what does not exist is null, and credit is zero', async () => {
      expect(await chain.reader.job(root('no job') as string as JobId)).toBeNull();
      expect(await chain.reader.beacon(root('no job') as string as JobId, 0)).toBeNull();
      expect(await chain.reader.credit(addressOf('nobody'))).toBe(0n);
      expect(await chain.reader.balance(addressOf('nobody'))).toBe(0n);
    });

    test('a refusal names the contract’s custom error and its arguments, and changes nothing', async () => {
      const [operator, stranger] = [await account(1), await account(2)];
      const node = nodeOf('refused');
      const { minStakeWei } = chain;
      expect(await refusal(register(operator, node, minStakeWei - 1n))).toMatchObject({
        error: 'StakeTooLow',
        stakeWei: minStakeWei - 1n,
        requiredWei: minStakeWei,
      });
      expect(await chain.reader.node(node)).toBeNull();
      await register(operator, node, minStakeWei);
      expect(await refusal(register(stranger, node, minStakeWei))).toMatchObject({ error: 'NodeAlreadyRegistered', node });
      expect(await refusal(stranger.send({ call: 'heartbeat', node }))).toMatchObject({ error: 'NotOperator', node });
      const job = root('no job') as string as JobId;
      expect(await refusal(stranger.send({ call: 'pauseJob', job }))).toMatchObject({ error: 'JobUnknown' });
      expect((await refusal(stranger.send({ call: 'transfer', to: addressOf('nobody'), amountWei: 1n << 200n })))['error']).toBeTypeOf(
        'string',
      );
    });

    test('a job is submitted with its escrow; only its people may act on it', async () => {
      const play = await Play.start(chain, 'escrow', { rounds: 3, tasks: 2, redundancy: 1, budgetWei: 600n });
      const { owner, coordinator, validator, modelId } = play;
      expect(await chain.reader.job(play.job)).toEqual({
        job: play.job,
        owner: owner.account,
        coordinator: coordinator.account,
        validator: validator.account,
        specCid: root('escrow spec'),
        modelId,
        status: 'running',
        budgetWei: 600n,
        paidWei: 0n,
        reserveWei: 0n,
        policy: plainPolicy(2),
        nextRound: 0,
      });
      expect(plain(play.submitted.events)).toEqual([
        {
          event: 'JobSubmitted',
          job: play.job,
          owner: owner.account,
          specCid: root('escrow spec'),
          modelId,
          rounds: 3,
          tasks: 2,
          redundancy: 1,
          coordinator: coordinator.account,
          validator: validator.account,
          budgetWei: 600n,
        },
        { event: 'JobTermsSet', job: play.job, policy: plainPolicy(2) },
      ]);
      const { job } = play;
      const nodes = { job, round: 0, nodeSetRoot: root('nodes'), nodeCount: 3 };
      expect(await refusal(owner.send({ call: 'closeNodes', ...nodes }))).toMatchObject({ error: 'NotCoordinator', job });
      expect(await refusal(coordinator.send({ call: 'cancelJob', job }))).toMatchObject({ error: 'NotOwner', job });
      expect(names(await owner.send({ call: 'pauseJob', job }))).toEqual(['JobPaused']);
      expect((await chain.reader.job(job))?.status).toBe('paused');
      expect(names(await coordinator.send({ call: 'resumeJob', job }))).toEqual(['JobResumed']);
      const before = await chain.reader.credit(owner.account);
      expect(plain((await owner.send({ call: 'cancelJob', job })).events)).toEqual([
        { event: 'JobCancelled', job, refundWei: 600n, reserveWei: 0n },
      ]);
      expect((await chain.reader.job(job))?.status).toBe('cancelled');
      expect((await chain.reader.credit(owner.account)) - before).toBe(600n);
    });

    test('a requested training opens a job with the policy that follows, which its coordinator specifies once', async () => {
      const requester = await account(3);
      const parameters: HyperParameters = { ...hyperParameters, jobKind: 'dataParallel', rewardModel: 'perBatch', gpuSecondsPerTask: 5 };
      const asked = {
        baseModel: root('base model'),
        dataset: root('requested data'),
        totalRounds: 4,
        minParticipants: 2,
        hyperParameters: encodeHyperParameters(parameters),
      };
      const { events } = await requester.send({ call: 'requestTraining', ...asked, budgetWei: 77n });
      const found = plain(events);
      const requested = found.find(({ event }) => event === 'TrainingRequested');
      const job = requested !== undefined && 'job' in requested ? requested.job : null;
      expect(requested).toEqual({ event: 'TrainingRequested', job, requester: requester.account, budgetWei: 77n, ...asked });
      expect(found.map(({ event }) => event)).toEqual(['JobSubmitted', 'JobTermsSet', 'TrainingRequested']);
      const known = await chain.reader.job(job as JobId);
      const policy = requestedPolicy(parameters, 2);
      expect(known).toMatchObject({
        owner: requester.account,
        modelId: asked.baseModel,
        specCid: `0x${'0'.repeat(64)}`,
        budgetWei: 77n,
        policy,
      });
      const coordinator = await account(0);
      expect(known?.coordinator).toBe(coordinator.account);
      const specify = { call: 'specifyJob', job: job as JobId, specCid: root('specification') } as const;
      expect(await refusal(requester.send(specify))).toMatchObject({ error: 'NotCoordinator' });
      expect(plain((await coordinator.send(specify)).events)).toEqual([{ event: 'JobSpecified', job, specCid: specify.specCid }]);
      expect(await refusal(coordinator.send(specify))).toMatchObject({ error: 'SpecAlreadySet' });
      expect((await chain.reader.job(job as JobId))?.specCid).toBe(specify.specCid);
      const short = { call: 'requestTraining', ...asked, hyperParameters: '0x12', budgetWei: 0n } as const;
      expect(await refusal(requester.send(short))).toMatchObject({ error: 'HyperParametersLengthInvalid' });
    });

    test('a node’s stake is free until its work is under way', async () => {
      const operator = await account(1);
      const node = nodeOf('free');
      expect(await chain.reader.freeStake(node)).toBe(0n);
      await register(operator, node, chain.minStakeWei + 3n);
      expect(await chain.reader.freeStake(node)).toBe(chain.minStakeWei + 3n);
    });

    test('a round of three nodes runs from the node set to paid rewards', async () => {
      const budgetWei = 3_000_000_000_000_001n;
      const play = await Play.start(chain, 'round', { rounds: 1, tasks: 1, redundancy: 3, budgetWei });
      const { job, coordinator, owner, seats } = play;
      expect(await chain.reader.beacon(job, 0)).toBeNull();
      const closed = await play.closeNodes();
      expect(plain(closed.events)).toEqual([{ event: 'NodesClosed', job, round: 0, nodeSetRoot: root('nodes'), nodeCount: 3 }]);
      await chain.nextBlock();
      const beacon = await chain.reader.beacon(job, 0);
      expect(beacon).toMatch(/^0x[0-9a-f]{64}$/);
      const assigned = await play.assign();
      const assignment = { assignmentRoot: play.tree.root, assignmentCid: root('assignment'), commitDeadline: 0 };
      expect(plain(assigned.events)).toEqual([{ event: 'RoundAssigned', job, round: 0, beacon, ...assignment }]);
      expect(await chain.reader.beacon(job, 0)).toBe(beacon);

      const result = root('result');
      for (const slot of seats.keys()) {
        const { events } = await play.commit(slot, result);
        const commitment = commitmentOf(job, 0, 0, slot, holder(seat(seats, slot)), root(`salt ${slot}`), result);
        const committed = { event: 'Committed', job, round: 0, task: 0, slot, node: seat(seats, slot).node, commitment };
        expect(plain(events)).toEqual([committed]);
      }
      for (const slot of seats.keys()) {
        expect(plain((await play.reveal(slot, result)).events)).toEqual([
          {
            event: 'Revealed',
            job,
            round: 0,
            task: 0,
            slot,
            node: seat(seats, slot).node,
            salt: root(`salt ${slot}`),
            resultRoot: result,
            resultCid: root('result cid'),
            proof: trainProof,
          },
        ]);
      }
      const share = budgetWei / 3n;
      const before = await Promise.all(seats.map(({ operator }) => chain.reader.credit(operator.account)));
      const finalized = await play.finalize([{ task: 0, resultRoot: result, evidence: '0x' }]);
      expect(plain(finalized.events)).toEqual([
        ...seats.map(({ node, operator }, slot) => ({
          event: 'RewardCredited',
          job,
          round: 0,
          task: 0,
          slot,
          node,
          operator: operator.account,
          amountWei: share,
        })),
        { event: 'TaskFinalized', job, round: 0, task: 0, resultRoot: result, paid: 3 },
        { event: 'RoundFinalized', job, round: 0, checkpointCid: root('checkpoint'), accuracy: 0 },
      ]);
      const after = await Promise.all(seats.map(({ operator }) => chain.reader.credit(operator.account)));
      expect(after.map((credit, slot) => credit - (before[slot] ?? 0n))).toEqual([share, share, share]);
      expect(await chain.reader.job(job)).toMatchObject({ nextRound: 1, paidWei: 3n * share, status: 'running' });

      const model = await modelSteps(owner, coordinator, play);
      expect(plain(model)).toEqual([
        { event: 'ModelRegistered', modelId: play.modelId, owner: owner.account, modelCid: root('model cid'), datasetCid: root('data') },
        { event: 'CheckpointAdded', modelId: play.modelId, job, round: 0, checkpointCid: root('checkpoint') },
        { event: 'ModelPublished', modelId: play.modelId, checkpointCid: root('checkpoint') },
      ]);
      const refundWei = budgetWei - 3n * share;
      expect(plain((await coordinator.send({ call: 'completeJob', job })).events)).toEqual([{ event: 'JobCompleted', job, refundWei }]);
    });

    test('credit is paid out once', async () => {
      const play = await Play.start(chain, 'withdraw', { rounds: 1, tasks: 1, redundancy: 1, budgetWei: 10n ** 17n });
      await play.wholeRound(root('result'));
      const { operator } = seat(play.seats, 0);
      const amountWei = await chain.reader.credit(operator.account);
      expect(amountWei).toBeGreaterThanOrEqual(10n ** 17n);
      const before = await chain.reader.balance(operator.account);
      const { events } = await operator.send({ call: 'withdraw' });
      expect(plain(events).filter(({ event }) => event === 'Withdrawn')).toEqual([
        { event: 'Withdrawn', operator: operator.account, amountWei },
      ]);
      expect(await chain.reader.credit(operator.account)).toBe(0n);
      const gained = (await chain.reader.balance(operator.account)) - before;
      // Less the price of the transaction, where the chain has one.
      expect(gained).toBeLessThanOrEqual(amountWei);
      expect(gained).toBeGreaterThan(amountWei - 10n ** 16n);
      expect(await refusal(operator.send({ call: 'withdraw' }))).toMatchObject({ error: expect.any(String) as string });
    });

    test('a signed verdict convicts a wrong result and decides the round; nobody else’s does', async () => {
      const play = await Play.start(chain, 'verdict', { rounds: 1, tasks: 1, redundancy: 2, budgetWei: 200n });
      const [right, wrong] = [root('right'), root('wrong')];
      await play.open();
      for (const [slot, result] of [right, wrong].entries()) await play.commit(slot, result);
      for (const [slot, result] of [right, wrong].entries()) await play.reveal(slot, result);
      const { job, coordinator, validator, owner } = play;
      const offence = 'provenCheating';
      const statement = { job, round: 0, task: 0, resultRoot: right, verdictCid: root('verdict'), offence } as const;
      const { node } = seat(play.seats, 1);
      const accused = { job, round: 0, task: 0, slot: 1, node, verdictCid: root('verdict') };
      const forged = await owner.signVerdict(statement);
      expect(await refusal(coordinator.send({ call: 'convict', ...accused, evidence: forged }))).toMatchObject({
        error: 'VerdictSignerWrong',
      });
      expect(await refusal(play.finalize([{ task: 0, resultRoot: right, evidence: '0x' }]))).toMatchObject({ error: 'NoMajority' });
      const evidence = await validator.signVerdict(statement);
      const amountWei = chain.minStakeWei;
      const { events } = await coordinator.send({ call: 'convict', ...accused, evidence });
      expect(plain(events)).toEqual([
        { event: 'Convicted', ...accused, revealedRoot: wrong, correctRoot: right, offence },
        { event: 'NodeSlashed', node, amountWei, active: false, offence },
        {
          event: 'SlashDivided',
          node,
          challenger: coordinator.account,
          challengerWei: (amountWei * 4n) / 10n,
          insuranceWei: (amountWei * 4n) / 10n,
          burnedWei: (amountWei * 2n) / 10n,
        },
        { event: 'InsuranceDeposited', from: chain.reader.info.contracts.nodeCertRegistry, amountWei: (amountWei * 4n) / 10n },
      ]);
      expect(await chain.reader.node(node)).toMatchObject({ active: false, stakeWei: 0n });
      const finalized = await play.finalize([{ task: 0, resultRoot: right, evidence }]);
      expect(names(finalized)).toEqual(['RewardCredited', 'TaskFinalized', 'RoundFinalized']);
    });

    test('a slot is given to another node, and commits close at the deadline', async () => {
      const play = await Play.start(chain, 'reassign', { rounds: 1, tasks: 1, redundancy: 2, budgetWei: 200n });
      const { job, coordinator } = play;
      const { time } = await chain.reader.head();
      await play.open(time);
      const [operator, node] = [await account(6), nodeOf('substitute')];
      await register(operator, node, chain.minStakeWei);
      const { events } = await coordinator.send({ call: 'reassign', job, round: 0, task: 0, slot: 1, node });
      expect(plain(events)).toEqual([{ event: 'SlotReassigned', job, round: 0, task: 0, slot: 1, node }]);
      const [slot, result] = [1, root('result')];
      const commitment = commitmentOf(job, 0, 0, slot, holder({ node, operator }), root('salt'), result);
      expect(await refusal(play.commit(slot, result))).toMatchObject({ error: 'NodeNotInSlot' });
      await operator.send({ call: 'commit', job, round: 0, task: 0, slot, node, commitment, proof: [] });
      const closed = await coordinator.send({ call: 'closeCommits', job, round: 0, task: 0 });
      expect(plain(closed.events)).toEqual([{ event: 'CommitsClosed', job, round: 0, task: 0, commits: 1 }]);
      expect(await refusal(play.commit(0, result))).toMatchObject({ error: 'CommitsAreClosed' });
    });

    test('events are the receipts’ events, in order, in any split of the range', async () => {
      const start = (await chain.reader.head()).block + 1;
      const play = await Play.start(chain, 'events', { rounds: 1, tasks: 1, redundancy: 1, budgetWei: 100n });
      const receipts = [...play.registered, play.submitted, ...(await play.wholeRound(root('result')))];
      const end = (await chain.reader.head()).block;
      const all = await chain.reader.events(start, end);
      expect(all).toEqual(receipts.flatMap(({ events }) => events));
      expect(await chain.reader.events(start)).toEqual(all);
      for (const [position, event] of all.entries()) {
        const earlier = all[position - 1];
        if (earlier === undefined) continue;
        expect(event.block > earlier.block || (event.block === earlier.block && event.index > earlier.index)).toBe(true);
        expect(event.time).toBeGreaterThanOrEqual(earlier.time);
      }
      const split: ChainEvent[] = [];
      for (let block = start; block <= end; block++) split.push(...(await chain.reader.events(block, block)));
      expect(split).toEqual(all);
      expect(await chain.reader.events(end + 1)).toEqual([]);
      expect(await chain.reader.events(end + 1, end + 5)).toEqual([]);
    });

    test('sends of one account keep their order, a refused one between them included', async () => {
      const operator = await account(7);
      const start = (await chain.reader.head()).block + 1;
      const nodes = Array.from({ length: 12 }, (_, index) => nodeOf(`ordered ${index}`));
      const sent = nodes.map((node, index) => register(operator, node, index === 5 ? 0n : chain.minStakeWei));
      const outcomes = await Promise.allSettled(sent);
      expect(outcomes.map(({ status }) => status)).toEqual(nodes.map((_, index) => (index === 5 ? 'rejected' : 'fulfilled')));
      const landed = (await chain.reader.events(start)).filter((event) => event.event === 'NodeRegistered');
      expect(landed.map(({ node }) => node)).toEqual(nodes.filter((_, index) => index !== 5));
    });

    test('accounts send at the same time without hindering each other', async () => {
      const writers = await Promise.all([1, 2, 3, 4, 5, 6].map(account));
      const to = addressOf('collection');
      await Promise.all(writers.flatMap((writer) => [1n, 2n, 3n].map((amountWei) => writer.send({ call: 'transfer', to, amountWei }))));
      expect(await chain.reader.balance(to)).toBe(36n);
    });

    test('watching tells of new blocks until it is stopped', async () => {
      const writer = await account(1);
      const seen: number[] = [];
      const stop = abortable();
      const waiting: (() => void)[] = [];
      chain.reader.watch((block) => {
        seen.push(block);
        for (const wake of waiting.splice(0)) wake();
      }, stop.signal);
      const until = async (block: number): Promise<void> => {
        while ((seen.at(-1) ?? -1) < block) await new Promise<void>((resolve) => waiting.push(resolve));
      };
      for (let i = 0; i < 3; i++) {
        const { block } = await writer.send({ call: 'transfer', to: addressOf('watched'), amountWei: 1n });
        await until(block);
      }
      expect(seen).toEqual([...new Set(seen)].sort((a, b) => a - b));
      stop.abort();
      const count = seen.length;
      await writer.send({ call: 'transfer', to: addressOf('watched'), amountWei: 1n });
      await chain.nextBlock();
      expect(seen.length).toBe(count);
    });
  });
}

/** A 32-byte value that belongs to `label`. */
function root(label: string): Root {
  return bytesToHex(sha256(Uint8Array.from(label, (character) => character.charCodeAt(0)))) as Root;
}
const nodeOf = (label: string): NodeId => root(`node ${label}`) as string as NodeId;
const addressOf = (label: string): Address => root(`address ${label}`).slice(0, 42) as Address;

/** What happened, without where it stands in the chain. */
function plain(events: readonly ChainEvent[]): { readonly event: ChainEventName }[] {
  return events.map(({ block: _block, index: _index, time: _time, transaction: _transaction, ...fact }) => fact);
}
const names = ({ events }: ChainReceipt): ChainEventName[] => events.map(({ event }) => event);

/** Details of the CHAIN_REVERTED that `call` ends in. */
async function refusal(call: Promise<unknown>): Promise<Readonly<Record<string, unknown>>> {
  const error: unknown = await call.then(
    () => expect.fail('the call was not refused'),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(MusterError);
  const { code, details } = error as MusterError;
  expect(code).toBe('CHAIN_REVERTED');
  return details;
}

function register(operator: ChainWriter, node: NodeId, stakeWei: bigint): Promise<ChainReceipt> {
  return operator.send({ call: 'registerNode', node, role: 'trainer', region: 'eu', caps, slaId: root('sla'), stakeWei });
}

function abortable(): { readonly signal: AbortSignalLike; abort(): void } {
  const listeners: (() => void)[] = [];
  let aborted = false;
  const signal: AbortSignalLike = {
    get aborted() {
      return aborted;
    },
    addEventListener: (_type, listener) => listeners.push(listener),
  };
  return {
    signal,
    abort() {
      aborted = true;
      for (const listener of listeners) listener();
    },
  };
}

const trainProof = {
  step: 9,
  lossDigest: root('loss'),
  gradientDigest: root('gradient'),
  weightsDigest: root('weights'),
  timestamp: 1_700_000_000_123,
  signature: `0x${'5a'.repeat(64)}`,
} as const;

interface Seat {
  readonly node: NodeId;
  readonly operator: ChainWriter;
}

const holder = ({ node, operator }: Seat): Address => holderOf(node, operator.account);

function seat(seats: readonly Seat[], slot: number): Seat {
  const found = seats[slot];
  if (found === undefined) throw new Error(`no seat ${slot}`);
  return found;
}

const pair = (a: Root, b: Root): Root => (a < b ? keccakOfWords([a, b]) : keccakOfWords([b, a]));

/** Root and proofs over at most three leaves: sorted pairs, a leaf without a pair moves up. */
function smallTree(leaves: readonly Root[]): { readonly root: Root; proof(slot: number): Root[] } {
  const [first, second, third] = leaves;
  if (first === undefined) throw new Error('no leaves');
  if (second === undefined) return { root: first, proof: () => [] };
  const low = pair(first, second);
  if (third === undefined) return { root: low, proof: (slot) => [slot === 0 ? second : first] };
  return { root: pair(low, third), proof: (slot) => (slot === 2 ? [low] : [slot === 0 ? second : first, third]) };
}

/** A job with one node per slot of its first task, driven step by step in round 0. Accounts 1–3 train, 4–6 own, coordinate, validate. */
class Play {
  readonly chain: ChainUnderTest;
  readonly job: JobId;
  readonly modelId: Root;
  readonly owner: ChainWriter;
  readonly coordinator: ChainWriter;
  readonly validator: ChainWriter;
  readonly seats: readonly Seat[];
  readonly registered: readonly ChainReceipt[];
  readonly submitted: ChainReceipt;
  readonly tree: ReturnType<typeof smallTree>;

  private constructor(
    parts: Pick<Play, 'chain' | 'job' | 'modelId' | 'owner' | 'coordinator' | 'validator' | 'seats' | 'registered' | 'submitted'>,
  ) {
    this.chain = parts.chain;
    this.job = parts.job;
    this.modelId = parts.modelId;
    this.owner = parts.owner;
    this.coordinator = parts.coordinator;
    this.validator = parts.validator;
    this.seats = parts.seats;
    this.registered = parts.registered;
    this.submitted = parts.submitted;
    this.tree = smallTree(parts.seats.map((place, slot) => assignmentLeaf(parts.job, 0, 0, slot, holder(place))));
  }

  static async start(
    chain: ChainUnderTest,
    label: string,
    shape: { readonly rounds: number; readonly tasks: number; readonly redundancy: number; readonly budgetWei: bigint },
  ): Promise<Play> {
    const [owner, coordinator, validator] = [await chain.account(4), await chain.account(5), await chain.account(6)];
    const seats: Seat[] = [];
    const registered: ChainReceipt[] = [];
    for (let slot = 0; slot < shape.redundancy; slot++) {
      const operator = await chain.account(1 + slot);
      const node = nodeOf(`${label} ${slot}`);
      registered.push(await register(operator, node, chain.minStakeWei));
      seats.push({ node, operator });
    }
    const modelId = root(`${label} model`);
    const people = { coordinator: coordinator.account, validator: validator.account };
    const submitted = await owner.send({
      call: 'submitJob',
      specCid: root(`${label} spec`),
      modelId,
      ...people,
      ...shape,
      policy: plainPolicy(shape.tasks),
    });
    const [event] = submitted.events;
    if (event?.event !== 'JobSubmitted') throw new Error('no JobSubmitted');
    return new Play({ chain, job: event.job, modelId, owner, coordinator, validator, seats, registered, submitted });
  }

  closeNodes(): Promise<ChainReceipt> {
    return this.coordinator.send({ call: 'closeNodes', job: this.job, round: 0, nodeSetRoot: root('nodes'), nodeCount: 3 });
  }

  assign(commitDeadline = 0): Promise<ChainReceipt> {
    const assignment = { assignmentRoot: this.tree.root, assignmentCid: root('assignment'), commitDeadline };
    return this.coordinator.send({ call: 'assign', job: this.job, round: 0, ...assignment });
  }

  async open(commitDeadline = 0): Promise<ChainReceipt[]> {
    const closed = await this.closeNodes();
    await this.chain.nextBlock();
    return [closed, await this.assign(commitDeadline)];
  }

  commit(slot: number, resultRoot: Root): Promise<ChainReceipt> {
    const { node, operator } = seat(this.seats, slot);
    const commitment = commitmentOf(this.job, 0, 0, slot, holder({ node, operator }), root(`salt ${slot}`), resultRoot);
    return operator.send({ call: 'commit', job: this.job, round: 0, task: 0, slot, node, commitment, proof: this.tree.proof(slot) });
  }

  reveal(slot: number, resultRoot: Root): Promise<ChainReceipt> {
    const { node, operator } = seat(this.seats, slot);
    const result = { salt: root(`salt ${slot}`), resultRoot, resultCid: root('result cid'), proof: trainProof };
    return operator.send({ call: 'reveal', job: this.job, round: 0, task: 0, slot, node, ...result });
  }

  finalize(
    accepted: readonly { readonly task: number; readonly resultRoot: Root; readonly evidence: `0x${string}` }[],
  ): Promise<ChainReceipt> {
    const scored = accepted.map((entry) => ({ ...entry, score: 1 }));
    return this.coordinator.send({
      call: 'finalize',
      job: this.job,
      round: 0,
      checkpointCid: root('checkpoint'),
      accuracy: 0,
      accepted: scored,
    });
  }

  /** Round 0 with everybody revealing `resultRoot`. */
  async wholeRound(resultRoot: Root): Promise<ChainReceipt[]> {
    const receipts = await this.open();
    for (const slot of this.seats.keys()) receipts.push(await this.commit(slot, resultRoot));
    for (const slot of this.seats.keys()) receipts.push(await this.reveal(slot, resultRoot));
    receipts.push(await this.finalize([{ task: 0, resultRoot, evidence: '0x' }]));
    return receipts;
  }
}

async function modelSteps(owner: ChainWriter, coordinator: ChainWriter, { modelId, job }: Play): Promise<ChainEvent[]> {
  const checkpointCid = root('checkpoint');
  const registered = await owner.send({ call: 'registerModel', modelId, modelCid: root('model cid'), datasetCid: root('data') });
  const added = await coordinator.send({ call: 'addCheckpoint', modelId, job, round: 0, checkpointCid });
  const published = await coordinator.send({ call: 'publishModel', modelId, checkpointCid });
  return [registered, added, published].flatMap(({ events }) => events);
}
