/**
 * Every external function of ProofOfCompute with arguments of every kind, drawn from its ABI: values that mean something to a job that is
 * under way, and values that mean nothing. Whatever comes, it is refused by name or keeps the books.
 */
import type { JobId } from '@muster/protocol';
import * as fc from 'fast-check';
import { type AbiFunction, type AbiParameter, encodeFunctionData, type Hex, toHex } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { requestError } from '../../packages/adapters/src/evm/contracts/errors.ts';
import { proofOfComputeAbi } from '../../packages/adapters/src/evm/generated/index.ts';
import { escrowOf, JobDriver, minStakeWei, rootOf, startTestChain, type TestChain, zeroRoot } from './harness.ts';

const right = rootOf('right');
const wrong = rootOf('wrong');
const functions = proofOfComputeAbi.filter(
  (entry): entry is Extract<(typeof proofOfComputeAbi)[number], AbiFunction> => entry.type === 'function',
);

let chain: TestChain;
let accounts: readonly Hex[];
let drivers: readonly JobDriver[];
/** Values that occur in the jobs, by type. */
const known = new Map<string, readonly unknown[]>();
beforeAll(async () => {
  chain = await startTestChain();
  accounts = await Promise.all(Array.from({ length: 12 }, async (_, index) => (await chain.actor(index)).account));
  const shape = { rounds: 2, tasks: 2, redundancy: 3, budgetWei: 12_000n };
  drivers = [await JobDriver.submit(chain, shape, 'fuzz open'), await JobDriver.submit(chain, shape, 'fuzz ended')];
  for (const driver of drivers) {
    await driver.open(0);
    for (const slot of [0, 1, 2]) await driver.commit(0, 0, slot, slot === 2 ? wrong : right);
    for (const slot of [0, 1, 2]) await driver.reveal(0, 0, slot, slot === 2 ? wrong : right);
    await driver.commit(0, 1, 0, right);
  }
  await drivers[1]?.owner.send({ call: 'cancelJob', job: drivers[1].job });
  const evidence = await Promise.all(drivers.flatMap((driver) => [driver.verdict(0, 0, right), driver.verdict(0, 0, wrong)]));
  const nodes = drivers.flatMap((driver) => driver.seats.flatMap((row) => row.map(({ node }) => node)));
  const salts = [0, 1, 2].map((slot) => drivers[0]?.saltOf(0, 0, slot));
  known.set('bytes32', [...drivers.map(({ job }) => job), ...nodes, right, wrong, ...salts, rootOf('verdict'), zeroRoot]);
  known.set('bytes32[]', drivers.map((driver) => driver.proof(0, 1, 1)).concat([[]]));
  known.set('bytes', [...evidence, '0x', `0x${'00'.repeat(64)}`]);
});
afterAll(() => chain.close());

const bytes = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength }).map((value) => toHex(value));

/** Any value of an ABI type; every second one occurs in the jobs, where such values do. */
function valueOf(parameter: AbiParameter): fc.Arbitrary<unknown> {
  const { type } = parameter;
  if (type.endsWith('[]') && !known.has(type)) return fc.array(valueOf({ ...parameter, type: type.slice(0, -2) }), { maxLength: 3 });
  if (type === 'tuple' && 'components' in parameter)
    return fc.tuple(...parameter.components.map(valueOf)).map((values) => namedBy(parameter.components, values));
  if (type === 'address') return fc.nat(11).map((index) => accounts[index]);
  if (type.startsWith('uint')) {
    const bits = Number(type.slice(4));
    const small = fc.bigInt(0n, 3n);
    return fc
      .oneof({ weight: 6, arbitrary: small }, { weight: 1, arbitrary: fc.bigInt(0n, 2n ** BigInt(bits) - 1n) })
      .map((value) => (bits > 48 ? value : Number(value)));
  }
  const random = type === 'bytes32' ? bytes(32, 32) : type === 'bytes32[]' ? fc.array(bytes(32, 32), { maxLength: 3 }) : bytes(0, 200);
  const pool = known.get(type) ?? [];
  return fc.oneof({ weight: 4, arbitrary: fc.nat(pool.length - 1).map((index) => pool[index]) }, { weight: 1, arbitrary: random });
}

const namedBy = (parameters: readonly AbiParameter[], values: readonly unknown[]): Record<string, unknown> =>
  Object.fromEntries(parameters.map(({ name }, index) => [name ?? String(index), values[index]]));

/** Sends the call; the name of the error it is refused with, or null. */
async function outcome(from: Hex, data: Hex, valueWei = 0n): Promise<string | null> {
  const call = { from, to: chain.info.contracts.proofOfCompute, data, gas: toHex(5_000_000), gasPrice: '0x0', value: toHex(valueWei) };
  try {
    await chain.request('eth_sendTransaction', [call]);
    return null;
  } catch (error) {
    return String(requestError('fuzz', error).details['error']);
  }
}

/** The contracts hold the stakes, and the escrow with all credits, to the wei. */
async function expectBalancedBooks(): Promise<void> {
  const { jobManager, nodeCertRegistry, proofOfCompute } = chain.info.contracts;
  let creditsWei = 0n;
  for (const account of accounts) creditsWei += await chain.reader.credit(account as typeof jobManager);
  let escrowWei = 0n;
  for (const { job } of drivers) {
    const found = await chain.reader.job(job);
    if (found !== null) escrowWei += escrowOf(found);
  }
  expect(await chain.reader.balance(jobManager)).toBe(escrowWei + creditsWei);
  expect(await chain.reader.balance(proofOfCompute)).toBe(0n);
  expect((await chain.reader.balance(nodeCertRegistry)) % (minStakeWei / 100n)).toBe(0n);
}

for (const entry of functions) {
  // Evidence that does not decode is refused without a name.
  const nameless = entry.inputs.some(({ type }) => type === 'bytes' || type === 'tuple[]');
  test(`${entry.name} refuses by name what it does not take, and keeps the books whatever it takes`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(11), fc.tuple(...entry.inputs.map(valueOf)), async (actor, args) => {
        const data = encodeFunctionData({ abi: [entry as AbiFunction], args });
        const from = accounts[actor] ?? '0x';
        await chain.reverting(async () => {
          const refused = await outcome(from, data);
          if (refused === null) await expectBalancedBooks();
          else expect(nameless ? ['Panic', 'Error'] : ['Panic', 'Error', 'Unknown']).not.toContain(refused);
        });
      }),
      { numRuns: 60 },
    );
  });
}

test('no function takes money', async () => {
  const job = known.get('bytes32')?.[0] as JobId;
  const args = [job, 0n, 1, 0, right, zeroRoot, []] as const;
  const data = encodeFunctionData({ abi: proofOfComputeAbi, functionName: 'commit', args });
  expect(await outcome(accounts[0] ?? '0x', data, 1n)).toBe('Unknown');
  expect(await outcome(accounts[0] ?? '0x', '0x', 1n)).toBe('Unknown');
});
