/**
 * Initial parameters from the seed tree (R16): every parameter tensor has a leaf of its own, so whoever holds a subtree can draw the
 * parameters below it, and only those, to the same bits. `init` draws them all at once; docs/spec/08-jobs.md.
 */
import { type Array as JaxArray, numpy as np, random } from '@jax-js/jax';
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
import { type ParameterDefinition, unexpected, uniformLimit } from './definition.ts';

/** A value of `parameter` drawn by `key` uint32[2], which is consumed, as its `initial` says. Throws MODEL_INVALID for one that cannot be drawn. */
export function initialValue(parameter: ParameterDefinition, key: JaxArray): JaxArray {
  const shape = [...parameter.shape];
  const { initial, name } = parameter;
  const demand = (holds: boolean): void => {
    if (!holds)
      throw new MusterError('MODEL_INVALID', `parameter "${name}": no initial value is ${JSON.stringify(initial)}`, { field: name });
  };
  if (typeof initial === 'object') {
    switch (initial.kind) {
      case 'normal':
        demand(initial.std > 0 && Number.isFinite(initial.std));
        return random.normal(key, shape).mul(initial.std);
      case 'constant':
        demand(Number.isFinite(Math.fround(initial.value)));
        return np.full(shape, initial.value);
      case 'uniform':
        demand(initial.high > initial.low && Number.isFinite(Math.fround(initial.high - initial.low)));
        return random
          .uniform(key, shape)
          .mul(initial.high - initial.low)
          .add(initial.low);
      default:
        throw unexpected(initial);
    }
  }
  switch (initial) {
    case 'zeros':
      return np.zeros(shape);
    case 'ones':
      return np.ones(shape);
    case 'heUniform':
    case 'glorotUniform':
      return random
        .uniform(key, shape)
        .sub(0.5)
        .mul(2 * uniformLimit(parameter));
    default:
      throw unexpected(initial);
  }
}

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
