import * as fc from 'fast-check';
import { encodeAbiParameters, type Hex, keccak256 } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JobId, Root } from '@muster/protocol';
import { batchProofHashes } from '@muster/round';
import { type BatchSeat, coordinator, owner, raiseStage, registerNodes, type Stage, submitBatched } from './batch-stage.ts';
import { accountOf, relayedBy } from './handles.ts';
import { nodeOf, rootOf, zeroRoot } from './harness.ts';

const proofType = {
  type: 'tuple',
  components: [
    { name: 'jobId', type: 'bytes32' },
    { name: 'step', type: 'uint256' },
    { name: 'lossDigest', type: 'bytes32' },
    { name: 'gradientDigest', type: 'bytes32' },
    { name: 'weightsDigest', type: 'bytes32' },
    { name: 'timestamp', type: 'uint64' },
    { name: 'nodePubkey', type: 'bytes32' },
    { name: 'signature', type: 'bytes' },
  ],
} as const;

let stage: Stage;
let seat: BatchSeat;
let other: BatchSeat;
let job: JobId;
const shape = { rounds: 2, tasks: 1, redundancy: 1, budgetWei: 10n };
beforeAll(async () => {
  stage = await raiseStage();
  [seat, other] = (await registerNodes(stage, 2)) as [BatchSeat, BatchSeat];
  job = await submitBatched(stage, shape);
});
afterAll(() => stage.chain.close());

const signature: Hex = `0x${'5a'.repeat(64)}`;
const proofOf = (step: bigint, changes: Record<string, unknown> = {}) => ({
  jobId: job as Hex,
  step,
  lossDigest: rootOf(`loss ${step}`) as Hex,
  gradientDigest: rootOf('gradient') as Hex,
  weightsDigest: rootOf('weights') as Hex,
  timestamp: 1_700_000_000_123n,
  nodePubkey: seat.node as Hex,
  signature,
  ...changes,
});
const hashOf = (proof: ReturnType<typeof proofOf>): Root => keccak256(encodeAbiParameters([proofType], [proof])) as Root;
const hashes = (count: number): Root[] => Array.from({ length: count }, (_, index) => hashOf(proofOf(BigInt(index))));

test('a proof is recorded once per job, node and step, by the operator of the node', async () => {
  const proof = proofOf(1n);
  const told = { job, node: seat.node, step: 1n, proofHash: hashOf(proof) };
  expect(await stage.log.refused(other.actor, 'recordTrainProof', [proof])).toEqual([
    'NotOperator',
    seat.node,
    accountOf(stage.chain, other.actor),
  ]);
  const { events } = await stage.log.call(seat.actor, 'recordTrainProof', [proof]);
  expect(events).toEqual([{ event: 'TrainProofRecorded', ...told }]);
  expect(await stage.log.read('recordedProof', [job, seat.node, 1n])).toBe(hashOf(proof));
  expect(await stage.log.read('isRecorded', [job, seat.node, 1n, hashOf(proof)])).toBe(true);
  expect(await stage.log.read('isRecorded', [job, seat.node, 1n, rootOf('other')])).toBe(false);
  expect(await stage.log.read('isRecorded', [job, seat.node, 2n, zeroRoot])).toBe(false);
  const changed = proofOf(1n, { lossDigest: rootOf('another loss') });
  expect(await stage.log.refused(seat.actor, 'recordTrainProof', [changed])).toEqual(['ProofAlreadyRecorded', job, seat.node, 1n]);
  await stage.log.call(seat.actor, 'recordTrainProof', [proofOf(2n)]);
});

test('a proof must be of a running job and an active node, with a signature of 64 bytes', async () => {
  const refused = (changes: Record<string, unknown>): Promise<unknown> =>
    stage.log.refused(seat.actor, 'recordTrainProof', [proofOf(9n, changes)]);
  expect(await refused({ jobId: rootOf('no job') })).toEqual(['JobUnknown', rootOf('no job')]);
  expect(await refused({ nodePubkey: nodeOf('nobody') })).toContain('NotOperator');
  expect(await refused({ signature: `0x${'5a'.repeat(63)}` })).toEqual(['ProofSignatureLength', 63n]);
  await stage.chain.reverting(async () => {
    await stage.registry.call(seat.actor, 'startUnbonding', [seat.node]);
    expect(await refused({})).toEqual(['NodeNotActive', seat.node]);
  });
  await stage.chain.reverting(async () => {
    await stage.jobs.call(owner, 'pauseJob', [job]);
    expect(await refused({})).toEqual(['JobNotRunning', job]);
    expect(await stage.log.refused(coordinator, 'recordTrainProofs', [job, 0n, rootOf('r'), 1, rootOf('c')])).toEqual([
      'JobNotRunning',
      job,
    ]);
  });
});

test('a proof that the coordinator withheld is included by its node, also when the job is over and through a relayer', async () => {
  await stage.chain.reverting(async () => {
    await stage.jobs.call(owner, 'cancelJob', [job]);
    const { events } = await stage.log.call(seat.actor, 'forceInclude', [proofOf(20n)]);
    expect(events).toEqual([{ event: 'WithheldProof', job, node: seat.node, step: 20n, proofHash: hashOf(proofOf(20n)) }]);
  });
  await relayedBy(stage.chain, stage.forwarder, 9, seat.actor, stage.log, 'forceInclude', [proofOf(21n)]);
  expect(await stage.log.read('isRecorded', [job, seat.node, 21n, hashOf(proofOf(21n))])).toBe(true);
  expect(await stage.log.refused(seat.actor, 'forceInclude', [proofOf(21n)])).toEqual(['ProofAlreadyRecorded', job, seat.node, 21n]);
  const stranger = proofOf(22n, { jobId: rootOf('no job') });
  expect(await stage.log.refused(seat.actor, 'forceInclude', [stranger])).toEqual(['JobUnknown', rootOf('no job')]);
});

test('a batch holds exactly its proofs, each at its place', async () => {
  const batch = batchProofHashes(hashes(5), false);
  const number = (await stage.log.read('batchCount', [job])) as bigint;
  const { events } = await stage.log.call(coordinator, 'recordTrainProofs', [job, 1n, batch.root, batch.count, rootOf('content')]);
  expect(events).toEqual([
    {
      event: 'TrainProofsRecorded',
      job,
      batch: number,
      round: 1n,
      root: batch.root,
      count: 5,
      contentCid: rootOf('content'),
      blobHash: zeroRoot,
    },
  ]);
  const proves = (hash: Root, index: number, path: readonly Root[]): Promise<unknown> =>
    stage.log.read('proveInBatch', [job, number, hash, index, path]);
  for (const [index, hash] of hashes(5).entries()) {
    expect(await proves(hash, index, batch.proof(index))).toBe(true);
    expect(await proves(hash, index + 1, batch.proof(index))).toBe(false);
    expect(await proves(rootOf('other'), index, batch.proof(index))).toBe(false);
  }
  await expect(proves(zeroRoot, 0, []).then(() => stage.log.read('batchOf', [job, number + 1n]))).rejects.toThrow(/BatchUnknown/);
  expect(await stage.log.read('batchOf', [job, number])).toMatchObject({ root: batch.root, round: 1n, count: 5, packed: false });
});

test('only the coordinator records batches, and none is empty', async () => {
  const [root, cid] = [rootOf('root'), rootOf('cid')];
  const notCoordinator = ['NotCoordinator', job, accountOf(stage.chain, owner)];
  expect(await stage.log.refused(owner, 'recordTrainProofs', [job, 0n, root, 1, cid])).toEqual(notCoordinator);
  expect(await stage.log.refused(owner, 'recordTrainProofsWithLeaves', [job, 0n, `0x${'11'.repeat(20)}`, cid])).toEqual(notCoordinator);
  const refused = (functionName: string, args: readonly unknown[]): Promise<unknown> => stage.log.refused(coordinator, functionName, args);
  expect(await refused('recordTrainProofs', [job, 0n, root, 0, cid])).toEqual(['ProofsMissing', job]);
  expect(await refused('recordTrainProofs', [job, 0n, zeroRoot, 1, cid])).toEqual(['ProofsMissing', job]);
  expect(await refused('recordTrainProofsWithLeaves', [job, 0n, '0x', cid])).toEqual(['ProofsMissing', job]);
  expect(await refused('recordTrainProofsWithLeaves', [job, 0n, `0x${'11'.repeat(21)}`, cid])).toEqual(['ProofHashesNotWhole', 21n]);
  expect(await refused('recordTrainProofsBlob', [job, 0n, root, 1, cid, 0n])).toEqual(['BlobMissing', 0n]);
});

test('a batch with its hashes in the transaction has the root of the twin, whatever the hashes', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => keccak256(bytes) as Root),
        { minLength: 1, maxLength: 40 },
      ),
      fc.nat(),
      async (list, chosen) => {
        const batch = batchProofHashes(list, true);
        const number = (await stage.log.read('batchCount', [job])) as bigint;
        await stage.log.call(coordinator, 'recordTrainProofsWithLeaves', [job, 0n, batch.packedHashes, rootOf('content')]);
        expect(await stage.log.read('batchOf', [job, number])).toMatchObject({ root: batch.root, count: list.length, packed: true });
        const index = chosen % list.length;
        const args = [job, number, list[index] as Root, index, batch.proof(index)];
        expect(await stage.log.read('proveInBatch', args)).toBe(true);
        expect(await stage.log.read('proveInBatch', [job, number, rootOf('not there'), index, batch.proof(index)])).toBe(false);
      },
    ),
    { numRuns: 25 },
  );
});
