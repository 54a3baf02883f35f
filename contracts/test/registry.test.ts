import { aiJobManagerAbi, nodeCertRegistryAbi, nodeCertRegistryBytecode } from '../../packages/adapters/src/evm/generated/index.ts';
import { packCapabilities, unpackCapabilities } from '@muster/adapters';
import { type Address, type NodeId, type Root } from '@muster/protocol';
import * as fc from 'fast-check';
import { createPublicClient, toHex } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  create,
  ether,
  execute,
  minStakeWei,
  nodeOf,
  refusal,
  register,
  rootOf,
  startTestChain,
  type TestChain,
  zeroRoot,
} from './harness.ts';

let chain: TestChain;
beforeAll(async () => {
  chain = await startTestChain();
});
afterAll(() => chain.close());

const registry = (): { to: Address; abi: typeof nodeCertRegistryAbi } => ({
  to: chain.info.contracts.nodeCertRegistry,
  abi: nodeCertRegistryAbi,
});
const registration = (region: string) => ({
  call: 'registerNode' as const,
  node: nodeOf('fields'),
  role: 'validator' as const,
  region,
  caps: rootOf('caps'),
  slaId: rootOf('sla'),
  stakeWei: 3n * ether,
});

test('a registration is stored and announced with all its fields', async () => {
  const operator = await chain.actor(4);
  const { events } = await operator.send(registration('eu-central'));
  const common = { node: nodeOf('fields'), operator: operator.account, role: 'validator', caps: rootOf('caps'), stakeWei: 3n * ether };
  expect(events).toMatchObject([{ event: 'NodeRegistered', ...common }]);
  const time = events[0]?.time;
  expect(await chain.reader.node(nodeOf('fields'))).toEqual({ ...common, registeredAt: time, lastHeartbeat: time, active: true });
});

test('an unknown node is null', async () => {
  expect(await chain.reader.node(nodeOf('nobody'))).toBeNull();
});

test('a node key is registered once, also against another operator', async () => {
  const node = nodeOf('twice');
  await register(await chain.actor(4), node);
  expect(await refusal(register(await chain.actor(5), node))).toEqual({ error: 'NodeAlreadyRegistered', node });
});

test('the zero key, a long region and a low stake are refused', async () => {
  const operator = await chain.actor(4);
  expect(await refusal(register(operator, zeroRoot as string as NodeId))).toEqual({ error: 'InvalidNodeKey' });
  expect(await refusal(operator.send(registration('x'.repeat(65))))).toEqual({ error: 'RegionTooLong', length: 65n, maximum: 64n });
  const tooLow = { error: 'StakeTooLow', stakeWei: minStakeWei - 1n, minStakeWei };
  expect(await refusal(register(operator, nodeOf('poor'), minStakeWei - 1n))).toEqual(tooLow);
});

test('a heartbeat moves the time of the last one, for the operator of an active node only', async () => {
  const operator = await chain.actor(4);
  const node = nodeOf('beating');
  expect(await refusal(operator.send({ call: 'heartbeat', node }))).toEqual({ error: 'NodeNotRegistered', node });
  await register(operator, node);
  await chain.elapse(3600);
  await operator.send({ call: 'heartbeat', node });
  const cert = await chain.reader.node(node);
  expect((cert?.lastHeartbeat ?? 0) - (cert?.registeredAt ?? 0)).toBeGreaterThanOrEqual(3600);
  const stranger = await chain.actor(5);
  expect(await refusal(stranger.send({ call: 'heartbeat', node }))).toEqual({ error: 'NotOperator', node, caller: stranger.account });
});

test('only the owner changes the minimum stake', async () => {
  const change = { ...registry(), functionName: 'setMinStake', args: [2n * ether] } as const;
  expect(await refusal(execute(chain, 4, change))).toMatchObject({ error: 'OwnableUnauthorizedAccount' });
  await chain.reverting(async () => {
    await execute(chain, 0, change);
    expect(await refusal(register(await chain.actor(4), nodeOf('late')))).toMatchObject({ error: 'StakeTooLow', minStakeWei: 2n * ether });
  });
});

test('nobody but the slasher slashes', async () => {
  const caller = (await chain.actor(0)).account;
  const slash = { ...registry(), functionName: 'slash', args: [nodeOf('fields'), 1n, zeroRoot] } as const;
  expect(await refusal(execute(chain, 0, slash))).toEqual({ error: 'NotSlasher', caller });
});

test('slashing takes basis points, rounded down, for the receiver to withdraw, and all of them end the node', async () => {
  // A registry whose slasher is actor 6, so that every share can be tried.
  const slasher = (await chain.actor(6)).account;
  const receiver = (await chain.actor(7)).account;
  const { jobManager } = chain.info.contracts;
  const to = await create(chain, 0, { abi: nodeCertRegistryAbi, bytecode: nodeCertRegistryBytecode }, [
    slasher,
    slasher,
    jobManager,
    receiver,
    0n,
  ]);
  const contract = { to, abi: nodeCertRegistryAbi } as const;
  const client = createPublicClient({ transport: chain.transport });
  const read = async () => client.readContract({ address: to, abi: nodeCertRegistryAbi, functionName: 'nodeCert', args: [node] });
  const node = nodeOf('slashed');
  const slash = (basisPoints: bigint) =>
    execute(chain, 6, { ...contract, functionName: 'slash', args: [node, basisPoints, rootOf('reason')] });

  expect(await refusal(slash(1n))).toEqual({ error: 'NodeNotRegistered', node });
  await execute(chain, 4, { ...contract, functionName: 'registerNode', args: [node, 0, '', zeroRoot, zeroRoot] }, 10_007n);
  expect(await refusal(slash(10_001n))).toEqual({ error: 'BasisPointsTooHigh', basisPoints: 10_001n });
  await slash(1000n);
  expect(await read()).toMatchObject({ stake: 9007n, active: true });
  expect(await chain.reader.credit(receiver)).toBe(1000n);
  await slash(10_000n);
  expect(await read()).toMatchObject({ stake: 0n, active: false });
  await slash(10_000n);
  expect(await chain.reader.credit(receiver)).toBe(10_007n);
  expect(await refusal(execute(chain, 4, { ...contract, functionName: 'heartbeat', args: [node] }))).toEqual({
    error: 'NodeNotActive',
    node,
  });
  await (await chain.actor(7)).send({ call: 'withdraw' });
  expect(await chain.reader.credit(receiver)).toBe(0n);
});

test('credits given by anybody belong to the one named', async () => {
  const { account } = await chain.actor(8);
  await execute(chain, 9, { to: chain.info.contracts.jobManager, abi: aiJobManagerAbi, functionName: 'creditTo', args: [account] }, 5n);
  expect(await chain.reader.credit(account)).toBe(5n);
});

test('the capability word means the same in Solidity and in TypeScript', async () => {
  const client = createPublicClient({ transport: chain.transport });
  const operator = await chain.actor(4);
  const uint32 = fc.oneof(fc.constantFrom(0, 1, 0xffff_ffff), fc.nat(0xffff_ffff));
  const capabilities = fc.record({
    hasGPU: fc.boolean(),
    hasTEE: fc.boolean(),
    diskGB: uint32,
    bandwidthMbps: uint32,
    computeUnits: uint32,
  });
  let count = 0;
  const unpackedOnChain = async (caps: Root) => {
    const node = nodeOf(`caps ${count++}`);
    await operator.send({ call: 'registerNode', node, role: 'trainer', region: '', caps, slaId: zeroRoot, stakeWei: minStakeWei });
    return client.readContract({ address: registry().to, abi: nodeCertRegistryAbi, functionName: 'capabilitiesOf', args: [node] });
  };
  await fc.assert(
    fc.asyncProperty(capabilities, async (caps) => {
      const word = packCapabilities(caps);
      expect(unpackCapabilities(word)).toEqual(caps);
      expect(await unpackedOnChain(word)).toEqual(caps);
    }),
    { numRuns: 25 },
  );
  await fc.assert(
    fc.asyncProperty(fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }), async (bits) => {
      const word = toHex(bits, { size: 32 }) as Root;
      expect(await unpackedOnChain(word)).toEqual(unpackCapabilities(word));
    }),
    { numRuns: 25 },
  );
});

test('a capability that does not fit its bits is refused', () => {
  const caps = { hasGPU: false, hasTEE: false, diskGB: 2 ** 32, bandwidthMbps: 0, computeUnits: 0 };
  expect(() => packCapabilities(caps)).toThrow(expect.objectContaining({ code: 'FIELD_INVALID' }));
});
