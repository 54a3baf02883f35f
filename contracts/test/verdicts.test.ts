/** SignedVerdictVerifier: whose signature proves what, and that none counts anywhere else. */
import { keccakOfWords, plainPolicy, type Address, type JobId, type Root } from '@muster/protocol';
import type { ChainWriter, VerdictStatement } from '@muster/ports';
import * as fc from 'fast-check';
import { encodeAbiParameters, hexToBytes, toHex, type Hex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { catalogue } from '../../packages/adapters/src/evm/contracts/catalogue.ts';
import { signedVerdict } from '../../packages/adapters/src/evm/contracts/verdict.ts';
import { accountOf, type Handle, handleAt } from './handles.ts';
import { create, JobDriver, refusal, rootOf, startTestChain, type TestChain } from './harness.ts';
import { deployed } from './lone.ts';
import { offenceNames } from './registry-model.ts';
import { revertOf } from './revert.ts';

const validatorActor = 3;
const right = rootOf('right');

let chain: TestChain;
let verifier: Handle;
let job: JobId;
let otherJob: JobId;
let validator: ChainWriter;
beforeAll(async () => {
  chain = await startTestChain();
  verifier = deployed(chain, 'faultVerifier');
  validator = await chain.actor(validatorActor);
  [job, otherJob] = [await jobWith('one'), await jobWith('two')];
});
afterAll(() => chain.close());

async function jobWith(spec: string): Promise<JobId> {
  const owner = await chain.actor(1);
  const count = Number(await deployed(chain, 'jobManager').read('jobCount', [owner.account]));
  const people = { coordinator: owner.account, validator: validator.account };
  const shape = { rounds: 2, tasks: 2, redundancy: 1, budgetWei: 0n, policy: plainPolicy(2) };
  await owner.send({ call: 'submitJob', specCid: rootOf(spec), modelId: rootOf('model'), ...people, ...shape });
  const words = [chain.info.chainId, chain.info.contracts.jobManager, owner.account, count, rootOf(spec)];
  return keccakOfWords(words) as string as JobId;
}

const statement = (changes: Partial<VerdictStatement> = {}): VerdictStatement => ({
  job,
  round: 0,
  task: 1,
  resultRoot: right,
  verdictCid: rootOf('verdict'),
  offence: 'provenCheating',
  ...changes,
});
const read = (evidence: Hex, { of = job, round = 0, task = 1, by = verifier } = {}): Promise<unknown> =>
  by.read('correctRoot', [of, BigInt(round), task, evidence]);
const wrongSigner = { error: 'VerdictSignerWrong', args: expect.arrayContaining([expect.any(String)]) as unknown };

test('the validator’s verdict says what is right, what the others are guilty of, and whose word it is', async () => {
  for (const offence of ['gradientMismatch', 'invalidProof', 'fakeGradients', 'provenCheating'] as const) {
    const evidence = await validator.signVerdict(statement({ offence }));
    const expected = [right, rootOf('verdict'), offenceNames.indexOf(offence), accountOf(chain, validatorActor)];
    expect(await read(evidence)).toEqual(expected);
    expect(await chain.reader.proves(statement({ offence }), evidence)).toBe(true);
  }
});

test('a verdict counts for its job, round and task only', async () => {
  const evidence = await validator.signVerdict(statement());
  for (const elsewhere of [{ of: otherJob }, { round: 1 }, { task: 0 }])
    expect(await revertOf(read(evidence, elsewhere))).toEqual(wrongSigner);
  const unknown = rootOf('no such job') as string as JobId;
  expect(await revertOf(read(evidence, { of: unknown }))).toMatchObject({ error: '', args: [] });
});

test('a verdict counts on its chain and in its contract only', async () => {
  const account = privateKeyToAccount(chain.keyOf(validatorActor));
  const elsewhere = await signedVerdict(account, { ...chain.info, chainId: 1 }, statement());
  expect(await revertOf(read(elsewhere))).toEqual(wrongSigner);
  const { abi, bytecode } = catalogue.faultVerifier;
  const twin = handleAt(chain, await create(chain, 0, { abi, bytecode }, [chain.info.contracts.jobManager]), abi);
  const here = await validator.signVerdict(statement());
  expect(await revertOf(read(here, { by: twin }))).toEqual(wrongSigner);
  const contracts = { ...chain.info.contracts, faultVerifier: twin.address };
  const there = await signedVerdict(account, { ...chain.info, contracts }, statement());
  expect(((await read(there, { by: twin })) as readonly unknown[])[0]).toBe(right);
});

test('nobody but the job’s validator gives verdicts', async () => {
  for (const actor of [0, 1, 2, 4]) {
    const evidence = await (await chain.actor(actor)).signVerdict(statement());
    const args = [accountOf(chain, actor), accountOf(chain, validatorActor)];
    expect(await revertOf(read(evidence))).toEqual({ error: 'VerdictSignerWrong', args });
  }
});

test('offences that are not of results are none of a verdict’s', async () => {
  const account = privateKeyToAccount(chain.keyOf(validatorActor));
  for (const offence of ['missedHeartbeats', 'failedJob'] as const) {
    const evidence = await signedVerdict(account, chain.info, { ...statement(), offence: offence as never });
    expect(await revertOf(read(evidence))).toEqual({ error: 'OffenceNotOfResults', args: [offenceNames.indexOf(offence)] });
  }
  const parts = [{ type: 'bytes32' }, { type: 'bytes32' }, { type: 'uint256' }, { type: 'bytes' }] as const;
  const unheardOf = encodeAbiParameters(parts, [right, right, 6n, `0x${'11'.repeat(65)}`]);
  await expect(read(unheardOf)).rejects.toThrow();
});

test('evidence that was changed in any bit proves nothing else', async () => {
  const evidence = await validator.signVerdict(statement());
  const bytes = hexToBytes(evidence);
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: bytes.length * 8 - 1 }), async (bit) => {
      const changed = Uint8Array.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const answer = await read(toHex(changed)).catch(() => null);
      // Bits after the signature mean nothing; all others make it another statement.
      if (answer !== null) expect(answer).toEqual(await read(evidence));
    }),
    { numRuns: 150 },
  );
}, 60_000);

test('evidence that is no evidence is refused, whatever it is', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async (bytes) => {
      await expect(read(toHex(bytes))).rejects.toThrow();
    }),
    { numRuns: 60 },
  );
});

test('a verdict of one task convicts nobody in another, nor the same node twice', async () => {
  const driver = await JobDriver.submit(chain, { rounds: 1, tasks: 2, redundancy: 1, budgetWei: 20n }, 'replayed');
  await driver.open(0);
  for (const step of ['commit', 'reveal'] as const) for (const task of [0, 1]) await driver[step](0, task, 0, rootOf('wrong'));
  const evidence = await driver.verdict(0, 0, right);
  const convict = (task: number, verdictCid: Root = rootOf('verdict')) => {
    const { node } = driver.seat(task, 0);
    return driver.coordinator.send({ call: 'convict', job: driver.job, round: 0, task, slot: 0, node, verdictCid, evidence });
  };
  expect(await refusal(convict(1))).toMatchObject({ error: 'VerdictSignerWrong', validator: driver.validator.account });
  const other = { error: 'VerdictCidMismatch', verdictCid: right, evidenceCid: rootOf('verdict') };
  expect(await refusal(convict(0, right))).toEqual(other);
  await convict(0);
  expect(await refusal(convict(0))).toEqual({ error: 'AlreadyConvicted', task: 0, slot: 0 });
});

test('the domain that verdicts are signed for is public', async () => {
  const domain = (await verifier.read('eip712Domain')) as readonly unknown[];
  expect(domain.slice(1, 4)).toEqual(['Muster', '1', BigInt(chain.info.chainId)]);
  expect(String(domain[4]).toLowerCase()).toBe(verifier.address satisfies Address);
});
