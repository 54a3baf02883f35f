/** Random uses of every primitive, for `random-program.ts`: operands that exist or are made for it, and params that fit them. */
import type { DType, ParamsOf, PrimitiveName, Tensor, TensorType } from './program.ts';
import { Dice, extents, fill, type Mood } from './random-values.ts';
import { at, sizeOf } from './reference/layout.ts';
import { inferOutputs, sameShape } from './shapes.ts';

const maxInputElements = 2500;

/** A value under construction: where it stands among inputs, constants or operation results is settled at the end. */
export interface Draft {
  readonly tensor: Tensor;
  readonly kind: 'input' | 'constant' | 'result';
}

/** What a primitive's generator returns: operands and params, or nothing if it found no use for what is there. */
export interface Choice<P extends PrimitiveName> {
  readonly inputs: readonly Draft[];
  readonly params: ParamsOf<P>;
}

const numeric: readonly DType[] = ['float32', 'int32', 'uint32'];
const integers: readonly DType[] = ['int32', 'uint32'];
const all: readonly DType[] = ['float32', 'int32', 'uint32', 'bool'];

/** Dice, and the values made so far. */
export class Generator {
  readonly dice: Dice;
  readonly drafts: Draft[] = [];
  readonly #mood: Mood;

  constructor(seed: number) {
    this.dice = new Dice(seed);
    this.#mood = this.dice.chance(65) ? 'tame' : this.dice.chance(60) ? 'special' : 'infinite';
  }

  shape(minimumRank = 0, maximumRank = 4): number[] {
    const { dice } = this;
    const rank = dice.between(minimumRank, dice.chance(15) ? maximumRank : Math.min(maximumRank, Math.max(minimumRank, 3)));
    const shape = Array.from({ length: rank }, () => (dice.chance(2) ? 0 : dice.pick(extents)));
    while (sizeOf(shape) > maxInputElements) {
      const largest = shape.indexOf(Math.max(...shape));
      shape[largest] = Math.ceil(at(shape, largest) / 3);
    }
    return shape;
  }

  fresh(dtype: DType, shape: readonly number[], mood?: Mood, indexExtent?: number): Draft {
    const kind = this.dice.chance(15) ? 'constant' : 'input';
    const draft: Draft = { tensor: fill(this.dice, { dtype, shape: [...shape] }, mood ?? this.#mood, indexExtent), kind };
    this.drafts.push(draft);
    return draft;
  }

  /** An existing value, the latest more often, or a fresh one. */
  value(dtypes: readonly DType[], minimumRank = 0, fits: (type: TensorType) => boolean = () => true): Draft {
    const { dice } = this;
    const found = this.drafts.filter(
      ({ tensor }) => dtypes.includes(tensor.dtype) && tensor.shape.length >= minimumRank && tensor.shape.length <= 6 && fits(tensor),
    );
    if (found.length > 0 && dice.chance(75)) return dice.chance(60) ? at(found, found.length - 1) : dice.pick(found);
    let shape = this.shape(minimumRank);
    for (let tries = 0; tries < 20 && !fits({ dtype: at(dtypes, 0), shape }); tries++) shape = this.shape(minimumRank);
    return this.fresh(dice.pick(dtypes), shape);
  }

  /** A value that broadcasts with `x`: an existing one, or a fresh one with axes dropped or of extent 1, now and then one axis more. */
  partner(x: TensorType, dtype: DType = x.dtype, mood?: Mood): Draft {
    const { dice } = this;
    const withItself = dice.chance(15);
    const same = this.drafts.filter(
      ({ tensor }) => tensor.dtype === dtype && sameShape(tensor.shape, x.shape) && (withItself || tensor !== x),
    );
    if (mood === undefined && same.length > 0 && dice.chance(50)) return dice.pick(same);
    let shape = [...x.shape];
    if (dice.chance(45)) shape = shape.slice(dice.between(0, shape.length));
    if (dice.chance(40)) shape = shape.map((extent) => (dice.chance(40) ? 1 : extent));
    if (dice.chance(8) && shape.length === x.shape.length && sizeOf(shape) < 500) shape = [dice.between(1, 3), ...shape];
    return this.fresh(dtype, shape, mood);
  }

  axes(rank: number, atLeast = 0): number[] {
    const count = this.dice.between(Math.min(atLeast, rank), rank);
    return this.dice
      .shuffled(Array.from({ length: rank }, (_, a) => a))
      .slice(0, count)
      .sort((a, b) => a - b);
  }
}

export type Maker<P extends PrimitiveName> = (g: Generator) => Choice<P>;

function binary<P extends 'add' | 'mul' | 'idiv' | 'mod' | 'min' | 'max'>(dtypes: readonly DType[], mood?: Mood): Maker<P> {
  return (g) => {
    const x = g.value(dtypes);
    const y = g.partner(x.tensor, x.tensor.dtype, mood !== undefined && g.dice.chance(70) ? mood : undefined);
    // The cast says that none of these primitives takes params.
    return { inputs: mood === undefined && g.dice.chance(50) ? [y, x] : [x, y], params: {} as ParamsOf<P> };
  };
}

function unary<P extends 'neg' | 'reciprocal' | 'floor' | 'ceil' | 'sin' | 'cos' | 'exp' | 'log' | 'erf' | 'sqrt'>(
  dtypes: readonly DType[],
  mood?: Mood,
): Maker<P> {
  return (g) => {
    const x = mood !== undefined && g.dice.chance(60) ? g.fresh('float32', g.shape(), mood) : g.value(dtypes);
    return { inputs: [x], params: {} as ParamsOf<P> };
  };
}

function window(g: Generator, shape: readonly number[]): { readonly window: number[]; readonly strides: number[] } {
  const spatial = shape.slice(shape.length - g.dice.between(0, Math.min(3, shape.length)) || shape.length);
  return {
    window: spatial.map((extent) => g.dice.between(1, Math.max(1, Math.min(extent, 4)))),
    strides: spatial.map(() => g.dice.between(1, 4)),
  };
}

/** Axes, index tensors and the place of their axes for a gather from `shape`. */
function indexing(g: Generator, shape: readonly number[]): { readonly indices: Draft[]; readonly axis: number[]; readonly outDim: number } {
  const { dice } = g;
  const axis = dice.shuffled(shape.map((_, a) => a)).slice(0, dice.between(1, Math.min(shape.length, 2)));
  const indexShape = g.shape(0, 2).map((extent) => Math.min(extent, 9));
  const indices = axis.map((a, n) => {
    const own = n === 0 ? indexShape : indexShape.map((extent) => (dice.chance(50) ? 1 : extent)).slice(dice.between(0, indexShape.length));
    return g.fresh(dice.pick(integers), own, 'tame', at(shape, a));
  });
  return { indices, axis, outDim: dice.between(0, shape.length - axis.length) };
}

function resultShape(shape: readonly number[], indices: readonly Draft[], axis: readonly number[], outDim: number): number[] {
  const types = indices.map(({ tensor }) => tensor);
  const [{ shape: result }] = inferOutputs('gather', { axis, outDim }, [{ dtype: 'float32', shape }, ...types]) as [TensorType];
  return [...result];
}

/** For each primitive a random use of it; it may turn out not to be valid, for instance a window over an empty axis. */
export const makers: { readonly [P in PrimitiveName]: Maker<P> } = {
  add: binary(all),
  mul: binary(all),
  idiv: binary(numeric, 'positive'),
  mod: binary(numeric, 'positive'),
  min: binary(all),
  max: binary(all),
  bit_combine: (g) => {
    const x = g.value(['int32', 'uint32', 'bool']);
    return { inputs: [x, g.partner(x.tensor)], params: { op: g.dice.pick(['and', 'or', 'xor']) } };
  },
  bit_shift: (g) => {
    const x = g.value(integers);
    const count = g.dice.chance(80)
      ? g.fresh(x.tensor.dtype, x.tensor.shape.slice(g.dice.between(0, x.tensor.shape.length)), 'tame', 36)
      : g.partner(x.tensor);
    return { inputs: [x, count], params: { op: g.dice.pick(['shl', 'shr']) } };
  },
  neg: unary(numeric),
  reciprocal: unary(['float32']),
  floor: unary(['float32']),
  ceil: unary(['float32']),
  cast: (g) => ({ inputs: [g.value(all)], params: { dtype: g.dice.pick(all) } }),
  bitcast: (g) => ({ inputs: [g.value(numeric)], params: { dtype: g.dice.pick(numeric) } }),
  sin: unary(['float32'], 'tame'),
  cos: unary(['float32'], 'tame'),
  exp: unary(['float32']),
  log: unary(['float32'], 'positive'),
  erf: unary(['float32']),
  sqrt: unary(['float32'], 'positive'),
  reduce: (g) => {
    const op = g.dice.pick(['add', 'add', 'mul', 'min', 'max'] as const);
    const x = g.value(all);
    const axis = g.axes(x.tensor.shape.length, g.dice.chance(95) ? 1 : 0);
    const empty = axis.some((a) => x.tensor.shape[a] === 0);
    return { inputs: [x], params: { op: empty && (op === 'min' || op === 'max') ? 'add' : op, axis } };
  },
  dot: (g) => {
    const x = g.value(numeric, 1);
    const length = x.tensor.shape.at(-1) as number;
    const rows = x.tensor.shape.slice(0, -1);
    // Either the shape of a matrix product after jax-js's broadcasting, or any lead that broadcasts.
    if (g.dice.chance(60) && rows.length >= 1 && rows.length <= 2) {
      const columns = g.dice.pick(extents);
      const left = g.fresh(x.tensor.dtype, [...rows, 1, length]);
      return { inputs: [left, g.fresh(x.tensor.dtype, [columns, length])], params: {} };
    }
    const lead = rows.slice(g.dice.between(0, rows.length)).map((extent) => (g.dice.chance(30) ? 1 : extent));
    return { inputs: [x, g.fresh(x.tensor.dtype, [...lead, length])], params: {} };
  },
  conv: (g) => {
    const { dice } = g;
    const n = dice.between(1, 2);
    const vmapDims = dice.chance(25) ? 1 : 0;
    const batch = vmapDims === 1 ? [dice.between(1, 3)] : [];
    const channels = dice.between(1, 4);
    const kernel = Array.from({ length: n }, () => dice.between(1, 3));
    const lhsDilation = kernel.map(() => (dice.chance(25) ? dice.between(2, 3) : 1));
    const rhsDilation = kernel.map(() => (dice.chance(25) ? dice.between(2, 3) : 1));
    const size = kernel.map((k, i) => (k - 1) * at(rhsDilation, i) + 1 + dice.below(n === 1 ? 20 : 8));
    const x = g.fresh('float32', [...batch, dice.between(1, 3), channels, ...size]);
    const w = g.fresh('float32', [...(dice.chance(80) ? batch : batch.map(() => 1)), dice.between(1, 5), channels, ...kernel]);
    const padding = kernel.map((): [number, number] =>
      dice.chance(50) ? [dice.below(3), dice.below(3)] : dice.chance(20) ? [-1, 2] : [0, 0],
    );
    return { inputs: [x, w], params: { vmapDims, strides: kernel.map(() => dice.between(1, 3)), padding, lhsDilation, rhsDilation } };
  },
  pool: (g) => {
    const x = g.value(all, 1, ({ shape }) => shape.length <= 4);
    return { inputs: [x], params: window(g, x.tensor.shape) };
  },
  pool_transpose: (g) => {
    const inShape = g.shape(1, 3).map((extent) => Math.max(extent, 1));
    const params = { inShape, ...window(g, inShape) };
    const dtype = g.dice.pick(numeric);
    const [{ shape }] = inferOutputs('pool', { window: params.window, strides: params.strides }, [{ dtype, shape: inShape }]) as [
      TensorType,
    ];
    return { inputs: [g.fresh(dtype, shape)], params };
  },
  compare: (g) => {
    const x = g.value(all);
    return { inputs: [x, g.partner(x.tensor)], params: { op: g.dice.pick(['less', 'equal', 'not_equal', 'less_equal']) } };
  },
  where: (g) => {
    const x = g.value(all);
    return { inputs: [g.partner(x.tensor, 'bool'), x, g.partner(x.tensor)], params: {} };
  },
  concatenate: (g) => {
    const x = g.value(all, 1);
    const axis = g.dice.below(x.tensor.shape.length);
    const others = Array.from({ length: g.dice.between(0, 2) }, () =>
      g.fresh(x.tensor.dtype, x.tensor.shape.with(axis, g.dice.pick(extents) % 20)),
    );
    return { inputs: g.dice.shuffled([x, ...others]), params: { axis } };
  },
  split: (g) => {
    const x = g.value(all, 1);
    const axis = g.dice.below(x.tensor.shape.length);
    const cuts = Array.from({ length: g.dice.between(0, 3) }, () => g.dice.between(0, at(x.tensor.shape, axis))).sort((a, b) => a - b);
    const bounds = [0, ...cuts, at(x.tensor.shape, axis)];
    return { inputs: [x], params: { axis, sizes: bounds.slice(1).map((end, i) => end - at(bounds, i)) } };
  },
  random_bits: (g) => {
    const keys = g.dice.chance(60) ? [] : [g.dice.between(1, 4)];
    return {
      inputs: [g.fresh('uint32', keys, 'special'), g.fresh('uint32', keys, 'special')],
      params: { shape: [...keys, ...g.shape(0, 2)], mode: g.dice.pick(['xor', 0, 1]) },
    };
  },
  gather: (g) => {
    const x = g.value(all, 1, ({ shape }) => shape.length <= 4);
    const { indices, axis, outDim } = indexing(g, x.tensor.shape);
    return { inputs: [x, ...indices], params: { axis, outDim } };
  },
  scatter: (g) => {
    const shape = g.shape(1, 3);
    const { indices, axis, outDim } = indexing(g, shape);
    const updates = g.fresh(g.dice.pick(all), resultShape(shape, indices, axis, outDim));
    return { inputs: [updates, ...indices], params: { axis, outDim, shape, mode: g.dice.chance(70) ? 'add' : 'set' } };
  },
  transpose: (g) => {
    const x = g.value(all);
    return { inputs: [x], params: { perm: g.dice.shuffled(x.tensor.shape.map((_, a) => a)) } };
  },
  broadcast: (g) => {
    const x = g.value(all, 0, ({ shape }) => shape.length <= 4);
    const rank = x.tensor.shape.length + g.dice.between(0, 2);
    const axis = g.dice
      .shuffled(Array.from({ length: rank }, (_, a) => a))
      .slice(0, rank - x.tensor.shape.length)
      .sort((a, b) => a - b);
    let next = 0;
    const shape = Array.from({ length: rank }, (_, a) => {
      const own = axis.includes(a) ? 1 : at(x.tensor.shape, next++);
      return own === 1 && (axis.includes(a) || g.dice.chance(50)) ? g.dice.between(1, 5) : own;
    });
    return { inputs: [x], params: { shape, axis } };
  },
  reshape: (g) => {
    const x = g.value(all);
    const factors: number[] = [];
    for (let rest = sizeOf(x.tensor.shape), divisor = 2; rest > 1;) {
      if (rest % divisor === 0) {
        factors.push(divisor);
        rest /= divisor;
      } else divisor = divisor * divisor > rest ? rest : divisor + 1;
    }
    const shape = Array.from({ length: g.dice.between(1, 4) }, () => 1);
    for (const factor of factors) {
      const axis = g.dice.below(shape.length);
      shape[axis] = at(shape, axis) * factor;
    }
    return {
      inputs: [x],
      params: { shape: sizeOf(x.tensor.shape) === 0 ? [0, ...shape] : sizeOf(shape) === 1 && g.dice.chance(50) ? [] : shape },
    };
  },
  flip: (g) => {
    const x = g.value(all);
    return { inputs: [x], params: { axis: g.axes(x.tensor.shape.length) } };
  },
  shrink: (g) => {
    const x = g.value(all);
    return {
      inputs: [x],
      params: {
        slice: x.tensor.shape.map((extent): [number, number] => {
          const start = g.dice.between(0, Math.max(0, extent - 1));
          return [start, g.dice.between(start, extent)];
        }),
      },
    };
  },
  pad: (g) => {
    const x = g.value(all);
    return { inputs: [x], params: { width: x.tensor.shape.map((): [number, number] => [g.dice.below(4), g.dice.below(4)]) } };
  },
  sort: (g) => ({ inputs: [g.value(numeric, 1)], params: {} }),
  argsort: (g) => ({ inputs: [g.value(numeric, 1)], params: {} }),
};
