/** Calls that an account signs and somebody else submits and pays for: at least one of every contract of the core, and what is refused. */
import { commitmentOf, encodeHyperParameters, holderOf, plainPolicy, type JobId, type NodeId } from '@muster/protocol';
import { encodeFunctionData, toHex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { catalogue } from '../../packages/adapters/src/evm/contracts/catalogue.ts';
import { signForwardRequest } from '../../packages/adapters/src/evm/contracts/relay.ts';
import { accountOf, type Handle, relayedBy } from './handles.ts';
import { ether, JobDriver, minStakeWei, nodeOf, rootOf, startTestChain, type TestChain, zeroRoot } from './harness.ts';
import { deployed, timeOf } from './lone.ts';

const relayer = 11;
const signer = 10;

let chain: TestChain;
let forwarder: Handle;
let registry: Handle;
let manager: Handle;
beforeAll(async () => {
  chain = await startTestChain();
  [forwarder, registry, manager] = [deployed(chain, 'forwarder'), deployed(chain, 'nodeCertRegistry'), deployed(chain, 'jobManager')];
});
afterAll(() => chain.close());

const relay = (target: Handle, functionName: string, args: readonly unknown[], valueWei = 0n, by = signer): Promise<void> =>
  relayedBy(chain, forwarder, relayer, by, target, functionName, args, valueWei);
/** Registers a node for the signer, relayed. */
async function join(name: string): Promise<NodeId> {
  const node = nodeOf(name);
  await relay(registry, 'registerNode', [node, 0, 'eu', zeroRoot, zeroRoot], minStakeWei);
  return node;
}

/** A request of the signer as the forwarder takes it. */
async function requestOf(
  target: Handle,
  functionName: string,
  args: readonly unknown[],
  changes: { deadline?: number; chainId?: number } = {},
) {
  const nonce = (await forwarder.read('nonces', [accountOf(chain, signer)])) as bigint;
  const data = encodeFunctionData({ abi: target.abi, functionName, args });
  const deadline = changes.deadline ?? (await timeOf(chain)) + 3600;
  const place = { chainId: changes.chainId ?? chain.info.chainId, forwarder: forwarder.address };
  const signed = await signForwardRequest(
    privateKeyToAccount(chain.keyOf(signer)),
    place,
    { to: target.address, data, valueWei: 0n },
    { nonce, deadline, gas: 500_000n },
  );
  return { ...signed, value: signed.valueWei };
}

test('every contract that answers to accounts trusts the network’s forwarder and no other', async () => {
  for (const name of Object.keys(catalogue) as (keyof typeof catalogue)[]) {
    const contract = deployed(chain, name);
    if (!contract.abi.some((entry) => entry.type === 'function' && entry.name === 'isTrustedForwarder')) continue;
    expect([name, await contract.read('isTrustedForwarder', [forwarder.address])]).toEqual([name, true]);
    expect(await contract.read('isTrustedForwarder', [accountOf(chain, relayer)])).toBe(false);
  }
});

test('a node lives through its operator’s relayed calls, whoever pays for them', async () => {
  const account = accountOf(chain, signer);
  const before = await chain.reader.balance(account as never);
  const node = await join('relayed');
  expect(await registry.read('operatorOf', [node])).toEqual([account, true]);
  await relay(registry, 'heartbeat', [node]);
  await relay(registry, 'topUp', [node], 5n);
  await relay(registry, 'startUnbonding', [node]);
  await relay(registry, 'cancelUnbonding', [node]);
  await relay(registry, 'startUnbonding', [node]);
  await chain.elapse(2 * 24 * 3600);
  await relay(registry, 'withdrawStake', [node]);
  expect(await manager.read('credits', [account])).toBe(minStakeWei + 5n);
  await relay(manager, 'transferCredit', [accountOf(chain, 9), 5n]);
  await relay(manager, 'withdraw', []);
  // The relayer paid for everything, the stake included.
  expect(await chain.reader.balance(account as never)).toBe(before + minStakeWei);
});

test('the share of a reporter whose report was relayed is the reporter’s', async () => {
  const node = await join('silent');
  await chain.elapse(3 * 3600);
  const reporter = 9;
  const before = await chain.reader.credit(accountOf(chain, reporter) as never);
  await relay(registry, 'reportMissedHeartbeats', [node], 0n, reporter);
  expect((await chain.reader.credit(accountOf(chain, reporter) as never)) - before).toBe((minStakeWei * 4n) / 100n);
});

test('an owner changes the settings by a relayed call', async () => {
  await relay(registry, 'setAttester', [accountOf(chain, 5), true], 0n, 0);
  expect(await registry.read('attesters', [accountOf(chain, 5)])).toBe(true);
  await expect(relay(registry, 'setAttester', [accountOf(chain, 5), true], 0n, 4)).rejects.toThrow();
});

test('a job is opened, run and ended by relayed calls', async () => {
  const account = accountOf(chain, signer);
  const node = await join('worker');
  const terms = {
    specCid: zeroRoot,
    modelId: zeroRoot,
    rounds: 2n,
    tasks: 1,
    redundancy: 1,
    coordinator: account,
    validator: account,
    kind: 0,
    settlement: 0,
    minParticipants: 0,
    roundTimeout: 600n,
    reward: { ...plainPolicy(1).reward, model: 0 },
  };
  const job = (await manager.read('nextJobId', [account, zeroRoot])) as JobId;
  await relay(manager, 'submitJob', [terms], 1000n);
  await relay(manager, 'specifyJob', [job, rootOf('spec')]);
  await relay(manager, 'pauseJob', [job]);
  await relay(manager, 'resumeJob', [job]);
  await relay(manager, 'closeNodes', [job, 0n, zeroRoot, 1]);
  await chain.mine();
  await relay(manager, 'assign', [job, 0n, zeroRoot, zeroRoot, 0n]);
  await relay(manager, 'reassign', [job, 0n, 0, 0, node]);
  await relay(manager, 'cancelJob', [job]);
  expect(await chain.reader.job(job)).toMatchObject({ owner: account.toLowerCase(), status: 'cancelled', reserveWei: 500n });
});

test('a node commits and reveals, and a coordinator finalizes, by relayed calls', async () => {
  const compute = deployed(chain, 'proofOfCompute');
  const driver = await JobDriver.submit(chain, { rounds: 1, tasks: 1, redundancy: 1, budgetWei: 900n }, 'relayed round');
  await driver.open(0);
  const { node, operator } = driver.seat(0, 0);
  const root = rootOf('r');
  const { job } = driver;
  // Operators of the driver's seats are actors from 4 on.
  expect(operator.account).toBe(accountOf(chain, 4).toLowerCase());
  const commitment = commitmentOf(job, 0, 0, 0, holderOf(node, operator.account), driver.saltOf(0, 0, 0), root);
  await relay(compute, 'commit', [job, 0n, 0, 0, node, commitment, driver.proof(0, 0, 0)], 0n, 4);
  const proof = { jobId: job, step: 1n, lossDigest: root, gradientDigest: root, weightsDigest: root, timestamp: 1n, nodePubkey: node };
  const salt = driver.saltOf(0, 0, 0);
  await relay(compute, 'reveal', [job, 0n, 0, 0, node, salt, root, root, { ...proof, signature: `0x${'5a'.repeat(64)}` }], 0n, 4);
  await relay(compute, 'finalize', [job, 0n, root, 0, [{ task: 0, score: 1, resultRoot: root, evidence: '0x' }]], 0n, 2);
  expect(await chain.reader.job(job)).toMatchObject({ paidWei: 900n, nextRound: 1 });
});

test('a training is requested, a fund fed and a model registered by relayed calls', async () => {
  const account = accountOf(chain, signer);
  const hyperParameters = encodeHyperParameters({
    version: 1,
    tasks: 1,
    redundancy: 1,
    localSteps: 1,
    batchSize: 1,
    learningRate: 1,
    optimizer: 'sgd',
    strategy: 'fedavg',
    jobKind: 'federated',
    settlement: 'direct',
    rewardModel: 'perRound',
    gpuSecondsPerTask: 0,
    bonusBasisPoints: 0,
    targetGainBasisPoints: 0,
    roundTimeout: 600,
    seed: 0n,
  });
  const request = [rootOf('base'), rootOf('data'), 1, 1, hyperParameters] as const;
  const door = deployed(chain, 'trainRequest');
  const job = (await door.read('predictJobId', [account, ...request])) as JobId;
  await relay(door, 'requestTraining', request, 7n);
  expect(await chain.reader.job(job)).toMatchObject({ owner: account.toLowerCase(), budgetWei: 7n });

  const fund = deployed(chain, 'insuranceFund');
  const pool = deployed(chain, 'emissionPool');
  for (const contract of [fund, pool]) {
    const before = await chain.reader.balance(contract.address);
    await relay(contract, 'deposit', [], 3n);
    expect(await chain.reader.balance(contract.address)).toBe(before + 3n);
  }
  const models = deployed(chain, 'modelRegistry');
  await relay(models, 'registerModel', [rootOf('relayed model'), rootOf('cid'), rootOf('data')]);
});

test('a request is made once, in its time, on its chain, and as it was signed', async () => {
  const node = await join('replayed');
  const signed = await requestOf(registry, 'heartbeat', [node]);
  expect(await forwarder.read('verify', [signed])).toBe(true);
  const refusedWith = async (request: object, valueWei = 0n): Promise<unknown> => {
    const told = await forwarder.refused(relayer, 'execute', [request], valueWei);
    return Array.isArray(told) ? told[0] : told;
  };
  // Money that the account did not sign for.
  expect(await refusedWith(signed, 1n)).toBe('ERC2771ForwarderMismatchedValue');
  expect(await refusedWith({ ...signed, from: accountOf(chain, 9) })).toBe('ERC2771ForwarderInvalidSigner');
  expect(await refusedWith({ ...signed, to: manager.address })).toBe('ERC2771ForwarderInvalidSigner');
  const other = encodeFunctionData({ abi: registry.abi, functionName: 'startUnbonding', args: [node] });
  expect(await refusedWith({ ...signed, data: other })).toBe('ERC2771ForwarderInvalidSigner');
  expect(await refusedWith(await requestOf(registry, 'heartbeat', [node], { chainId: 1 }))).toBe('ERC2771ForwarderInvalidSigner');
  const late = (await timeOf(chain)) - 1;
  expect(await refusedWith(await requestOf(registry, 'heartbeat', [node], { deadline: late }))).toBe('ERC2771ForwarderExpiredRequest');
  await forwarder.call(relayer, 'execute', [signed]);
  expect(await refusedWith(signed)).toBe('ERC2771ForwarderInvalidSigner');
});

test('an address appended by anybody but the forwarder means nothing', async () => {
  const node = await join('appended');
  const data = encodeFunctionData({ abi: registry.abi, functionName: 'startUnbonding', args: [node] });
  const forged = `${data}${accountOf(chain, signer).slice(2).toLowerCase()}`;
  const call = { from: accountOf(chain, relayer), to: registry.address, data: forged, value: toHex(0n) };
  await expect(chain.request('eth_call', [call, 'latest'])).rejects.toThrow();
  // From the forwarder itself the same bytes are the signer's call.
  await chain.request('eth_call', [{ ...call, from: forwarder.address }, 'latest']);
});

test('the doors between contracts are closed to relayed calls', async () => {
  const node = await join('doors');
  await expect(relay(registry, 'guard', [node, 1n])).rejects.toThrow();
  await expect(relay(registry, 'slash', [node, 5, accountOf(chain, 9), accountOf(chain, 9)])).rejects.toThrow();
  await expect(relay(manager, 'sponsorJob', [rootOf('job')], ether)).rejects.toThrow();
  expect(await chain.reader.node(node)).toMatchObject({ stakeWei: minStakeWei, status: 'active' });
});
