/**
 * Seed tree: one master seed gives a seed to every shard, and a subtree can be handed over whose holder can derive exactly the
 * seeds below it.
 *
 * Derivation is SHA-256 over fixed-length inputs with a domain tag (pure packages have no AES). A seed reveals nothing about its
 * parent or siblings, assuming SHA-256 behaves as a one-way pseudorandom function of the 32-byte seed.
 */
import { MusterError } from './errors.ts';
import { sha256 } from './hash.ts';

const seedBytes = 32;
/** Largest number of leaves of a tree: shard numbers are uint32. */
export const maxSeedLeaves = 2 ** 32;

/** `fanoutᵈᵉᵖᵗʰ` leaves; depth 0 is a tree whose master seed is its one leaf. `depth`: 0 … 32, `fanout`: 2 … 65 536. */
export interface SeedTreeShape {
  readonly depth: number;
  readonly fanout: number;
}

/** The right to derive the leaves below `path`: child numbers from the root, each 0 … fanout − 1. Secret. */
export interface Subtree {
  readonly shape: SeedTreeShape;
  readonly path: readonly number[];
  readonly seed: Uint8Array;
}

/** Leaf indices `start ≤ i < end`. */
export interface LeafRange {
  readonly start: number;
  readonly end: number;
}

function invalid(field: string, message: string): MusterError {
  return new MusterError('FIELD_INVALID', `${field}: ${message}`, { field });
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

const childTag = ascii('muster/seed/child/1');
const keyTag = ascii('muster/seed/key/1');

function requireSeed(seed: Uint8Array): void {
  if (seed.length !== seedBytes) throw invalid('seed', `expected ${seedBytes} bytes, got ${seed.length}`);
}

/** Number of leaves of a tree of `shape`. Throws FIELD_INVALID for a shape outside the limits. */
export function leafCount({ depth, fanout }: SeedTreeShape): number {
  if (!Number.isInteger(depth) || depth < 0 || depth > 32) throw invalid('depth', `${depth} is not an integer from 0 to 32`);
  if (!Number.isInteger(fanout) || fanout < 2 || fanout > 65_536) throw invalid('fanout', `${fanout} is not an integer from 2 to 65536`);
  const count = fanout ** depth;
  if (count > maxSeedLeaves) throw invalid('depth', `${fanout}^${depth} leaves, at most 2^32`);
  return count;
}

/**
 * The shallowest tree of `fanout` with at least `leaves` leaves. A larger fanout makes a leaf seed cheaper (fewer hashes) and the cover
 * of a range longer (more seeds to send). Another shape gives other seeds, so a round names its shape. Throws FIELD_INVALID.
 */
export function shapeFor(leaves: number, fanout: number): SeedTreeShape {
  if (!Number.isSafeInteger(leaves) || leaves < 1 || leaves > maxSeedLeaves)
    throw invalid('leaves', `${leaves} is not an integer from 1 to 2^32`);
  let shape = { depth: 0, fanout };
  while (leafCount(shape) < leaves) shape = { depth: shape.depth + 1, fanout };
  return shape;
}

/** Seed of child `index`: SHA-256("muster/seed/child/1" ‖ parent ‖ index as 4 big-endian bytes). */
export function childSeed(parent: Uint8Array, index: number): Uint8Array {
  requireSeed(parent);
  if (!Number.isInteger(index) || index < 0 || index > 0xffffffff) throw invalid('index', `${index} is no uint32`);
  const input = new Uint8Array(childTag.length + seedBytes + 4);
  input.set(childTag, 0);
  input.set(parent, childTag.length);
  new DataView(input.buffer).setUint32(childTag.length + seedBytes, index);
  return sha256(input);
}

/** Threefry key of a seed: the first two big-endian words of SHA-256("muster/seed/key/1" ‖ seed). */
export function leafKey(seed: Uint8Array): [number, number] {
  requireSeed(seed);
  const input = new Uint8Array(keyTag.length + seedBytes);
  input.set(keyTag, 0);
  input.set(seed, keyTag.length);
  const digest = sha256(input);
  const view = new DataView(digest.buffer, digest.byteOffset, digest.byteLength);
  return [view.getUint32(0), view.getUint32(4)];
}

/** Child numbers from the root to leaf `index`, most significant first. */
function pathOf({ depth, fanout }: SeedTreeShape, index: number): number[] {
  return Array.from({ length: depth }, (_, level) => Math.floor(index / fanout ** (depth - 1 - level)) % fanout);
}

/** Leaves below `path`. Throws FIELD_INVALID for a path that leaves the tree. */
export function leafRange(shape: SeedTreeShape, path: readonly number[]): LeafRange {
  const { depth, fanout } = shape;
  leafCount(shape);
  if (path.length > depth) throw invalid('path', `${path.length} steps in a tree of depth ${depth}`);
  let start = 0;
  for (const step of path) {
    if (!Number.isInteger(step) || step < 0 || step >= fanout) throw invalid('path', `${step} is no child of ${fanout}`);
    start = start * fanout + step;
  }
  const width = fanout ** (depth - path.length);
  return { start: start * width, end: (start + 1) * width };
}

/** The subtree of `master` at `path`: what is handed to whoever works on its shards. Throws FIELD_INVALID. */
export function delegate(master: Uint8Array, shape: SeedTreeShape, path: readonly number[]): Subtree {
  requireSeed(master);
  leafRange(shape, path);
  return { shape, path: [...path], seed: path.reduce(childSeed, master.slice()) };
}

/** Seed of leaf `index`. Throws FIELD_INVALID {field: 'index'} for a leaf outside the subtree. */
export function leafSeedFromSubtree({ shape, path, seed }: Subtree, index: number): Uint8Array {
  const { start, end } = leafRange(shape, path);
  requireSeed(seed);
  if (!Number.isSafeInteger(index) || index < start || index >= end)
    throw invalid('index', `leaf ${index} is not among ${start} … ${end - 1}`);
  return pathOf(shape, index).slice(path.length).reduce(childSeed, seed.slice());
}

/** Seed of leaf `index` of the tree under `master`. Throws FIELD_INVALID. */
export function leafSeed(master: Uint8Array, shape: SeedTreeShape, index: number): Uint8Array {
  return leafSeedFromSubtree(delegate(master, shape, []), index);
}

/**
 * Paths of the fewest subtrees whose leaves are exactly `range`, in ascending order; at most 2 · depth · (fanout − 1) of them.
 * Throws FIELD_INVALID for a range outside the tree; an empty range gives none.
 */
export function coverOf(shape: SeedTreeShape, range: LeafRange): number[][] {
  const { depth, fanout } = shape;
  const count = leafCount(shape);
  const { start, end } = range;
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end > count || start > end) {
    throw invalid('range', `${start} … ${end} is no range of ${count} leaves`);
  }
  const paths: number[][] = [];
  for (let next = start; next < end;) {
    let height = 0;
    while (height < depth && next % fanout ** (height + 1) === 0 && next + fanout ** (height + 1) <= end) height++;
    paths.push(pathOf(shape, next).slice(0, depth - height));
    next += fanout ** height;
  }
  return paths;
}
