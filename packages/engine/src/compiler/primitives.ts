/**
 * How each primitive that is not element-wise is planned: as a new view of its input, or as kernel calls.
 */
import { MusterError } from '@muster/protocol';
import type { ParamsOf, PrimitiveName, TensorType } from '../program.ts';
import { broadcastShapes } from '../shapes.ts';
import { convInstructions } from './conv.ts';
import type { Instruction } from './instruction.ts';
import {
  concatenateInstructions,
  gatherInstructions,
  padInstructions,
  poolTransposeInstructions,
  randomInstruction,
  scatterInstructions,
  sortInstruction,
} from './movement.ts';
import { dotPlan, productInstruction } from './product.ts';
import { reduceInstruction } from './reduce.ts';
import * as views from './view.ts';
import type { Buffer, View } from './view.ts';

/** What planning a primitive may ask for. */
export interface Planner {
  /** A fresh dense tensor. */
  readonly dense: (type: TensorType) => View;
  /** The same elements in row-major order, copied if need be. */
  readonly densify: (view: View, operation: number) => View;
  readonly buffer: (bytes: number) => Buffer;
  readonly push: (...instructions: readonly Instruction[]) => void;
}

interface Site {
  readonly inputs: readonly View[];
  /** Types of the results. */
  readonly types: readonly TensorType[];
  /** Index in the program. */
  readonly operation: number;
  readonly planner: Planner;
}

/** Views of the results; `x` is the first input, `type` the type of the first result. */
type Rule<P extends PrimitiveName> = (site: Site, params: ParamsOf<P>, x: View, type: TensorType) => View[];

const sort: Rule<'sort' | 'argsort'> = ({ types, operation, planner }, _, x, type) => {
  const dense = planner.densify(x, operation);
  const scratch = planner.buffer(16 * (x.shape.at(-1) ?? 1));
  return types.map((result, position) => {
    const out = planner.dense({ dtype: position === 0 ? type.dtype : result.dtype, shape: result.shape });
    planner.push(sortInstruction(dense, out, position === 1, scratch, operation));
    return out;
  });
};

/** Index tensors, dense and of one shape, and scratch for an offset at each position. */
function denseIndices({ inputs, operation, planner }: Site): readonly [View[], Buffer] {
  const indices = inputs.slice(1);
  const shape = broadcastShapes(...indices.map((index) => index.shape));
  return [indices.map((index) => planner.densify(views.broadcastTo(index, shape), operation)), planner.buffer(4 * views.sizeOf(shape))];
}

const rules: { readonly [P in PrimitiveName]?: Rule<P> } = {
  transpose: (_, { perm }, x) => [views.transposeView(x, perm)],
  broadcast: (_, { shape, axis }, x) => [views.broadcastView(x, shape, axis)],
  flip: (_, { axis }, x) => [views.flipView(x, axis)],
  shrink: (_, { slice }, x) => [views.shrinkView(x, slice)],
  pool: (_, { window, strides }, x, type) => [views.poolView(x, type.shape, window.length, strides)],
  // Element-wise casts and bitcasts do not come here: these keep the bits.
  cast: (_, params, x) => [{ ...x, dtype: params.dtype }],
  bitcast: (_, params, x) => [{ ...x, dtype: params.dtype }],
  reshape: ({ operation, planner }, { shape }, x) => {
    const view = views.reshapeView(x, shape);
    return [view ?? { ...planner.densify(x, operation), shape, strides: views.denseStrides(shape) }];
  },
  split: (_, { axis, sizes }, x) => {
    let start = 0;
    return sizes.map((size) => {
      const from = start;
      start += size;
      return views.shrinkView(
        x,
        x.shape.map((extent, a) => (a === axis ? [from, from + size] : [0, extent])),
      );
    });
  },
  dot: ({ inputs, operation, planner }, _, x, type) => {
    const y = inputs[1] as View;
    const out = planner.dense(type);
    const axes = [...type.shape, x.shape.at(-1) ?? 1];
    planner.push(productInstruction(dotPlan(views.broadcastTo(x, axes), views.broadcastTo(y, axes), out), operation));
    return [out];
  },
  conv: ({ inputs, operation, planner }, params, x, type) => {
    const w = inputs[1] as View;
    const out = planner.dense(type);
    planner.push(...convInstructions({ x, w, out, params, operation, planner }));
    return [out];
  },
  reduce: ({ operation, planner }, params, x, type) => {
    const out = planner.dense(type);
    planner.push(reduceInstruction(x, out, params, operation));
    return [out];
  },
  pad: ({ operation, planner }, { width }, x, type) => {
    const out = planner.dense(type);
    const start = width.map(([before]) => before);
    const steps = width.map(() => 1);
    planner.push(...padInstructions(x, out, start, steps, operation));
    return [out];
  },
  concatenate: ({ inputs, operation, planner }, { axis }, _, type) => {
    const out = planner.dense(type);
    planner.push(...concatenateInstructions(inputs, out, axis, operation));
    return [out];
  },
  pool_transpose: ({ operation, planner }, params, x, type) => {
    const out = planner.dense(type);
    planner.push(...poolTransposeInstructions(planner.densify(x, operation), out, params, operation));
    return [out];
  },
  gather: (site, params, x, type) => {
    const { operation, planner } = site;
    const out = planner.dense(type);
    const [indices, offsets] = denseIndices(site);
    planner.push(...gatherInstructions(x, indices, out, params, offsets, operation));
    return [out];
  },
  scatter: (site, params, x, type) => {
    const { operation, planner } = site;
    const out = planner.dense(type);
    const [indices, offsets] = denseIndices(site);
    planner.push(...scatterInstructions(planner.densify(x, operation), indices, out, params, offsets, operation));
    return [out];
  },
  random_bits: ({ inputs, operation, planner }, { mode }, x, type) => {
    const out = planner.dense(type);
    const second = inputs[1] as View;
    planner.push(randomInstruction(planner.densify(x, operation), planner.densify(second, operation), out, mode, operation));
    return [out];
  },
  sort,
  argsort: sort,
};

/** Plans one operation that is not element-wise; returns where its results lie. */
export function lowerPrimitive<P extends PrimitiveName>(primitive: P, params: ParamsOf<P>, site: Site): View[] {
  const rule: Rule<P> | undefined = rules[primitive];
  const [x] = site.inputs;
  const [type] = site.types;
  if (rule === undefined || x === undefined || type === undefined)
    throw new MusterError('INTERNAL', `no plan for ${primitive}`, { operation: site.operation });
  return rule(site, params, x, type);
}
