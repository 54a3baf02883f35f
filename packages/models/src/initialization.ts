/**
 * Initial parameters from the seed tree (R16): every parameter tensor has a leaf of its own, so whoever holds a subtree can draw the
 * parameters below it, and only those, to the same bits. `init` draws them all at once; docs/spec/08-jobs.md.
 */
import { type Program, simplifyProgram, type Tensor } from '@muster/engine';
import {
  delegate,
  type LeafRange,
  leafKey,
  leafRange,
  leafSeedFromSubtree,
  MusterError,
  type SeedTreeShape,
  shapeFor,
  type Subtree,
} from '@muster/protocol';

/** Children of every node of a job's seed tree. */
export const seedTreeFanout = 16;

/** The tree of a model with `count` parameter tensors: fanout 16, the least depth with enough leaves. Leaf i is parameter i's. */
export function initialTree(count: number): SeedTreeShape {
  return shapeFor(count, seedTreeFanout);
}

/** Input `keys` of `init` for the job seed (32 bytes): uint32 [count, 2]. */
export function initialKeys(seed: Uint8Array, count: number): Tensor {
  return delegatedKeys(delegate(seed, initialTree(count), []), count).keys;
}

/**
 * Input `keys` of `init` as far as `subtree` gives it: rows of parameters outside `range` are 0. Throws FIELD_INVALID unless the
 * subtree is one of the tree of `count` parameters and holds one of them.
 */
export function delegatedKeys(subtree: Subtree, count: number): { readonly keys: Tensor; readonly range: LeafRange } {
  const { depth, fanout } = initialTree(count);
  if (subtree.shape.depth !== depth || subtree.shape.fanout !== fanout) {
    throw new MusterError('FIELD_INVALID', `shape: a tree of ${count} parameters has depth ${depth} and fanout ${fanout}`, {
      field: 'shape',
    });
  }
  const { start, end: last } = leafRange(subtree.shape, subtree.path);
  const end = Math.min(last, count);
  if (start >= end) throw new MusterError('FIELD_INVALID', `path: no parameter below it, leaves from ${start} on`, { field: 'path' });
  const data = new Uint32Array(2 * count);
  for (let index = start; index < end; index++) data.set(leafKey(leafSeedFromSubtree(subtree, index)), 2 * index);
  return { keys: { dtype: 'uint32', shape: [count, 2], data }, range: { start, end } };
}

/** The part of the program `init` that draws the parameters of `range`: the same inputs, those outputs, the same bits. */
export function partialInit(init: Program, { start, end }: LeafRange): Program {
  return simplifyProgram({ ...init, outputs: init.outputs.slice(start, end) });
}
