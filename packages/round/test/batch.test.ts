import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type Address,
  assignmentLeaf,
  bytesToHex,
  hexToBytes,
  holderOf,
  type JobId,
  keccakOfWords,
  type NodeId,
  type Root,
  verifyKeccak,
} from '@muster/protocol';
import {
  batchAssignmentProof,
  batchCommitment,
  type BatchInput,
  batchProofHashes,
  batchSalt,
  type BatchSlotState,
  commitmentList,
  majorityRoots,
  settleBatch,
} from '@muster/round';

const job = keccakOfWords([1]) as string as JobId;
const [right, wrong] = [keccakOfWords([2]), keccakOfWords([3])];
const zero = `0x${'00'.repeat(32)}` as Root;
const operator = `0x${'0a'.repeat(20)}` as Address;
const holder = (index: number): Address => holderOf(keccakOfWords([index, 7]) as string as NodeId, operator);
const salt = (index: number): Root => batchSalt(hexToBytes(keccakOfWords([index, 8])).slice(0, 16));

/** Slot `index` of a round with three slots per task. */
function slot(index: number, root: Root | null, opens = true): BatchSlotState {
  const commitment = root === null ? null : batchCommitment(job, 4, Math.floor(index / 3), index % 3, holder(index), salt(index), root);
  return { holder: holder(index), commitment, opening: root !== null && opens ? { salt: salt(index), resultRoot: root } : null };
}
const round = (slots: readonly BatchSlotState[], changes: Partial<BatchInput> = {}): BatchInput => ({
  job,
  round: 4,
  redundancy: 3,
  taskRoots: majorityRoots(3, slots),
  slots,
  amountWei: 10n,
  forced: [],
  ...changes,
});
const proves = (root: Root, leaf: Root, path: readonly Root[]): boolean =>
  verifyKeccak(hexToBytes(root), hexToBytes(leaf), path.map(hexToBytes));

test('a slot earns if it opens the accepted root, and every slot has a proof', () => {
  const slots = [slot(0, right), slot(1, right), slot(2, wrong), slot(3, null), slot(4, right, false), slot(5, right)];
  expect(majorityRoots(3, slots)).toEqual([right, null]);
  const settled = settleBatch(round(slots));
  expect(settled).toMatchObject({ paid: 2, totalWei: 20n, commitments: 5, taskRoots: [right, zero], listedCommitments: [] });
  expect(settled.closedCommitments).toEqual(slots.slice(2).map(({ commitment }) => commitment ?? zero));
  expect(settled.packedSlots).toBe(
    `0x${slots.map(({ holder }, index) => holder.slice(2) + (index < 2 ? salt(index).slice(2, 34) : '00'.repeat(16))).join('')}`,
  );
  expect(settled.commitmentsHash).toBe(commitmentList(slots.map(({ commitment }) => commitment)).hash);
  const holders = slots.map(({ holder }) => holder);
  for (const [index, { commitment }] of slots.entries()) {
    const claim = settled.slot(index);
    expect(claim).toMatchObject({ index, holder: holder(index), commitment: commitment ?? zero, amountWei: index < 2 ? 10n : 0n });
    const leaf = keccakOfWords([index, claim.holder, claim.commitment, claim.amountWei]);
    expect(proves(settled.settlementRoot, leaf, claim.proof)).toBe(true);
    const assigned = assignmentLeaf(job, 4, Math.floor(index / 3), index % 3, holder(index));
    expect(proves(settled.assignmentRoot, assigned, batchAssignmentProof(job, 4, 3, holders, index))).toBe(true);
  }
});

test('what opens something else than the slot committed to earns nothing', () => {
  const [first, second, third] = [slot(0, right), slot(1, right), slot(2, right)];
  const copied = { ...second, opening: first.opening };
  const unsalted = { ...third, opening: { salt: zero, resultRoot: right } };
  const settled = settleBatch(round([first, copied, unsalted]));
  expect(settled).toMatchObject({ paid: 1, closedCommitments: [second.commitment, third.commitment] });
});

test('the hash of the list has what was listed where a node committed for itself', () => {
  const slots = [slot(0, right), slot(1, right), slot(2, right)];
  const listed = [slots[0]?.commitment ?? null, null, wrong];
  const settled = settleBatch(
    round(slots, {
      forced: [
        { index: 2, listed: wrong },
        { index: 1, listed: null },
      ],
    }),
  );
  expect(settled.commitmentsHash).toBe(commitmentList(listed).hash);
  expect(settled).toMatchObject({ commitments: 2, listedCommitments: [wrong, zero], paid: 3 });
});

test('salts are 16 bytes, and slots fit the tasks', () => {
  expect(() => batchSalt(new Uint8Array(32))).toThrow(/salt: expected 16 bytes, got 32/);
  expect(() => batchCommitment(job, 4, 0, 0, holder(0), right, right)).toThrow(/the last 16 bytes must be 0/);
  expect(() => settleBatch(round([slot(0, right)], { taskRoots: [right] }))).toThrow(/slots: 1 for 1 tasks of 3/);
  expect(() => settleBatch(round([slot(0, right), slot(1, right), slot(2, right)])).slot(3)).toThrow(/no leaf/);
});

test('every hash is in its batch of training proofs at its place, also by its first 20 bytes', () => {
  const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => bytesToHex(bytes) as Root);
  fc.assert(
    fc.property(fc.array(hash, { minLength: 1, maxLength: 20 }), fc.boolean(), (hashes, packed) => {
      const batch = batchProofHashes(hashes, packed);
      expect(batch.packedHashes.length).toBe(packed ? 2 + 40 * hashes.length : 2);
      for (const [index, value] of hashes.entries()) {
        const kept = packed ? (`${value.slice(0, 42)}${'00'.repeat(12)}` as Root) : value;
        expect(proves(batch.root, keccakOfWords([kept, index]), batch.proof(index))).toBe(true);
      }
    }),
  );
});
