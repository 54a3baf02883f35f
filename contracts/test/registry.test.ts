import type { ChainWriter } from '@muster/ports';
import { type Address, type NodeId, type Root } from '@muster/protocol';
import { packCapabilities } from '@muster/adapters';
import { getAddress, toHex } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { catalogue } from '../../packages/adapters/src/evm/contracts/catalogue.ts';
import { accountOf, type Handle } from './handles.ts';
import {
  create,
  ether,
  JobDriver,
  minStakeWei,
  nodeOf,
  refusal,
  register,
  rootOf,
  startTestChain,
  type TestChain,
  zeroRoot,
} from './harness.ts';
import { deployed, doors, loneRegistry, loneSettings, nextTime, timeOf } from './lone.ts';

let chain: TestChain;
let registry: Handle;
let lone: Handle;
beforeAll(async () => {
  chain = await startTestChain();
  registry = deployed(chain, 'nodeCertRegistry');
  ({ registry: lone } = await loneRegistry(chain));
});
afterAll(() => chain.close());

const plainCaps = packCapabilities({ hasGPU: false, hasTEE: false, diskGB: 7, bandwidthMbps: 8, computeUnits: 9 });
const gpu = packCapabilities({ hasGPU: true, hasTEE: false, diskGB: 0, bandwidthMbps: 0, computeUnits: 0 });
const tee = packCapabilities({ hasGPU: false, hasTEE: true, diskGB: 0, bandwidthMbps: 0, computeUnits: 0 });
const registration = (region: string, stakeWei = 3n * ether) => ({
  call: 'registerNode' as const,
  node: nodeOf('fields'),
  role: 'validator' as const,
  region,
  caps: plainCaps,
  slaId: rootOf('sla'),
  stakeWei,
});
const hour = 3600;
const day = 24 * hour;
/** Registers `node` in the registry whose doors are actors. */
const settle = (node: NodeId, stakeWei: bigint, operator = 1, caps: Root = zeroRoot) =>
  lone.call(operator, 'registerNode', [node, 0, '', caps, zeroRoot], stakeWei);
const stateOf = async (node: NodeId): Promise<string | undefined> => (await chain.reader.node(node))?.status;

test('a registration is stored and announced with all its fields', async () => {
  const operator = await chain.actor(4);
  const { events } = await operator.send(registration('eu-central'));
  const common = { node: nodeOf('fields'), operator: operator.account, role: 'validator', caps: plainCaps, stakeWei: 3n * ether };
  expect(events).toMatchObject([{ event: 'NodeRegistered', ...common }]);
  const time = events[0]?.time;
  const state = { registeredAt: time, lastHeartbeat: time, status: 'active', active: true, offences: 0, hardwareVerified: false };
  expect(await chain.reader.node(nodeOf('fields'))).toEqual({ ...common, ...state });
  expect(await registry.read('nodeCert', [nodeOf('fields')])).toMatchObject({ region: 'eu-central', slaId: rootOf('sla') });
  const caps = { hasGPU: false, hasTEE: false, diskGB: 7, bandwidthMbps: 8, computeUnits: 9 };
  expect(await registry.read('capabilitiesOf', [nodeOf('fields')])).toEqual(caps);
});

test('an unknown node is null, is operated by nobody and has no capabilities', async () => {
  const node = nodeOf('nobody');
  expect(await chain.reader.node(node)).toBeNull();
  expect(await registry.read('operatorOf', [node])).toEqual([`0x${'00'.repeat(20)}`, false]);
  expect(await registry.read('tierOf', [node])).toBe(0);
  await expect(registry.read('capabilitiesOf', [node])).rejects.toThrow(/NodeNotRegistered/);
});

test('a node key is registered once, also against another operator', async () => {
  const node = nodeOf('twice');
  await register(await chain.actor(4), node);
  for (const index of [4, 5])
    expect(await refusal(register(await chain.actor(index), node))).toEqual({ error: 'NodeAlreadyRegistered', node });
});

test('the zero key, a long region, a low stake and one beyond 104 bits are refused', async () => {
  const operator = await chain.actor(4);
  expect(await refusal(register(operator, zeroRoot as string as NodeId))).toEqual({ error: 'InvalidNodeKey' });
  expect(await refusal(operator.send(registration('x'.repeat(65))))).toEqual({ error: 'RegionTooLong', length: 65n, maximum: 64n });
  const tooLow = { error: 'StakeTooLow', stakeWei: minStakeWei - 1n, requiredWei: minStakeWei };
  expect(await refusal(register(operator, nodeOf('poor'), minStakeWei - 1n))).toEqual(tooLow);
  await chain.reverting(async () => {
    await chain.request('hardhat_setBalance', [operator.account, toHex(2n ** 105n)]);
    const stakeWei = 2n ** 104n;
    expect(await refusal(register(operator, nodeOf('rich'), stakeWei))).toEqual({ error: 'StakeTooLarge', stakeWei });
    await register(operator, nodeOf('rich'), stakeWei - 1n);
    const more = operator.send({ call: 'topUp', node: nodeOf('rich'), amountWei: 1n });
    expect(await refusal(more)).toEqual({ error: 'StakeTooLarge', stakeWei });
  });
});

test('what a stake must be follows from role and capabilities, and its tier from both and its size', async () => {
  const { tiers } = loneSettings;
  const words = { plain: zeroRoot, gpu, tee, all: toHex(3n, { size: 32 }) as Root };
  const required = async (role: number, caps: Root): Promise<unknown> => lone.read('requiredStake', [role, caps]);
  for (const role of [0, 1, 2, 3, 4]) {
    expect(await required(role, words.plain)).toBe(tiers.basic);
    expect(await required(role, words.gpu)).toBe(role === 0 ? tiers.gpu : tiers.basic);
    expect(await required(role, words.tee)).toBe(tiers.tee);
    expect(await required(role, words.all)).toBe(tiers.tee);
  }
  let count = 0;
  const tier = async (caps: Root, stakeWei: bigint): Promise<unknown> => {
    const node = nodeOf(`tier ${count++}`);
    // A validator with a GPU needs the smallest stake only, so its tier may be smaller than what it has.
    await lone.call(1, 'registerNode', [node, 1, '', caps, zeroRoot], stakeWei);
    return lone.read('tierOf', [node]);
  };
  expect(await tier(words.plain, tiers.basic)).toBe(1);
  expect(await tier(words.plain, tiers.priority - 1n)).toBe(1);
  expect(await tier(words.gpu, tiers.gpu - 1n)).toBe(1);
  expect(await tier(words.gpu, tiers.gpu)).toBe(2);
  // Whoever says that it has a TEE puts up the stake for it, and needs a quote for the tier.
  expect(await tier(words.tee, tiers.tee)).toBe(1);
  expect(await tier(words.all, tiers.tee)).toBe(2);
  expect(await tier(words.plain, tiers.priority)).toBe(4);
  expect(await lone.refused(1, 'registerNode', [nodeOf('x'), 0, '', words.gpu, zeroRoot], tiers.gpu - 1n)).toEqual([
    'StakeTooLow',
    tiers.gpu - 1n,
    tiers.gpu,
  ]);
});

test('a heartbeat moves the time of the last one, for the operator of a node that works or could', async () => {
  const operator = await chain.actor(4);
  const node = nodeOf('beating');
  expect(await refusal(operator.send({ call: 'heartbeat', node }))).toEqual({ error: 'NotOperator', node, caller: operator.account });
  await register(operator, node);
  await chain.elapse(hour);
  await operator.send({ call: 'heartbeat', node });
  const cert = await chain.reader.node(node);
  expect((cert?.lastHeartbeat ?? 0) - (cert?.registeredAt ?? 0)).toBeGreaterThanOrEqual(hour);
  const stranger = await chain.actor(5);
  expect(await refusal(stranger.send({ call: 'heartbeat', node }))).toEqual({ error: 'NotOperator', node, caller: stranger.account });
  await operator.send({ call: 'startUnbonding', node });
  expect(await refusal(operator.send({ call: 'heartbeat', node }))).toEqual({ error: 'NodeNotActive', node });
});

test('one and two missed heartbeats are a warning, the third takes a tenth, and the count begins anew', async () => {
  const [operator, reporter] = [await chain.actor(4), await chain.actor(11)];
  const node = nodeOf('silent');
  await register(operator, node, 2n * ether);
  const report = (by: ChainWriter = reporter) => by.send({ call: 'reportMissedHeartbeats', node });
  const lastHeartbeat = BigInt((await chain.reader.node(node))?.lastHeartbeat ?? 0);
  expect(await refusal(report())).toEqual({ error: 'NoHeartbeatMissed', node, lastHeartbeat });
  const start = await timeOf(chain);
  for (const missed of [1, 2]) {
    await nextTime(chain, start + missed * hour);
    expect((await report()).events).toMatchObject([{ event: 'HeartbeatsMissed', node, missed }]);
    expect((await chain.reader.node(node))?.stakeWei).toBe(2n * ether);
  }
  await nextTime(chain, start + 3 * hour - 1);
  expect((await report()).events).toMatchObject([{ event: 'HeartbeatsMissed', missed: 2 }]);
  const before = await chain.reader.credit(reporter.account);
  await nextTime(chain, start + 3 * hour);
  const taken = ether / 5n;
  expect((await report()).events.filter(({ event }) => event !== 'InsuranceDeposited')).toMatchObject([
    { event: 'HeartbeatsMissed', node, missed: 3 },
    { event: 'NodeSlashed', node, amountWei: taken, active: true, offence: 'missedHeartbeats' },
    { event: 'SlashDivided', node, challenger: reporter.account, challengerWei: (taken * 2n) / 5n, burnedWei: taken / 5n },
  ]);
  expect((await chain.reader.credit(reporter.account)) - before).toBe((taken * 2n) / 5n);
  expect(await chain.reader.node(node)).toMatchObject({ offences: 0, stakeWei: 2n * ether - taken });
  expect(await refusal(report())).toMatchObject({ error: 'NoHeartbeatMissed' });
  await operator.send({ call: 'heartbeat', node });
  // Who says nothing for very long is still slashed only once.
  await chain.elapse(1000 * day);
  await report();
  expect(await refusal(report())).toMatchObject({ error: 'NoHeartbeatMissed' });
});

test('a heartbeat in between makes missed ones count from it', async () => {
  const operator = await chain.actor(4);
  const node = nodeOf('late');
  await register(operator, node);
  await chain.elapse(2 * hour);
  await operator.send({ call: 'heartbeat', node });
  const start = await timeOf(chain);
  await nextTime(chain, start + 2 * hour);
  expect((await operator.send({ call: 'reportMissedHeartbeats', node })).events).toMatchObject([{ event: 'HeartbeatsMissed', missed: 2 }]);
});

test('a node whose stake fell below its tier is suspended until anybody tops it up', async () => {
  const [operator, friend] = [await chain.actor(4), await chain.actor(5)];
  const node = nodeOf('suspended');
  await register(operator, node);
  await chain.elapse(3 * hour);
  await operator.send({ call: 'reportMissedHeartbeats', node });
  expect(await stateOf(node)).toBe('suspended');
  expect(await refusal(operator.send({ call: 'reportMissedHeartbeats', node }))).toEqual({ error: 'NodeNotActive', node });
  await operator.send({ call: 'heartbeat', node });
  const driver = await JobDriver.submit(chain, { rounds: 1, tasks: 1, redundancy: 1, budgetWei: 0n }, 'no work');
  await driver.open(0);
  const work = driver.coordinator.send({ call: 'reassign', job: driver.job, round: 0, task: 0, slot: 0, node });
  expect(await refusal(work)).toEqual({ error: 'NodeNotActive', node });
  const half = ether / 20n;
  const common = { event: 'StakeAdded', node, amountWei: half };
  expect((await friend.send({ call: 'topUp', node, amountWei: half })).events).toMatchObject([{ ...common, active: false }]);
  expect((await friend.send({ call: 'topUp', node, amountWei: half })).events).toMatchObject([
    { ...common, stakeWei: ether, active: true },
  ]);
  expect(await chain.reader.node(node)).toMatchObject({ status: 'active', lastHeartbeat: await timeOf(chain) });
  expect(await refusal(friend.send({ call: 'topUp', node: nodeOf('nobody'), amountWei: 1n }))).toMatchObject({
    error: 'NodeNotRegistered',
  });
});

test('leaving takes two days, may be called off, and gives the whole stake back once', async () => {
  const [operator, stranger] = [await chain.actor(4), await chain.actor(5)];
  const node = nodeOf('leaving');
  await register(operator, node, 2n * ether);
  const send = (call: 'startUnbonding' | 'cancelUnbonding' | 'withdrawStake', by = operator) => by.send({ call, node });
  for (const call of ['startUnbonding', 'cancelUnbonding', 'withdrawStake'] as const) {
    expect(await refusal(send(call, stranger))).toEqual({ error: 'NotOperator', node, caller: stranger.account });
  }
  expect(await refusal(send('cancelUnbonding'))).toEqual({ error: 'NotUnbonding', node });
  expect(await refusal(send('withdrawStake'))).toEqual({ error: 'NotUnbonding', node });
  await send('startUnbonding');
  expect(await refusal(send('startUnbonding'))).toEqual({ error: 'AlreadyUnbonding', node });
  expect((await send('cancelUnbonding')).events).toMatchObject([{ event: 'UnbondingCancelled', node }]);
  expect(await stateOf(node)).toBe('active');

  const { events } = await send('startUnbonding');
  const until = (await timeOf(chain)) + 2 * day;
  expect(events).toMatchObject([{ event: 'UnbondingStarted', node, withdrawableAt: until }]);
  await nextTime(chain, until - 1);
  expect(await refusal(send('withdrawStake'))).toEqual({ error: 'StakeLocked', node, until: BigInt(until) });
  const before = await chain.reader.credit(operator.account);
  await nextTime(chain, until);
  expect((await send('withdrawStake')).events).toMatchObject([
    { event: 'StakeWithdrawn', node, operator: operator.account, amountWei: 2n * ether },
  ]);
  expect((await chain.reader.credit(operator.account)) - before).toBe(2n * ether);
  expect(await chain.reader.node(node)).toMatchObject({ status: 'left', stakeWei: 0n });
  for (const call of ['startUnbonding', 'cancelUnbonding', 'withdrawStake'] as const) {
    expect(await refusal(send(call))).toEqual({ error: 'NodeHasLeft', node });
  }
  expect(await refusal(operator.send({ call: 'topUp', node, amountWei: 1n }))).toEqual({ error: 'NodeHasLeft', node });
  expect(await refusal(register(stranger, node))).toEqual({ error: 'NodeAlreadyRegistered', node });
  await register(operator, node);
  expect(await chain.reader.node(node)).toMatchObject({ status: 'active', stakeWei: ether });
});

test('who has lost stake while leaving comes back only with enough of it', async () => {
  const node = nodeOf('returning');
  await settle(node, loneSettings.tiers.basic);
  await lone.call(1, 'startUnbonding', [node]);
  await lone.call(doors.settlement, 'slash', [node, 4, accountOf(chain, 3), accountOf(chain, 4)]);
  const left = loneSettings.tiers.basic - loneSettings.tiers.basic / 2n;
  expect(await lone.refused(1, 'cancelUnbonding', [node])).toEqual(['StakeTooLow', left, loneSettings.tiers.basic]);
  await lone.call(2, 'topUp', [node], loneSettings.tiers.basic - left);
  await lone.call(1, 'cancelUnbonding', [node]);
  expect(await lone.read('operatorOf', [node])).toEqual([accountOf(chain, 1), true]);
});

test('a stake stays while a challenge window on the node’s work is open', async () => {
  const driver = await JobDriver.submit(chain, { rounds: 1, tasks: 1, redundancy: 1, budgetWei: 9n }, 'late reveal');
  const { node, operator } = driver.seat(0, 0);
  await driver.open(0);
  await driver.commit(0, 0, 0, rootOf('r'));
  await operator.send({ call: 'startUnbonding', node });
  const start = await timeOf(chain);
  await nextTime(chain, start + 47 * hour);
  await driver.reveal(0, 0, 0, rootOf('r'));
  const until = start + 71 * hour;
  expect(await registry.read('withdrawableAt', [node])).toBe(BigInt(until));
  await nextTime(chain, until - 1);
  expect(await refusal(operator.send({ call: 'withdrawStake', node }))).toEqual({ error: 'StakeLocked', node, until: BigInt(until) });
  await nextTime(chain, until);
  await operator.send({ call: 'withdrawStake', node });
});

test('results that are not settled are together worth no more than the stake', async () => {
  const operator = await chain.actor(4);
  const jobs: JobDriver[] = [];
  for (const name of ['one', 'two', 'three']) {
    const shape = { rounds: 1, tasks: 1, redundancy: 1, budgetWei: (ether * 6n) / 10n };
    const driver = await JobDriver.submit(chain, shape, `exposed ${name}`);
    await driver.open(0);
    jobs.push(driver);
  }
  const [one, two, three] = jobs as [JobDriver, JobDriver, JobDriver];
  const seat = one.seat(0, 0);
  expect(seat.operator.account).toBe(operator.account);
  for (const driver of [two, three]) {
    const call = { call: 'reassign', job: driver.job, round: 0, task: 0, slot: 0, node: seat.node } as const;
    await driver.coordinator.send(call);
  }
  const root = rootOf('r');
  for (const driver of jobs) await driver.commit(0, 0, 0, root, seat);
  await one.reveal(0, 0, 0, root, seat);
  expect(await registry.read('freeStake', [seat.node])).toBe((ether * 4n) / 10n);
  const exposed = { error: 'ExposureTooHigh', node: seat.node, exposureWei: (ether * 12n) / 10n, stakeWei: ether };
  expect(await refusal(two.reveal(0, 0, 0, root, seat))).toEqual(exposed);
  // Payment settles the first; once it is credited the second may be claimed, the third still not.
  await one.finalize(0, [[0, root]]);
  await operator.send({ call: 'creditNodes', places: [{ job: one.job, round: 0, task: 0, slot: 0 }] });
  expect(await registry.read('freeStake', [seat.node])).toBe(ether);
  await two.reveal(0, 0, 0, root, seat);
  expect(await refusal(three.reveal(0, 0, 0, root, seat))).toEqual(exposed);
  // More stake makes room at once.
  await operator.send({ call: 'topUp', node: seat.node, amountWei: (ether * 2n) / 10n });
  await three.reveal(0, 0, 0, root, seat);
});

test('what is not settled counts for one to two challenge windows', async () => {
  const node = nodeOf('rolling');
  const { challenge } = loneSettings.times;
  await settle(node, 5_000n);
  const guard = (amountWei: bigint) => lone.call(doors.settlement, 'guard', [node, amountWei]);
  const start = (Math.floor((await timeOf(chain)) / challenge) + 2) * challenge;
  await nextTime(chain, start);
  await guard(3_000n);
  await nextTime(chain, start + challenge - 1);
  await guard(1_000n);
  expect(await lone.refused(doors.settlement, 'guard', [node, 1_001n])).toEqual(['ExposureTooHigh', node, 5_001n, 5_000n]);
  await nextTime(chain, start + 2 * challenge - 1);
  expect(await lone.refused(doors.batched, 'guard', [node, 1_001n])).toEqual(['ExposureTooHigh', node, 5_001n, 5_000n]);
  await guard(1_000n);
  // Two windows after the first, only the last guarded work counts.
  await nextTime(chain, start + 2 * challenge);
  expect(await lone.refused(doors.batched, 'guard', [node, 4_001n])).toEqual(['ExposureTooHigh', node, 5_001n, 5_000n]);
  await guard(4_000n);
  expect(await lone.read('freeStake', [node])).toBe(0n);
  // Work is taken out of the window in which it was guarded, and of no other: what has rolled off frees nothing again.
  const release = (amountWei: bigint, guardedAt: number) => lone.call(doors.batched, 'release', [node, amountWei, BigInt(guardedAt)]);
  const [current, before] = [start + 2 * challenge, start + 2 * challenge - 1];
  for (const [amountWei, guardedAt, free] of [
    [1n, current, 1n],
    [3_998n, current + challenge - 1, 3_999n],
    [500n, before, 4_499n],
    [1n, start + challenge - 1, 4_499n],
    [1n, current + challenge, 4_499n],
    [1n, 0, 4_499n],
    [2n ** 255n, before, 4_999n],
    [2n ** 255n, current, 5_000n],
  ] as const) {
    await release(amountWei, guardedAt);
    expect(await lone.read('freeStake', [node])).toBe(free);
  }
});

test('new work never shortens the time for which older work holds the stake', async () => {
  await chain.reverting(async () => {
    const node = nodeOf('long held');
    await settle(node, 5_000n);
    const { challenge } = loneSettings.times;
    await lone.call(doors.settlement, 'guard', [node, 1n]);
    const until = BigInt((await timeOf(chain)) + challenge);
    await lone.call(1, 'startUnbonding', [node]);
    await lone.call(0, 'setTimes', [{ heartbeat: 100, challenge: 10, unbonding: 10 }]);
    await lone.call(doors.settlement, 'guard', [node, 1n]);
    expect(await lone.read('withdrawableAt', [node])).toBe(until);
    expect(await lone.refused(1, 'withdrawStake', [node])).toEqual(['StakeLocked', node, until]);
    await nextTime(chain, Number(until));
    await lone.call(1, 'withdrawStake', [node]);
  });
});

/** No time may be longer: ten years. */
const longest = 3_650 * 24 * 3_600;

test('settings that make no sense are refused, also at creation, and only the owner changes them', async () => {
  const { tiers, times, shares } = loneSettings;
  const stranger = accountOf(chain, 4);
  for (const [name, args] of [
    ['setStakeTiers', [tiers]],
    ['setTimes', [times]],
    ['setSlashShares', [shares]],
    ['setAttester', [stranger, true]],
    ['setTeeVerifier', [stranger]],
  ] as const) {
    expect(await lone.refused(4, name, args)).toEqual(['OwnableUnauthorizedAccount', stranger]);
  }
  expect([await lone.read('stakeTiers'), await lone.read('times'), await lone.read('slashShares')]).toEqual([tiers, times, shares]);
  const doorsOf = Object.fromEntries(
    ['proofOfCompute', 'batchedProofOfCompute', 'credits', 'insuranceFund', 'reputation'].map((name) => [name, stranger]),
  );
  const { abi, bytecode } = catalogue.nodeCertRegistry;
  const created = (settings: object): Promise<Address> =>
    create(chain, 0, { abi, bytecode }, [stranger, stranger, doorsOf, { teeVerifier: stranger, ...loneSettings, ...settings }]);
  for (const wrong of [{ basic: tiers.gpu + 1n }, { gpu: tiers.tee + 1n }, { tee: tiers.priority + 1n }]) {
    expect(await lone.refused(0, 'setStakeTiers', [{ ...tiers, ...wrong }])).toEqual(['TiersNotAscending']);
    expect(await refusal(created({ tiers: { ...tiers, ...wrong } }))).toMatchObject({ error: 'TiersNotAscending' });
  }
  for (const wrong of [
    { heartbeat: 0 },
    { challenge: 0 },
    { unbonding: times.challenge - 1 },
    { unbonding: longest + 1 },
    { heartbeat: longest + 1 },
  ]) {
    const { heartbeat, challenge, unbonding } = { ...times, ...wrong };
    expect(await lone.refused(0, 'setTimes', [{ ...times, ...wrong }])).toEqual(['TimesInvalid', heartbeat, challenge, unbonding]);
    expect(await refusal(created({ times: { ...times, ...wrong } }))).toMatchObject({ error: 'TimesInvalid' });
  }
  for (const wrong of [{ burn: 1_999 }, { challenger: 65_535, insurance: 65_535, burn: 65_535 }]) {
    const { challenger, insurance, burn } = { ...shares, ...wrong };
    expect(await lone.refused(0, 'setSlashShares', [{ ...shares, ...wrong }])).toEqual([
      'SharesInvalid',
      BigInt(challenger + insurance + burn),
    ]);
    expect(await refusal(created({ shares: { ...shares, ...wrong } }))).toMatchObject({ error: 'SharesInvalid' });
  }
});

test('changed settings are announced and hold from then on', async () => {
  await chain.reverting(async () => {
    const { tiers, times, shares } = loneSettings;
    const more = { ...tiers, basic: 2_000n };
    expect((await lone.call(0, 'setStakeTiers', [more])).events).toEqual([{ event: 'StakeTiersChanged', tiers: more }]);
    expect(await lone.refused(1, 'registerNode', [nodeOf('later'), 0, '', zeroRoot, zeroRoot], 1_999n)).toEqual([
      'StakeTooLow',
      1_999n,
      2_000n,
    ]);
    const longer = { ...times, heartbeat: 500 };
    expect((await lone.call(0, 'setTimes', [longer])).events).toEqual([{ event: 'TimesChanged', times: longer }]);
    const other = { ...shares, challenger: 0, burn: 6_000 };
    expect((await lone.call(0, 'setSlashShares', [other])).events).toEqual([{ event: 'SlashSharesChanged', shares: other }]);
    const attester = accountOf(chain, 5);
    expect((await lone.call(0, 'setAttester', [attester, true])).events).toEqual([{ event: 'AttesterChanged', attester, trusted: true }]);
    expect(await lone.read('attesters', [attester])).toBe(true);
    const verifier = getAddress(chain.info.contracts.teeVerifier);
    expect((await lone.call(0, 'setTeeVerifier', [verifier])).events).toEqual([{ event: 'TeeVerifierChanged', verifier }]);
    expect(await lone.read('teeVerifier')).toBe(verifier);
  });
});
