/**
 * Merkle trees: SHA-256 as in RFC 9162 §2.1 for content, and keccak-256 with sorted pairs for proofs that a contract checks.
 *
 * Hashes live in flat buffers, 32 bytes each. An odd node at the end of a level moves up unchanged, which for the first kind is
 * the split at the largest power of two that the RFC writes. Not an append-only log: no consistency proofs here.
 */
import { MusterError } from './errors.ts';
import { keccak256, sha256 } from './hash.ts';

const hashBytes = 32;

/** SHA-256(0x00 ‖ bytes), 32 bytes. */
export function leafHash(bytes: Uint8Array): Uint8Array {
  const input = new Uint8Array(1 + bytes.length); // input[0] = 0x00
  input.set(bytes, 1);
  return sha256(input);
}

/** SHA-256(0x01 ‖ left ‖ right), 32 bytes. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  const input = new Uint8Array(1 + 2 * hashBytes);
  input[0] = 1;
  input.set(left, 1);
  input.set(right, 1 + hashBytes);
  return sha256(input);
}

/** Leaf hashes one after the other in one buffer, or as a list. */
export type LeafHashes = Uint8Array | readonly Uint8Array[];

/** A tree with every level kept: `levels[0]` the leaf hashes, the last one the root; 64 bytes per leaf. */
export interface MerkleTree {
  readonly size: number;
  /** Level l, flat: ⌈size / 2ˡ⌉ hashes of 32 bytes. */
  readonly levels: readonly Uint8Array[];
}

/** Where a leaf stands and the sibling hashes from it to the root, bottom first. */
export interface InclusionProof {
  readonly index: number;
  readonly size: number;
  readonly path: readonly Uint8Array[];
}

function flatten(leaves: LeafHashes): Uint8Array {
  if (!(leaves instanceof Uint8Array)) {
    const flat = new Uint8Array(leaves.length * hashBytes);
    leaves.forEach((leaf, index) => {
      requireHash(leaf, 'leafHashes');
      flat.set(leaf, index * hashBytes);
    });
    return flat;
  }
  if (leaves.length % hashBytes !== 0)
    throw new MusterError('FIELD_INVALID', `leafHashes: ${leaves.length} bytes are no whole hashes`, { field: 'leafHashes' });
  return leaves;
}

function requireHash(hash: Uint8Array, field: string): void {
  if (hash.length !== hashBytes) throw new MusterError('FIELD_INVALID', `${field}: expected 32 bytes, got ${hash.length}`, { field });
}

function requireIndex(index: number, size: number): void {
  if (!Number.isSafeInteger(index) || index < 0 || index >= size) {
    throw new MusterError('FIELD_INVALID', `index: ${index} is no leaf of ${size}`, { field: 'index', size });
  }
}

function nodeAt(level: Uint8Array, index: number): Uint8Array {
  return level.subarray(index * hashBytes, (index + 1) * hashBytes);
}

/** The level above `level`, written into `target` (which may be `level` itself); its number of nodes. */
function hashLevel(level: Uint8Array, count: number, target: Uint8Array): number {
  const pair = new Uint8Array(1 + 2 * hashBytes);
  pair[0] = 1;
  const pairs = count >> 1;
  for (let i = 0; i < pairs; i++) {
    pair.set(level.subarray(2 * i * hashBytes, (2 * i + 2) * hashBytes), 1);
    target.set(sha256(pair), i * hashBytes);
  }
  if (count % 2 === 1) target.set(nodeAt(level, count - 1), pairs * hashBytes);
  return pairs + (count % 2);
}

/** Root over `leafHashes`, 32 bytes; SHA-256 of nothing for no leaves. n leaves cost n − 1 hashes and one buffer. */
export function merkleRoot(leafHashes: LeafHashes): Uint8Array {
  const flat = flatten(leafHashes);
  if (flat.length === 0) return sha256(flat);
  const nodes = flat.slice();
  let count = nodes.length / hashBytes;
  while (count > 1) count = hashLevel(nodes, count, nodes);
  return nodes.slice(0, hashBytes);
}

/** The tree over `leafHashes` with every level, for many proofs or a search from the root down. */
export function merkleTree(leafHashes: LeafHashes): MerkleTree {
  let level = flatten(leafHashes).slice();
  const size = level.length / hashBytes;
  const levels = [level];
  for (let count = size; count > 1;) {
    const next = new Uint8Array(((count + 1) >> 1) * hashBytes);
    count = hashLevel(level, count, next);
    levels.push(next);
    level = next;
  }
  return { size, levels };
}

/** Root of `tree`, equal to `merkleRoot` of its leaves. */
export function treeRoot(tree: MerkleTree): Uint8Array {
  return tree.size === 0 ? sha256(new Uint8Array(0)) : nodeAt(tree.levels.at(-1) as Uint8Array, 0).slice();
}

/** Node `index` of level `level` (0 = leaves). Throws FIELD_INVALID. */
export function treeNode(tree: MerkleTree, level: number, index: number): Uint8Array {
  const nodes = tree.levels[level];
  if (nodes === undefined) throw new MusterError('FIELD_INVALID', `level: ${level} of ${tree.levels.length}`, { field: 'level' });
  requireIndex(index, nodes.length / hashBytes);
  return nodeAt(nodes, index).slice();
}

/** Proof that leaf `index` is in the tree over `leaves` (a tree already built saves the hashing). Throws FIELD_INVALID. */
export function inclusionProof(leaves: LeafHashes | MerkleTree, index: number): InclusionProof {
  const tree = 'levels' in leaves ? leaves : merkleTree(leaves);
  requireIndex(index, tree.size);
  const path: Uint8Array[] = [];
  let position = index;
  for (const level of tree.levels.slice(0, -1)) {
    const sibling = position ^ 1;
    if (sibling < level.length / hashBytes) path.push(nodeAt(level, sibling).slice());
    position >>= 1;
  }
  return { index, size: tree.size, path };
}

/** Whether `proof` leads from `leaf` (a leaf hash) to `root`. Never throws. Source: RFC 9162 §2.1.3.2. */
export function verifyInclusion(root: Uint8Array, leaf: Uint8Array, proof: InclusionProof): boolean {
  const { index, size, path } = proof;
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size || size > 2 ** 31) return false;
  if (root.length !== hashBytes || leaf.length !== hashBytes || path.some((hash) => hash.length !== hashBytes)) return false;
  let hash = leaf;
  let position = index;
  let last = size - 1;
  let used = 0;
  while (last > 0) {
    if (position % 2 === 1 || position < last) {
      const sibling = path[used++];
      if (sibling === undefined) return false;
      hash = position % 2 === 1 ? nodeHash(sibling, hash) : nodeHash(hash, sibling);
    }
    position >>= 1;
    last >>= 1;
  }
  return used === path.length && compareBytes(hash, root) === 0;
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < hashBytes; i++) {
    const difference = (a[i] as number) - (b[i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** keccak-256 of the two values, the smaller first: OpenZeppelin's `Hashes.commutativeKeccak256`. */
function keccakPair(a: Uint8Array, b: Uint8Array): Uint8Array {
  const pair = new Uint8Array(2 * hashBytes);
  const [low, high] = compareBytes(a, b) <= 0 ? [a, b] : [b, a];
  pair.set(low, 0);
  pair.set(high, hashBytes);
  return keccak256(pair);
}

function keccakLevels(leaves: readonly Uint8Array[]): (readonly Uint8Array[])[] {
  if (leaves.length === 0) throw new MusterError('FIELD_INVALID', 'leaves: a keccak tree needs at least one leaf', { field: 'leaves' });
  for (const leaf of leaves) requireHash(leaf, 'leaves');
  let level = leaves;
  const levels = [level];
  while (level.length > 1) {
    const below = level;
    level = Array.from({ length: (below.length + 1) >> 1 }, (_, i) => {
      const left = below[2 * i] as Uint8Array;
      const right = below[2 * i + 1];
      return right === undefined ? left : keccakPair(left, right);
    });
    levels.push(level);
  }
  return levels;
}

/**
 * Root over 32-byte leaf values in the order given, for OpenZeppelin's `MerkleProof.verify`; of one leaf, that leaf.
 * A leaf value must not be the keccak-256 of 64 bytes that a stranger chooses, or an inner node could pass for a leaf.
 * Throws FIELD_INVALID for no leaves or a leaf that is not 32 bytes.
 */
export function keccakRoot(leaves: readonly Uint8Array[]): Uint8Array {
  const [root] = keccakLevels(leaves).at(-1) as readonly [Uint8Array];
  return root.slice();
}

/** Siblings from leaf `index` to the root, bottom first. Throws FIELD_INVALID. */
export function keccakProof(leaves: readonly Uint8Array[], index: number): Uint8Array[] {
  requireIndex(index, leaves.length);
  const levels = keccakLevels(leaves);
  return levels.slice(0, -1).flatMap((level, depth) => {
    const sibling = level[(index >>> depth) ^ 1];
    return sibling === undefined ? [] : [sibling.slice()];
  });
}

/** Whether `proof` leads from `leaf` to `root`, as `MerkleProof.verify` decides it. */
export function verifyKeccak(root: Uint8Array, leaf: Uint8Array, proof: readonly Uint8Array[]): boolean {
  if (root.length !== hashBytes || leaf.length !== hashBytes || proof.some((hash) => hash.length !== hashBytes)) return false;
  return compareBytes(proof.reduce(keccakPair, leaf), root) === 0;
}
