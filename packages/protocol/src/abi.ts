/**
 * The few EVM encodings that core code recomputes: `keccak256(abi.encode(…))` over static words.
 */
import { keccak256 } from './hash.ts';
import { type Address, bytesToHex, hexToBytes, type JobId, type NodeId, type Root } from './ids.ts';

/** A static ABI word: 32-byte hex, 20-byte address, or an unsigned integer. */
export type AbiWord = `0x${string}` | number | bigint;

/** `abi.encode` of static words: 32 bytes each, integers and addresses right-aligned. */
export function abiEncodeWords(words: readonly AbiWord[]): Uint8Array {
  const bytes = new Uint8Array(32 * words.length);
  for (const [index, word] of words.entries()) {
    const hex = typeof word === 'string' ? word.slice(2) : BigInt(word).toString(16);
    bytes.set(hexToBytes(`0x${hex.padStart(64, '0')}`), 32 * index);
  }
  return bytes;
}

export function keccakOfWords(words: readonly AbiWord[]): Root {
  return bytesToHex(keccak256(abiEncodeWords(words))) as Root;
}

/** Key of a round, through which everything hashed in it is bound to its job. Twin of `Digests.roundKey`. */
export const roundKey = (job: JobId, round: number): Root => keccakOfWords([job, round]);

/** Who holds a slot: a node and the account that operates it, in 20 bytes. Twin of `Digests.holder`. */
export function holderOf(node: NodeId, operator: Address): Address {
  return `0x${keccakOfWords([node, operator]).slice(26)}` as Address;
}

/** Commitment (`docs/spec/13-commit-reveal.md`): binds node, operator, slot and result, hidden by `salt` (32 secret bytes). */
export function commitmentOf(job: JobId, round: number, task: number, slot: number, holder: Address, salt: Root, resultRoot: Root): Root {
  return keccakOfWords([roundKey(job, round), task, slot, holder, salt, resultRoot]);
}

/** Leaf of the assignment tree: slot `slot` of task `task` belongs to `holder`. */
export function assignmentLeaf(job: JobId, round: number, task: number, slot: number, holder: Address): Root {
  return keccakOfWords([roundKey(job, round), task, slot, holder]);
}
