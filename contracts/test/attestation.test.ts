import * as fc from 'fast-check';
import type { Address, NodeId, Root } from '@muster/protocol';
import { createPublicClient, type Hex, hexToBytes, toHex, zeroAddress } from 'viem';
import { type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type NodeCaps, packCapabilities, signHardwareAttestation, signQuote, unpackCapabilities } from '@muster/adapters';
import {
  nodeCertRegistryAbi,
  signedQuoteVerifierAbi,
  signedQuoteVerifierBytecode,
} from '../../packages/adapters/src/evm/generated/index.ts';
import { compile, type CompiledContract } from '../build.ts';
import { create, ether, execute, nodeOf, refusal, register, rootOf, startTestChain, type TestChain } from './harness.ts';
import { revertOf } from './revert.ts';

let chain: TestChain;
let probe: CompiledContract;
let registry: Address;
let otherRegistry: Address;
let attester: PrivateKeyAccount;
let now: number;

const node = nodeOf('attested');
const hwHash = rootOf('hardware');
const caps = rootOf('caps');

beforeAll(async () => {
  chain = await startTestChain();
  probe = compile('test/helpers').get('AttestationProbe') as CompiledContract;
  registry = await create(chain, 0, probe, []);
  otherRegistry = await create(chain, 0, probe, []);
  attester = privateKeyToAccount(chain.keyOf(5));
  await register(await chain.actor(4), node, 60n * ether);
  now = Number((await client().getBlock()).timestamp);
});
afterAll(() => chain.close());

const client = () => createPublicClient({ transport: chain.transport, cacheTime: 0 });
const lower = (address: string): string => address.toLowerCase();

/** The signature inside `statement` with one bit of it flipped. */
function withFlippedBit(statement: Hex, bit: number): Hex {
  const bytes = hexToBytes(statement);
  const at = bytes.length - 96 + (bit >> 3);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7));
  return toHex(bytes);
}

const readHardware = (contract: Address, of: NodeId, hash: Root, attestation: Hex) =>
  client().readContract({ address: contract, abi: probe.abi, functionName: 'attesterOf', args: [of, hash, attestation] });
const hardwarePlace = () => ({ chainId: chain.info.chainId, contract: registry });
const hardwareFindings = (changes: Partial<{ node: NodeId; hwHash: Root; caps: Root; issuedAt: number; expiresAt: number }> = {}) => ({
  node,
  hwHash,
  caps,
  issuedAt: now - 10,
  expiresAt: now + 100_000,
  ...changes,
});
const attesterIn = async (contract: Address, of: NodeId, hash: Root, attestation: Hex): Promise<string> =>
  lower(String(((await readHardware(contract, of, hash, attestation)) as readonly unknown[])[0]));

/** What an attestation with these times is refused with. */
const refusedAt = async (issuedAt: number, expiresAt: number): Promise<unknown> =>
  revertOf(
    readHardware(
      registry,
      node,
      hwHash,
      await signHardwareAttestation(attester, hardwarePlace(), hardwareFindings({ issuedAt, expiresAt })),
    ),
  );

describe('an attestation of hardware', () => {
  test('names its attester and says what it found', async () => {
    const attestation = await signHardwareAttestation(attester, hardwarePlace(), hardwareFindings());
    expect(await readHardware(registry, node, hwHash, attestation)).toEqual([
      attester.address,
      caps,
      BigInt(now - 10),
      BigInt(now + 100_000),
    ]);
  });

  test('names nobody known on another chain, in another contract, for another node or other hardware', async () => {
    const here = await signHardwareAttestation(attester, hardwarePlace(), hardwareFindings());
    const elsewhere = await signHardwareAttestation(attester, { ...hardwarePlace(), chainId: 1 }, hardwareFindings());
    expect(await attesterIn(registry, node, hwHash, elsewhere)).not.toBe(lower(attester.address));
    expect(await attesterIn(otherRegistry, node, hwHash, here)).not.toBe(lower(attester.address));
    expect(await attesterIn(registry, nodeOf('another'), hwHash, here)).not.toBe(lower(attester.address));
    expect(await attesterIn(registry, node, rootOf('other hardware'), here)).not.toBe(lower(attester.address));
  });

  test('names its attester for no changed word, whatever was changed', async () => {
    const attestation = await signHardwareAttestation(attester, hardwarePlace(), hardwareFindings());
    const changed = fc.constantFrom(0, 1, 2).chain((index) => fc.tuple(fc.constant(index), fc.bigInt({ min: 1n, max: 1000n })));
    await fc.assert(
      fc.asyncProperty(changed, async ([index, by]) => {
        const value = BigInt(`0x${attestation.slice(2 + 64 * index, 66 + 64 * index)}`);
        // Times move outward, so that the statement stays current and only its signature can be wrong.
        const moved = (index === 1 ? value - by : value + by).toString(16).padStart(64, '0');
        const tampered: Hex = `0x${attestation.slice(2, 2 + 64 * index)}${moved}${attestation.slice(66 + 64 * index)}`;
        expect(await attesterIn(registry, node, hwHash, tampered)).not.toBe(lower(attester.address));
      }),
      { numRuns: 30 },
    );
  });

  test('counts from when it was issued until just before it expires', async () => {
    const time = (await client().getBlock()).timestamp;
    const future = Number(time) + 1_000_000;
    expect(await refusedAt(future, future + 1)).toMatchObject({
      error: 'AttestationNotYetValid',
      args: [BigInt(future), expect.anything()],
    });
    expect(await refusedAt(now - 10, now - 1)).toMatchObject({ error: 'AttestationExpired', args: [BigInt(now - 1), expect.anything()] });
    expect(await refusedAt(now, now)).toMatchObject({ error: 'AttestationTimesInvalid', args: [BigInt(now), BigInt(now)] });
    expect(await refusedAt(now + 1, now)).toMatchObject({ error: 'AttestationTimesInvalid' });
  });

  test('is refused where its signature is no signature or the other of the two that fit', async () => {
    const attestation = await signHardwareAttestation(attester, hardwarePlace(), hardwareFindings());
    // r beyond the curve's order.
    const wrong: Hex = `0x${attestation.slice(2, 2 + 64 * 5)}${'ff'.repeat(32)}${attestation.slice(2 + 64 * 6)}`;
    expect(await revertOf(readHardware(registry, node, hwHash, wrong))).toMatchObject({ error: 'ECDSAInvalidSignature' });
    const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
    const s = BigInt(`0x${attestation.slice(2 + 64 * 6, 2 + 64 * 7)}`);
    const v = attestation.slice(2 + 64 * 7, 4 + 64 * 7) === '1b' ? '1c' : '1b';
    const mirrored: Hex = `0x${attestation.slice(2, 2 + 64 * 6)}${(order - s).toString(16).padStart(64, '0')}${v}${attestation.slice(4 + 64 * 7)}`;
    expect(await revertOf(readHardware(registry, node, hwHash, mirrored))).toMatchObject({ error: 'ECDSAInvalidSignatureS' });
  });
});

let verifier: Address;
const measurement = rootOf('enclave');
const quoteVerifier = { abi: signedQuoteVerifierAbi, bytecode: signedQuoteVerifierBytecode } as const;

const set = (index: number, functionName: 'setService' | 'setMeasurement', what: Hex, allowed: boolean): Promise<void> =>
  execute(chain, index, { to: verifier, abi: signedQuoteVerifierAbi, functionName, args: [what, allowed] });
const quotePlace = () => ({ chainId: chain.info.chainId, contract: verifier });
const verify = (of: NodeId, quote: Hex, at: Address = verifier) =>
  client().readContract({ address: at, abi: signedQuoteVerifierAbi, functionName: 'verifyQuote', args: [of, quote] });
const quoteFindings = () => ({ node, quoteHash: rootOf('quote'), measurement, issuedAt: now - 10, expiresAt: now + 100_000 });

describe('a signed quote', () => {
  beforeAll(async () => {
    const owner = privateKeyToAccount(chain.keyOf(0)).address;
    verifier = await create(chain, 0, quoteVerifier, [owner]);
    await set(0, 'setService', attester.address, true);
    await set(0, 'setMeasurement', measurement, true);
  });

  test('by a listed service about a listed enclave is accepted', async () => {
    expect(await verify(node, await signQuote(attester, quotePlace(), quoteFindings()))).toEqual([measurement, BigInt(now + 100_000)]);
  });

  test('is refused from a service or about an enclave that is not listed, or no longer', async () => {
    const stranger = privateKeyToAccount(chain.keyOf(6));
    const strange = await revertOf(verify(node, await signQuote(stranger, quotePlace(), quoteFindings())));
    expect(strange).toEqual({ error: 'ServiceNotAllowed', args: [stranger.address] });
    const unknown = rootOf('another enclave');
    const other = await signQuote(attester, quotePlace(), { ...quoteFindings(), measurement: unknown });
    expect(await revertOf(verify(node, other))).toEqual({ error: 'MeasurementNotAllowed', args: [unknown] });

    const good = await signQuote(attester, quotePlace(), quoteFindings());
    await chain.reverting(async () => {
      await set(0, 'setMeasurement', measurement, false);
      expect(await revertOf(verify(node, good))).toEqual({ error: 'MeasurementNotAllowed', args: [measurement] });
      await set(0, 'setService', attester.address, false);
      expect(await revertOf(verify(node, good))).toEqual({ error: 'ServiceNotAllowed', args: [attester.address] });
    });
    expect(await verify(node, good)).toEqual([measurement, BigInt(now + 100_000)]);
  });

  test('is refused on another chain, in another verifier, for another node, and changed in any bit of its signature', async () => {
    const good = await signQuote(attester, quotePlace(), quoteFindings());
    const elsewhere = await signQuote(attester, { ...quotePlace(), chainId: 1 }, quoteFindings());
    expect(await revertOf(verify(node, elsewhere))).toMatchObject({ error: 'ServiceNotAllowed' });
    expect(await revertOf(verify(nodeOf('another'), good))).toMatchObject({ error: 'ServiceNotAllowed' });
    const twin = await create(chain, 0, quoteVerifier, [privateKeyToAccount(chain.keyOf(0)).address]);
    await execute(chain, 0, { to: twin, abi: signedQuoteVerifierAbi, functionName: 'setService', args: [attester.address, true] });
    await execute(chain, 0, { to: twin, abi: signedQuoteVerifierAbi, functionName: 'setMeasurement', args: [measurement, true] });
    expect(await revertOf(verify(node, good, twin))).toMatchObject({ error: 'ServiceNotAllowed' });
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 65 * 8 - 1 }), async (bit) => {
        const { error } = await revertOf(verify(node, withFlippedBit(good, bit)));
        expect(error).toMatch(/^(?:ServiceNotAllowed|ECDSAInvalidSignature|ECDSAInvalidSignatureS)$/);
      }),
      { numRuns: 40 },
    );
  });

  test('of hardware is no quote, and a quote is no attestation of hardware', async () => {
    const hardware = await signHardwareAttestation(attester, quotePlace(), {
      node,
      hwHash,
      caps: measurement,
      issuedAt: now - 10,
      expiresAt: now + 9,
    });
    await expect(verify(node, hardware)).rejects.toThrow();
    const quote = await signQuote(attester, { ...quotePlace(), contract: registry }, quoteFindings());
    const reading = client().readContract({ address: registry, abi: probe.abi, functionName: 'attesterOf', args: [node, hwHash, quote] });
    await expect(reading).rejects.toThrow();
  });

  test('expires', async () => {
    const old = await signQuote(attester, quotePlace(), { ...quoteFindings(), expiresAt: now - 1 });
    expect(await revertOf(verify(node, old))).toMatchObject({ error: 'AttestationExpired' });
    const early = await signQuote(attester, quotePlace(), { ...quoteFindings(), issuedAt: now + 1_000_000, expiresAt: now + 2_000_000 });
    expect(await revertOf(verify(node, early))).toMatchObject({ error: 'AttestationNotYetValid' });
    const backwards = await signQuote(attester, quotePlace(), { ...quoteFindings(), issuedAt: now, expiresAt: now - 1 });
    expect(await revertOf(verify(node, backwards))).toMatchObject({ error: 'AttestationTimesInvalid' });
  });

  test('is judged by lists that only the owner changes', async () => {
    const caller = lower(privateKeyToAccount(chain.keyOf(4)).address);
    const refused = { error: 'OwnableUnauthorizedAccount', account: expect.stringMatching(new RegExp(caller, 'i')) as unknown };
    expect(await refusal(set(4, 'setService', attester.address, true))).toEqual(refused);
    expect(await refusal(set(4, 'setMeasurement', measurement, true))).toEqual(refused);
  });
});

const registryAt = () => ({ to: chain.info.contracts.nodeCertRegistry, abi: nodeCertRegistryAbi }) as const;
const verifyHardware = (index: number, attestation: Hex): Promise<void> =>
  execute(chain, index, { ...registryAt(), functionName: 'verifyHardware', args: [node, hwHash, attestation] });
const verifyTee = (index: number, quote: Hex): Promise<void> =>
  execute(chain, index, { ...registryAt(), functionName: 'verifyTee', args: [node, quote] });
const setAttester = (trusted: boolean): Promise<void> =>
  execute(chain, 0, { ...registryAt(), functionName: 'setAttester', args: [attester.address, trusted] });
const capsOf = async (): Promise<NodeCaps> => {
  const known = await chain.reader.node(node);
  if (known === null) throw new Error('not registered');
  return unpackCapabilities(known.caps);
};
const foundCaps = { hasGPU: true, hasTEE: false, diskGB: 100, bandwidthMbps: 500, computeUnits: 7 };
const registryPlace = () => ({ chainId: chain.info.chainId, contract: chain.info.contracts.nodeCertRegistry });
const attested = (changes: object = {}): Promise<Hex> =>
  signHardwareAttestation(attester, registryPlace(), { ...hardwareFindings(), caps: packCapabilities(foundCaps), ...changes });

test('the registry takes the capabilities that a listed attester has found, for this node and this registry only', async () => {
  const attestation = await attested();
  expect(await refusal(verifyHardware(4, attestation))).toMatchObject({ error: 'AttesterNotTrusted' });
  await setAttester(true);
  expect(await refusal(verifyHardware(5, attestation))).toMatchObject({ error: 'NotOperator' });
  const ofAnother = await attested({ node: nodeOf('another') });
  expect(await refusal(verifyHardware(4, ofAnother))).toMatchObject({ error: 'AttesterNotTrusted' });
  const forAnother = await signHardwareAttestation(attester, { ...registryPlace(), contract: registry }, hardwareFindings());
  expect(await refusal(verifyHardware(4, forAnother))).toMatchObject({ error: 'AttesterNotTrusted' });
  await verifyHardware(4, attestation);
  expect(await capsOf()).toEqual(foundCaps);
  await setAttester(false);
  expect(await refusal(verifyHardware(4, attestation))).toMatchObject({ error: 'AttesterNotTrusted' });
});

test('the registry gives a node its TEE bit for a quote that its verifier accepts', async () => {
  const { teeVerifier } = chain.info.contracts;
  const measurement = rootOf('enclave');
  const list = (functionName: 'setService' | 'setMeasurement', what: Hex): Promise<void> =>
    execute(chain, 0, { to: teeVerifier, abi: signedQuoteVerifierAbi, functionName, args: [what, true] });
  await list('setService', attester.address);
  await list('setMeasurement', measurement);
  const findings = { node, quoteHash: rootOf('quote'), measurement, issuedAt: now - 10, expiresAt: now + 100_000 };
  const quote = await signQuote(attester, { chainId: chain.info.chainId, contract: teeVerifier }, findings);
  const judgedBy = (verifier: Address): Promise<void> =>
    execute(chain, 0, { ...registryAt(), functionName: 'setTeeVerifier', args: [verifier] });
  await judgedBy(zeroAddress as Address);
  expect(await refusal(verifyTee(4, quote))).toMatchObject({ error: 'TeeVerifierMissing' });
  await judgedBy(teeVerifier);
  await verifyTee(4, quote);
  expect((await capsOf()).hasTEE).toBe(true);
});
