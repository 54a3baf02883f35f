/** What a node is, on the word of an attester or a TEE: verifyHardware and verifyTee of the registry. */
import { packCapabilities } from '@muster/adapters';
import type { NodeId, Root } from '@muster/protocol';
import * as fc from 'fast-check';
import { encodeAbiParameters, type Hex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { signHardwareAttestation, signQuote } from '../../packages/adapters/src/evm/attestation.ts';
import { accountOf, deploy, type Handle } from './handles.ts';
import { nodeOf, rootOf, startTestChain, type TestChain, zeroRoot } from './harness.ts';
import { deployed, doors, loneRegistry, loneSettings, nextTime, timeOf } from './lone.ts';

const attester = 5;
const operator = 1;
const { tiers } = loneSettings;

let chain: TestChain;
let lone: Handle;
let reputation: Handle;
let verifier: Handle;
beforeAll(async () => {
  chain = await startTestChain();
  ({ registry: lone, reputation } = await loneRegistry(chain));
  await lone.call(0, 'setAttester', [accountOf(chain, attester), true]);
  verifier = deployed(chain, 'teeVerifier');
  await verifier.call(0, 'setService', [accountOf(chain, attester), true]);
  await verifier.call(0, 'setMeasurement', [rootOf('enclave'), true]);
});
afterAll(() => chain.close());

const hwHash = rootOf('hardware');
const capsOf = (changes: object = {}): Root =>
  packCapabilities({ hasGPU: false, hasTEE: false, diskGB: 1, bandwidthMbps: 0, computeUnits: 2, ...changes });

async function register(name: string, stakeWei: bigint, caps: Root = zeroRoot): Promise<NodeId> {
  const node = nodeOf(name);
  await lone.call(operator, 'registerNode', [node, 0, '', caps, zeroRoot], stakeWei);
  return node;
}

/** The attester's statement about `node`, issued `age` seconds ago. */
async function attested(
  node: NodeId,
  caps: Root,
  { age = 10, by = attester, contract = lone.address, chainId = chain.info.chainId } = {},
): Promise<Hex> {
  const now = await timeOf(chain);
  const findings = { node, hwHash, caps, issuedAt: now - age, expiresAt: now + 100_000 };
  return signHardwareAttestation(privateKeyToAccount(chain.keyOf(by)), { chainId, contract }, findings);
}
const verify = (node: NodeId, attestation: Hex) => lone.call(operator, 'verifyHardware', [node, hwHash, attestation]);
const refused = (node: NodeId, attestation: Hex, actor = operator) => lone.refused(actor, 'verifyHardware', [node, hwHash, attestation]);
const bandwidthOf = async (node: NodeId): Promise<number> =>
  ((await reputation.read('countersOf', [node])) as { bandwidth: number }).bandwidth;

test('an attester’s word replaces the node’s own, and sets its score of bandwidth', async () => {
  const node = await register('verified', tiers.gpu);
  const caps = capsOf({ hasGPU: true, bandwidthMbps: 250 });
  const { events } = await verify(node, await attested(node, caps));
  expect(events).toEqual([{ event: 'HardwareVerified', node, hwHash, caps, attester: accountOf(chain, attester) }]);
  expect(await lone.read('nodeCert', [node])).toMatchObject({ caps, hwHash, hardwareVerified: true });
  expect(await lone.read('tierOf', [node])).toBe(2);
  expect(await bandwidthOf(node)).toBe(2_500);
});

test('the score of bandwidth grows with it and is full from a gigabit on', async () => {
  const node = await register('wired', tiers.basic);
  const mbps = fc.oneof(fc.constantFrom(0, 1, 999, 1000, 1001, 0xffff_ffff), fc.nat(2_000));
  await fc.assert(
    fc.asyncProperty(mbps, (bandwidthMbps) =>
      chain.reverting(async () => {
        await verify(node, await attested(node, capsOf({ bandwidthMbps })));
        expect(await bandwidthOf(node)).toBe(Math.min(10_000, bandwidthMbps * 10));
      }),
    ),
    { numRuns: 20 },
  );
});

test('an attestation counts for its node, its hardware, this registry and this chain only, and from an attester that is trusted', async () => {
  const node = await register('bound', tiers.basic);
  const other = await register('bound too', tiers.basic);
  const good = await attested(node, capsOf());
  const untrusted = expect.arrayContaining(['AttesterNotTrusted']) as unknown;
  expect(await refused(other, good)).toEqual(untrusted);
  expect(await refused(node, await attested(node, capsOf(), { contract: verifier.address }))).toEqual(untrusted);
  expect(await refused(node, await attested(node, capsOf(), { chainId: 1 }))).toEqual(untrusted);
  expect(await refused(node, await attested(node, capsOf(), { by: 6 }))).toEqual(['AttesterNotTrusted', accountOf(chain, 6)]);
  expect(await lone.refused(operator, 'verifyHardware', [node, rootOf('other hardware'), good])).toEqual(untrusted);
  expect(await refused(node, good, 2)).toEqual(['NotOperator', node, accountOf(chain, 2)]);
  expect(await refused(nodeOf('nobody'), good)).toEqual(['NodeNotRegistered', nodeOf('nobody')]);
  expect(await refused(node, `0x${good.slice(2, 66)}`)).toBe('reverted without a reason');
  await chain.reverting(async () => {
    await lone.call(0, 'setAttester', [accountOf(chain, attester), false]);
    expect(await refused(node, good)).toEqual(['AttesterNotTrusted', accountOf(chain, attester)]);
  });
  await verify(node, good);
});

test('an older attestation, and the same again, does not replace what a newer one says', async () => {
  const node = await register('newest', tiers.gpu);
  const [older, newer] = [await attested(node, capsOf({ hasGPU: true }), { age: 20 }), await attested(node, capsOf(), { age: 5 })];
  await verify(node, older);
  await verify(node, newer);
  for (const again of [older, newer])
    expect(await refused(node, again)).toMatchObject(['AttestationSuperseded', expect.anything(), expect.anything()]);
  expect(await lone.read('nodeCert', [node])).toMatchObject({ caps: capsOf() });
});

test('whatever an attester finds is taken where the stake is enough for it', async () => {
  const stake = fc.constantFrom(tiers.basic, tiers.gpu - 1n, tiers.gpu, tiers.tee);
  const role = fc.nat(4);
  let count = 0;
  await fc.assert(
    fc.asyncProperty(stake, role, fc.boolean(), fc.nat(0xffff_ffff), async (stakeWei, as, hasGPU, diskGB) => {
      const node = nodeOf(`found ${count++}`);
      await lone.call(operator, 'registerNode', [node, as, '', zeroRoot, zeroRoot], stakeWei);
      const caps = capsOf({ hasGPU, diskGB });
      const required = hasGPU && as === 0 ? tiers.gpu : tiers.basic;
      const attestation = await attested(node, caps);
      if (stakeWei < required) {
        expect(await refused(node, attestation)).toEqual(['StakeTooLow', stakeWei, required]);
        return;
      }
      await verify(node, attestation);
      expect(await lone.read('nodeCert', [node])).toMatchObject({ caps, stake: stakeWei, hardwareVerified: true });
    }),
    { numRuns: 40 },
  );
});

test('capabilities that need a larger stake wait for it', async () => {
  const node = await register('grown', tiers.basic);
  const attestation = await attested(node, capsOf({ hasGPU: true }));
  expect(await refused(node, attestation)).toEqual(['StakeTooLow', tiers.basic, tiers.gpu]);
  await lone.call(2, 'topUp', [node], tiers.gpu - tiers.basic);
  await verify(node, attestation);
});

/** A quote of the service about `node`, for the verifier of the chain. */
async function quoted(node: NodeId, seconds = 1_000): Promise<Hex> {
  const now = await timeOf(chain);
  const findings = { node, quoteHash: rootOf('quote'), measurement: rootOf('enclave'), issuedAt: now - 10, expiresAt: now + seconds };
  return signQuote(privateKeyToAccount(chain.keyOf(attester)), { chainId: chain.info.chainId, contract: verifier.address }, findings);
}

test('a node shows its TEE by a quote, and has the tier for as long as the quote lives', async () => {
  await chain.reverting(async () => {
    const node = await register('enclaved', tiers.tee, capsOf());
    const quote = await quoted(node);
    expect(await lone.refused(operator, 'verifyTee', [node, quote])).toEqual(['TeeVerifierMissing']);
    await lone.call(0, 'setTeeVerifier', [verifier.address]);
    expect(await lone.refused(2, 'verifyTee', [node, quote])).toEqual(['NotOperator', node, accountOf(chain, 2)]);
    expect(await lone.read('tierOf', [node])).toBe(1);
    const expiresAt = BigInt((await timeOf(chain)) + 1_000 - 1);
    const { events } = await lone.call(operator, 'verifyTee', [node, await quoted(node, 999)]);
    expect(events).toMatchObject([{ event: 'TeeVerified', node, measurement: rootOf('enclave') }]);
    expect(await lone.read('nodeCert', [node])).toMatchObject({ caps: capsOf({ hasTEE: true }), teeMeasurement: rootOf('enclave') });
    expect(await lone.read('tierOf', [node])).toBe(3);
    await chain.reverting(async () => {
      await lone.call(doors.settlement, 'slash', [node, 4, accountOf(chain, 3), accountOf(chain, 4)]);
      expect(await lone.read('tierOf', [node])).toBe(1);
    });
    // An attestation may speak of the TEE while the quote lives, and no longer.
    await verify(node, await attested(node, capsOf({ hasTEE: true })));
    const later = await attested(node, capsOf({ hasTEE: true }), { age: 0 });
    await nextTime(chain, Number(expiresAt) + 1);
    await chain.mine();
    expect(await refused(node, later)).toEqual(['TeeNeedsQuote', node]);
    expect(await lone.read('tierOf', [node])).toBe(1);
    expect(await lone.refused(operator, 'verifyTee', [node, quote])).toMatchObject([
      'AttestationExpired',
      expect.anything(),
      expect.anything(),
    ]);
  });
});

test('a TEE needs its stake, an attested TEE a quote, and neither what the verifier refuses', async () => {
  await chain.reverting(async () => {
    await lone.call(0, 'setTeeVerifier', [verifier.address]);
    const node = await register('poor enclave', tiers.tee - 1n);
    expect(await lone.refused(operator, 'verifyTee', [node, await quoted(node)])).toEqual(['StakeTooLow', tiers.tee - 1n, tiers.tee]);
    expect(await lone.refused(operator, 'verifyTee', [node, await quoted(nodeOf('another'))])).toMatchObject([
      'ServiceNotAllowed',
      expect.anything(),
    ]);
    expect(await refused(node, await attested(node, capsOf({ hasTEE: true })))).toEqual(['TeeNeedsQuote', node]);
  });
});

/** What ObedientTeeVerifier is told to say. */
const say = (expiresAt: number): Hex =>
  encodeAbiParameters([{ type: 'bytes32' }, { type: 'uint64' }], [rootOf('enclave'), BigInt(expiresAt)]);

test('a quote that the verifier says is over is over', async () => {
  const obedient = await deploy(chain, 0, 'ObedientTeeVerifier', []);
  await chain.reverting(async () => {
    await lone.call(0, 'setTeeVerifier', [obedient.address]);
    const node = await register('told', tiers.tee);
    const now = await timeOf(chain);
    for (const expiresAt of [0, now, now + 10]) {
      await nextTime(chain, now + 10);
      expect(await lone.refused(operator, 'verifyTee', [node, say(expiresAt)])).toEqual(['QuoteExpired', BigInt(expiresAt)]);
    }
    await nextTime(chain, now + 10);
    await lone.call(operator, 'verifyTee', [node, say(now + 11)]);
    expect(await lone.read('tierOf', [node])).toBe(3);
  });
}, 120_000);

test('a node that has left or been deactivated has nothing verified', async () => {
  const node = await register('gone', tiers.basic);
  await lone.call(operator, 'startUnbonding', [node]);
  await chain.elapse(loneSettings.times.unbonding);
  await lone.call(operator, 'withdrawStake', [node]);
  expect(await refused(node, await attested(node, capsOf()))).toEqual(['NodeHasLeft', node]);
  expect(await lone.refused(operator, 'verifyTee', [node, '0x'])).toEqual(['NodeHasLeft', node]);
});
