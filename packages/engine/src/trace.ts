/**
 * From a jax-js function to a program. jax-js only traces and differentiates here; nothing of a program's result is ever
 * computed by it, except the constants that the function itself builds while it is traced.
 *
 * Nested `jit` is inlined, `stop_gradient` dropped, literals and captured arrays become constants, implicit type promotion
 * becomes `cast`. A primitive outside the closed list is refused by name.
 */
import { Array as JaxArray, type DType as JaxDType, makeJaxpr, numpy } from '@jax-js/jax';
import { MusterError } from '@muster/protocol';
import {
  type DType,
  dtypes,
  type NamedType,
  type ParamsOf,
  primitives,
  type PrimitiveName,
  type Program,
  type Tensor,
  type TensorData,
} from './program.ts';
import { ProgramBuilder, scalarTensor, type Value } from './trace-builder.ts';
import { simplifyProgram } from './trace-simplify.ts';
import { broadcastShapes, describeType, elementCount, maxElements, sameShape } from './shapes.ts';

/** A function over jax-js arrays, called once with placeholders. It must return one array per output name. */
export type TracedFunction = (...inputs: JaxArray[]) => JaxArray[];

// The parts of jax-js's intermediate representation that are read here.
interface Aval {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly weakType: boolean;
}
type Atom = { readonly aval: Aval } | { readonly aval: Aval; readonly value: number };
interface Equation {
  readonly primitive: string;
  readonly inputs: readonly Atom[];
  readonly params: Readonly<Record<string, unknown>>;
  readonly outBinders: readonly Atom[];
}
interface Jaxpr {
  readonly inBinders: readonly Atom[];
  readonly eqns: readonly Equation[];
  readonly outs: readonly Atom[];
}

const promotionRank: Readonly<Record<DType, number>> = { bool: 0, uint32: 1, int32: 2, float32: 3 };

/** Operations whose inputs all take the type of the output. */
const uniform: ReadonlySet<string> = new Set(
  'add mul idiv mod min max bit_combine bit_shift neg reciprocal floor ceil sin cos exp log erf sqrt reduce dot conv pool pool_transpose concatenate split transpose broadcast reshape flip shrink pad sort argsort'.split(
    ' ',
  ),
);

/** The params that a program keeps, by primitive; jax-js carries more (`uniqueIndices`), all hints to its own executor. */
const keptParams: Partial<Record<PrimitiveName, readonly string[]>> = {
  bit_combine: ['op'],
  bit_shift: ['op'],
  cast: ['dtype'],
  bitcast: ['dtype'],
  reduce: ['op', 'axis'],
  conv: ['vmapDims', 'strides', 'padding', 'lhsDilation', 'rhsDilation'],
  pool: ['window', 'strides'],
  pool_transpose: ['inShape', 'window', 'strides'],
  compare: ['op'],
  concatenate: ['axis'],
  split: ['axis', 'sizes'],
  random_bits: ['shape', 'mode'],
  gather: ['axis', 'outDim'],
  scatter: ['axis', 'outDim', 'shape', 'mode'],
  transpose: ['perm'],
  broadcast: ['shape', 'axis'],
  reshape: ['shape'],
  flip: ['axis'],
  shrink: ['slice'],
  pad: ['width'],
};

/**
 * A broadcast with more elements than a value may have, kept as `lean`, which has the same rank and extent 1 where `shape` repeats.
 * Differentiating a matrix product [m, k] · [k, n] gives one of m · k · n elements, which the product that reads it does not need.
 */
interface Stretched {
  readonly lean: Value;
  readonly shape: readonly number[];
}

class Tracing {
  readonly #program: string;
  readonly #stretched = new Map<Atom, Stretched>();
  readonly builder: ProgramBuilder;

  constructor(program: string) {
    this.#program = program;
    this.builder = new ProgramBuilder(program);
  }

  /** A captured array. One that repeats a single element is stored as a scalar and broadcast. */
  constant(tensor: Tensor): Value {
    const words = tensor.dtype === 'bool' ? tensor.data : new Uint32Array(tensor.data.buffer);
    if (words.length < 2 || words.some((word) => word !== words[0])) return this.builder.constant(tensor);
    const scalar = this.builder.constant({ dtype: tensor.dtype, shape: [], data: tensor.data.slice(0, 1) });
    return this.builder.apply('broadcast', { shape: tensor.shape, axis: tensor.shape.map((_, axis) => axis) }, scalar);
  }

  #refuse(what: string, primitive: string): never {
    throw new MusterError('PRIMITIVE_UNKNOWN', `program "${this.#program}" uses ${what}, which is outside the closed list`, {
      program: this.#program,
      primitive,
    });
  }

  #dtype(dtype: string): DType {
    const found = dtypes.find((known) => known === dtype);
    return found ?? this.#refuse(`the type ${dtype}`, dtype);
  }

  #castTo(value: Value, dtype: DType): Value {
    if (value.dtype === dtype) return value;
    const origin = this.builder.originOf(value);
    // A literal changes type here rather than in every run: same rule as `cast`.
    if (origin.kind === 'constant' && value.shape.length === 0) return this.builder.constant(castScalar(origin.tensor, dtype));
    return this.builder.apply('cast', { dtype }, value);
  }

  /** Values of `jaxpr.outs` for `inputs` in the order of `jaxpr.inBinders`. An undefined input must not be used. */
  inline(jaxpr: Jaxpr, inputs: readonly (Value | undefined)[]): Value[] {
    const values = new Map<Atom, Value>();
    jaxpr.inBinders.forEach((binder, index) => {
      const value = inputs[index];
      if (value !== undefined) values.set(binder, value);
    });
    const read = (atom: Atom): Value => {
      if ('value' in atom) return this.builder.constant(literalTensor(this.#dtype(atom.aval.dtype), atom.value));
      const value = values.get(atom);
      const large = this.#stretched.get(atom);
      if (large !== undefined) elementCount(large.shape, 'broadcast'); // throws: nothing but a product reads it
      if (value === undefined) throw new MusterError('INTERNAL', `program "${this.#program}" reads a value that tracing did not define`);
      return value;
    };
    for (const equation of jaxpr.eqns) {
      if (this.#stretch(equation, read)) continue;
      const operand = (atom: Atom): Value => (equation.primitive === 'dot' ? this.#stretched.get(atom)?.lean : undefined) ?? read(atom);
      const outputs = this.#equation(equation, equation.inputs.map(operand));
      equation.outBinders.forEach((binder, index) => values.set(binder, outputs[index] as Value));
    }
    return jaxpr.outs.map(read);
  }

  /** True for a broadcast too large for a value and what only moves its axes: noted, to be read by a product. */
  #stretch({ primitive, inputs: [atom], params, outBinders: [binder] }: Equation, read: (atom: Atom) => Value): boolean {
    if (atom === undefined || binder === undefined) return false;
    const { shape } = binder.aval;
    const known = this.#stretched.get(atom);
    if (primitive === 'broadcast' && known === undefined && countOf(shape) > maxElements) {
      const source = read(atom);
      const added = params['axis'] as readonly number[];
      let kept = 0;
      const lean = shape.map((_, axis) => (added.includes(axis) ? 1 : (source.shape[kept++] as number)));
      this.#stretched.set(binder, { shape, lean: this.builder.apply('reshape', { shape: lean }, source) });
      return true;
    }
    if (known === undefined) return false;
    if (primitive === 'transpose') {
      const perm = [...(params['perm'] as readonly number[])];
      this.#stretched.set(binder, { shape, lean: this.builder.apply('transpose', { perm }, known.lean) });
      return true;
    }
    // A reshape that drops or adds axes of extent 1.
    const [from, to] = [longOf(known.shape), longOf(shape)];
    if (
      primitive !== 'reshape' ||
      !sameShape(
        from.map((axis) => known.shape[axis] as number),
        to.map((axis) => shape[axis] as number),
      )
    ) {
      return false;
    }
    const lean = shape.map((_, axis) => (to.includes(axis) ? (known.lean.shape[from[to.indexOf(axis)] as number] as number) : 1));
    this.#stretched.set(binder, { shape, lean: this.builder.apply('reshape', { shape: lean }, known.lean) });
    return true;
  }

  #equation(equation: Equation, inputs: readonly Value[]): readonly Value[] {
    if (equation.primitive === 'jit') return this.inline(equation.params['jaxpr'] as Jaxpr, inputs);
    if (equation.primitive === 'stop_gradient') return inputs;
    const primitive =
      primitives.find((known) => known === equation.primitive) ?? this.#refuse(`the primitive ${equation.primitive}`, equation.primitive);
    for (const binder of equation.outBinders) this.#dtype(binder.aval.dtype);
    const outputs = this.builder.operation(
      primitive,
      this.#params(primitive, equation.params),
      ...this.#operands(primitive, equation, inputs),
    );
    outputs.forEach((output, index) => {
      const traced = equation.outBinders[index]?.aval;
      if (traced === undefined || !sameShape(traced.shape, output.shape) || traced.dtype !== output.dtype) {
        throw new MusterError(
          'INTERNAL',
          `program "${this.#program}": ${primitive} gives ${describeType(output)} here and another type in jax-js`,
        );
      }
    });
    return outputs;
  }

  /** `inputs` with jax-js's implicit promotion written out. */
  #operands(primitive: PrimitiveName, equation: Equation, inputs: readonly Value[]): readonly Value[] {
    if (uniform.has(primitive)) {
      const dtype = this.#dtype(equation.outBinders[0]?.aval.dtype ?? '');
      const same = inputs.map((input) => this.#castTo(input, dtype));
      return primitive === 'dot' ? this.#dotOperands(same) : same;
    }
    if (primitive === 'compare') {
      const dtype = this.#promoted(equation.inputs.map((input) => input.aval));
      return inputs.map((input) => this.#castTo(input, dtype));
    }
    if (primitive === 'where') {
      const dtype = this.#dtype(equation.outBinders[0]?.aval.dtype ?? '');
      return inputs.map((input, index) => this.#castTo(input, index === 0 ? 'bool' : dtype));
    }
    return inputs;
  }

  /** jax-js lets the summed axis of `dot` broadcast; a program does not. */
  #dotOperands(inputs: readonly Value[]): readonly Value[] {
    const last = broadcastShapes(...inputs.map((input) => input.shape)).at(-1) ?? 1;
    return inputs.map((input) => {
      if (input.shape.at(-1) === last) return input;
      const shape = input.shape.length === 0 ? [last] : [...input.shape.slice(0, -1), last];
      return this.builder.apply('broadcast', { shape, axis: input.shape.length === 0 ? [0] : [] }, input);
    });
  }

  #promoted(avals: readonly Aval[]): DType {
    const strong = avals.filter((aval) => !aval.weakType);
    const candidates = (strong.length === 0 ? avals : strong).map((aval) => this.#dtype(aval.dtype));
    const weakBeside: DType[] = strong.length > 0 && strong.length < avals.length ? ['uint32'] : [];
    return [...weakBeside, ...candidates].reduce((a, b) => (promotionRank[a] >= promotionRank[b] ? a : b));
  }

  #params<P extends PrimitiveName>(primitive: P, given: Readonly<Record<string, unknown>>): ParamsOf<P> {
    const params: Record<string, unknown> = {};
    for (const key of keptParams[primitive] ?? []) params[key] = key === 'mode' && primitive === 'scatter' ? given['op'] : given[key];
    if (primitive === 'reduce') params['op'] = String(given['op']).toLowerCase();
    if (primitive === 'scatter') params['mode'] = given['op'] === 'add' ? 'add' : 'set';
    if (primitive === 'cast' || primitive === 'bitcast') this.#dtype(String(given['dtype']));
    if (Array.isArray(params['axis']) && (primitive === 'reduce' || primitive === 'flip' || primitive === 'broadcast')) {
      params['axis'] = params['axis'].toSorted((a: number, b: number) => a - b);
    }
    return structuredCopy(params) as ParamsOf<P>; // the kept keys are those of P; `inferOutputs` checks the values
  }
}

/** Number of elements, without a limit. */
const countOf = (shape: readonly number[]): number => shape.reduce((count, extent) => count * extent, 1);

const longOf = (shape: readonly number[]): number[] => shape.flatMap((extent, axis) => (extent === 1 ? [] : [axis]));

/** A deep copy of params, so that a program never shares lists with jax-js. */
function structuredCopy(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(structuredCopy);
  if (value !== null && typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, structuredCopy(item)]));
  return value;
}

function castScalar(tensor: Tensor, dtype: DType): Tensor {
  const value = tensor.data[0] as number;
  if (tensor.dtype !== 'float32' || dtype === 'float32' || dtype === 'bool') return scalarTensor(dtype, value);
  const [minimum, maximum] = dtype === 'int32' ? [-(2 ** 31), 2 ** 31 - 1] : [0, 2 ** 32 - 1];
  return scalarTensor(dtype, Math.min(maximum, Math.max(minimum, Math.trunc(value))));
}

/** jax-js folds literals in doubles, so an integer literal may lie outside its type: it wraps as the operation would have. */
function literalTensor(dtype: DType, value: number | boolean): Tensor {
  return scalarTensor(dtype, Number(value));
}

function constantTensor(program: string, array: unknown, aval: Aval): Tensor {
  if (!(array instanceof JaxArray)) {
    throw new MusterError('INTERNAL', `program "${program}" captures a value of an outer trace`);
  }
  const data: TensorData = array.ref.dataSync() as TensorData; // float16 and float64 were refused by their type
  const dtype = aval.dtype as DType;
  return { dtype, shape: [...aval.shape], data: dtype === 'bool' ? Uint8Array.from(data, (x) => (x === 0 ? 0 : 1)) : data.slice() };
}

function usedAtoms(jaxpr: Jaxpr): ReadonlySet<Atom> {
  return new Set([...jaxpr.outs, ...jaxpr.eqns.flatMap((equation) => equation.inputs)]);
}

/**
 * The program that computes `fn` on `inputs`; its outputs take `outputNames` in order. Deterministic: the same function gives the
 * same program. Throws PRIMITIVE_UNKNOWN for a primitive or type outside the closed list (`program` and `primitive` in the
 * details) and PROGRAM_INVALID for what no program can hold (a NaN constant, a tensor beyond the limits).
 */
export function traceProgram(name: string, fn: TracedFunction, inputs: readonly NamedType[], outputNames: readonly string[]): Program {
  const placeholders = inputs.map((input) => numpy.zeros([...input.shape], { dtype: input.dtype as JaxDType }));
  const { jaxpr: closed } = makeJaxpr(fn)(...placeholders);
  for (const placeholder of placeholders) placeholder.dispose();
  const jaxpr: Jaxpr = closed.jaxpr;
  const tracing = new Tracing(name);
  const inputValues = inputs.map((input) => tracing.builder.input(input));
  const used = usedAtoms(jaxpr);
  const constants = closed.consts.map((array, index) => {
    const binder = jaxpr.inBinders[index];
    if (binder === undefined || !used.has(binder)) return undefined;
    if (!dtypes.some((known) => known === binder.aval.dtype)) {
      throw new MusterError(
        'PRIMITIVE_UNKNOWN',
        `program "${name}" holds a constant of type ${binder.aval.dtype}, which is outside the closed list`,
        {
          program: name,
          primitive: binder.aval.dtype,
        },
      );
    }
    return tracing.constant(constantTensor(name, array, binder.aval));
  });
  const outputs = tracing.inline(jaxpr, [...constants, ...inputValues]);
  if (outputs.length !== outputNames.length) {
    throw new MusterError('PROGRAM_INVALID', `program "${name}" returns ${outputs.length} arrays for ${outputNames.length} names`, {
      field: 'outputs',
    });
  }
  return simplifyProgram(tracing.builder.finish(outputs.map((value, index) => ({ name: outputNames[index] as string, value }))));
}
