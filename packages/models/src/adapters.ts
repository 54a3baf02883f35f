/**
 * Low-rank adapters (LoRA; Hu et al., 2021) on any model: the base's tensors are frozen, and each target W gets W + α/r · D · U with
 * two trained factors, D `….down` and U `….up`. U starts at zero, so an adapted model starts equal to its base.
 *
 * A target is seen as the matrix [first extent, all others]: [inputs, outputs] of a dense kernel, [outputs, inputs · places] of a
 * convolution's. Where the model declares the target in `lowRank`, its own layer adds x · D · U and no product of the target's size
 * is needed in the backward pass; elsewhere the sum W + α/r · D · U takes the place of W.
 */
import { type Array as JaxArray, numpy as np } from '@jax-js/jax';
import { type NamedType, type Program, traceProgram } from '@muster/engine';
import { cidText, type CidText, finite, type Infer, integer, list, MusterError, struct, text } from '@muster/protocol';
import type { ModelDefinition, ParameterDefinition } from './definition.ts';

/** Decoder of the adapter part of a model specification. */
export const adapterSchema = struct({
  /** r: inner extent of the factors. */
  rank: integer(1, 65_536),
  /** α; the product is multiplied by α ÷ r. */
  alpha: finite(-1e6, 1e6),
  /** Names of the base's parameters; `*` stands for any characters. */
  targets: list(text(64), 1024, 1),
  /** The tensor set of the base's parameters: the checkpoint that a job published. */
  base: cidText,
});
export type AdapterSpec = Infer<typeof adapterSchema>;
export type AdapterOptions = Omit<AdapterSpec, 'base'>;

type Parameters = Readonly<Record<string, JaxArray>>;

function invalid(message: string): MusterError {
  return new MusterError('MODEL_INVALID', `adapter: ${message}`, { field: 'adapter' });
}

/** True if `name` fits `pattern`, in which `*` stands for any characters. */
function fits(pattern: string, name: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return name === pattern;
  if (!name.startsWith(first)) return false;
  const last = rest.pop() as string;
  let at = first.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return name.length - at >= last.length && name.endsWith(last);
}

/** The base's parameters that `options` name, in their order. Throws MODEL_INVALID where one is not found or has no two axes. */
function targetsOf(base: ModelDefinition, { targets, rank, alpha }: AdapterOptions): ParameterDefinition[] {
  if (!Number.isInteger(rank) || rank < 1) throw invalid(`rank ${rank} is not a positive integer`);
  if (!(Math.abs(alpha) <= 1e6)) throw invalid(`alpha ${alpha} is out of range`);
  for (const pattern of targets) {
    if (!base.parameters.some(({ name }) => fits(pattern, name))) throw invalid(`"${pattern}" names no parameter of ${base.name}`);
  }
  const found = base.parameters.filter(({ name }) => targets.some((pattern) => fits(pattern, name)));
  for (const { name, shape } of found) if (shape.length < 2) throw invalid(`"${name}" is not a matrix`);
  if (found.length === 0) throw invalid('no targets');
  return found;
}

const matrixOf = ({ shape }: ParameterDefinition): [number, number] => [
  shape[0] as number,
  shape.slice(1).reduce((product, extent) => product * extent, 1),
];

/** The trained factors of `target`: down from ±1/√rows, as in the authors' code, up at zero. */
function factorsOf(target: ParameterDefinition, rank: number): [ParameterDefinition, ParameterDefinition] {
  const [rows, columns] = matrixOf(target);
  const limit = 1 / Math.sqrt(rows);
  return [
    { name: `${target.name}.down`, shape: [rows, rank], initial: { kind: 'uniform', low: -limit, high: limit } },
    { name: `${target.name}.up`, shape: [rank, columns], initial: 'zeros' },
  ];
}

function merged(target: ParameterDefinition, given: Parameters, scale: number): JaxArray {
  const [weights, down, up] = [target.name, `${target.name}.down`, `${target.name}.up`].map((name) => given[name]) as [
    JaxArray,
    JaxArray,
    JaxArray,
  ];
  return weights.add(np.dot(down, up.mul(scale)).reshape([...target.shape]));
}

/**
 * `base` with adapters: trained are the factors alone, frozen the base's parameters with the values that `baseValues` names. Throws
 * MODEL_INVALID for targets that are not there, a base that is itself adapted (merge it first) and options out of range.
 */
export function adaptedDefinition(base: ModelDefinition, options: AdapterOptions, baseValues: CidText): ModelDefinition {
  if (base.frozen.length > 0) throw invalid(`${base.name} has frozen tensors already`);
  const targets = targetsOf(base, options);
  const scale = options.alpha / options.rank;
  const lowRank = new Set(base.lowRank ?? []);

  /** What the base reads, from trained and frozen tensors. */
  const adapt = (given: Parameters): Parameters => {
    const result: Record<string, JaxArray> = Object.fromEntries(base.parameters.map(({ name }) => [name, given[name] as JaxArray]));
    for (const target of targets) {
      const { name } = target;
      if (!lowRank.has(name)) {
        result[name] = merged(target, given, scale);
        continue;
      }
      result[`${name}.down`] = given[`${name}.down`] as JaxArray;
      result[`${name}.up`] = (given[`${name}.up`] as JaxArray).mul(scale);
    }
    return result;
  };

  const { generation } = base;
  return {
    ...base,
    name: `${base.name}.adapted`,
    parameters: targets.flatMap((target) => factorsOf(target, options.rank)),
    frozen: base.parameters,
    frozenValues: baseValues,
    lowRank: [],
    generation:
      generation === null
        ? null
        : { cache: generation.cache, step: (given, cache, token, position) => generation.step(adapt(given), cache, token, position) },
    apply: (given, x, context) => base.apply(adapt(given), x, context),
  };
}

/**
 * The program that gives the base's parameters with the adapters merged in. Inputs: the base's parameters, then the factors in the
 * order of the adapted definition's parameters; outputs: the base's parameters. Throws as `adaptedDefinition`.
 */
export function mergeProgram(base: ModelDefinition, options: AdapterOptions): Program {
  const targets = targetsOf(base, options);
  const factors = targets.flatMap((target) => factorsOf(target, options.rank));
  const inputs = [...base.parameters, ...factors].map(({ name, shape }): NamedType => ({ name, dtype: 'float32', shape: [...shape] }));
  const scale = options.alpha / options.rank;
  const merge = (...arrays: JaxArray[]): JaxArray[] => {
    const given = Object.fromEntries(inputs.map(({ name }, index) => [name, arrays[index] as JaxArray]));
    return base.parameters.map((parameter) =>
      targets.includes(parameter) ? merged(parameter, given, scale) : (given[parameter.name] as JaxArray),
    );
  };
  return traceProgram(
    `${base.name}.merge`,
    merge,
    inputs,
    base.parameters.map(({ name }) => name),
  );
}
