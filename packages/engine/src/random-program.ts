/**
 * Random valid programs for differential tests: every primitive and dtype, broadcasting, sizes around lane counts, unit and empty
 * axes, signed zeros, subnormals, infinities, and now and then a NaN fault. A function of the seed alone.
 *
 * The generator runs each operation through the reference rules as it goes, so that it can choose how often a program faults. It does not
 * say what the right outputs are: the test that uses it does.
 */
import { MusterError } from '@muster/protocol';
import { type Operation, primitives, type PrimitiveName, type Program, type Tensor, type TensorType } from './program.ts';
import { type Choice, type Draft, Generator, type Maker, makers } from './random-operations.ts';
import { Dice } from './random-values.ts';
import { executeOperation } from './reference/executor.ts';
import { at, sizeOf } from './reference/layout.ts';
import { inferOutputs } from './shapes.ts';

const maxOutputElements = 6000;
const maxTerms = 200_000;

interface DraftOperation {
  readonly primitive: PrimitiveName;
  readonly inputs: readonly Draft[];
  readonly params: Operation['params'];
  readonly outputs: readonly Draft[];
}

/** Multiply-adds of one operation, so that no case takes long. */
function termsOf(
  { primitive, inputs }: { readonly primitive: PrimitiveName; readonly inputs: readonly Draft[] },
  outputs: readonly TensorType[],
): number {
  const size = sizeOf(at(outputs, 0).shape);
  if (primitive === 'dot') return size * (at(inputs, 0).tensor.shape.at(-1) as number);
  if (primitive === 'conv') return size * sizeOf(at(inputs, 1).tensor.shape.slice(1));
  return size;
}

/** Operands, params and output types of one random use of `primitive`; null if it would be too large. */
function choose<P extends PrimitiveName>(
  g: Generator,
  primitive: P,
): (Choice<P> & { readonly primitive: P; readonly types: TensorType[] }) | null {
  const maker: Maker<P> = makers[primitive];
  const choice = maker(g);
  let types: TensorType[];
  try {
    types = inferOutputs(
      primitive,
      choice.params,
      choice.inputs.map(({ tensor }) => tensor),
    );
  } catch (error) {
    if (error instanceof MusterError && error.code === 'PROGRAM_INVALID') return null; // a window over an empty axis and the like
    throw error;
  }
  const tooLarge =
    types.some(({ shape }) => sizeOf(shape) > maxOutputElements || shape.length > 7) ||
    termsOf({ primitive, inputs: choice.inputs }, types) > maxTerms;
  return tooLarge ? null : { ...choice, primitive, types };
}

function assemble(
  name: string,
  drafts: readonly Draft[],
  operations: readonly DraftOperation[],
  dice: Dice,
): { readonly program: Program; readonly inputs: Tensor[] } {
  const used = new Set(operations.flatMap(({ inputs }) => inputs));
  const leaves = drafts.filter((draft) => draft.kind !== 'result' && used.has(draft));
  const given = leaves.filter(({ kind }) => kind === 'input');
  const constants = leaves.filter(({ kind }) => kind === 'constant');
  const results = operations.flatMap(({ outputs }) => outputs);
  const number = new Map([...given, ...constants, ...results].map((draft, index) => [draft, index]));
  const indexOf = (draft: Draft) => number.get(draft) as number;
  const shown = results.filter((draft) => !used.has(draft) || dice.chance(25));
  if (dice.chance(8)) shown.push(dice.pick([...given, ...constants, ...results]));
  const program: Program = {
    version: 1,
    name,
    inputs: given.map(({ tensor: { dtype, shape } }, index) => ({ name: `x${index}`, dtype, shape })),
    constants: constants.map(({ tensor }) => tensor),
    // Pairing each primitive with its own params is what `choose` did; a list cannot carry it in its type.
    operations: operations.map(
      ({ primitive, inputs, params, outputs }) =>
        ({
          primitive,
          inputs: inputs.map(indexOf),
          params,
          outputs: outputs.map(({ tensor: { dtype, shape } }) => ({ dtype, shape })),
        }) as Operation,
    ),
    outputs: shown.map((draft, index) => ({ name: `y${index}`, value: indexOf(draft) })),
  };
  return { program, inputs: given.map(({ tensor }) => tensor) };
}

/** A program and inputs that fit it. */
export interface RandomCase {
  readonly program: Program;
  readonly inputs: Tensor[];
}

function generate(seed: number, first: PrimitiveName, length: number, mayFault: boolean): RandomCase {
  const g = new Generator(seed);
  const operations: DraftOperation[] = [];
  for (let tries = 0; operations.length < length && tries < 40 + 8 * length; tries++) {
    const chosen = choose(g, operations.length === 0 ? first : g.dice.pick(primitives));
    if (chosen === null) continue;
    const operation = { primitive: chosen.primitive, inputs: [], params: chosen.params, outputs: chosen.types } as unknown as Operation;
    const results = executeOperation(
      operation,
      chosen.inputs.map(({ tensor }) => tensor),
    );
    const faults = results.some((data) => data instanceof Float32Array && data.some(Number.isNaN));
    if (faults && !mayFault) continue;
    const outputs = results.map((data, n): Draft => ({ kind: 'result', tensor: { ...at(chosen.types, n), data } }));
    operations.push({ primitive: chosen.primitive, inputs: chosen.inputs, params: chosen.params, outputs });
    if (faults) break; // nothing may read a NaN
    g.drafts.push(...outputs);
  }
  return assemble(`random_${seed < 0 ? `m${-seed}` : seed}`, g.drafts, operations, g.dice);
}

/**
 * The random program of `seed` (an integer) with inputs for it. Valid by `checkProgram`; about one in twenty runs into a NaN. The
 * first operation of seed s uses primitive s mod 40, so any 40 consecutive seeds cover the closed list.
 */
export function randomProgram(seed: number): RandomCase {
  const dice = new Dice(~seed);
  const first = at(primitives, ((seed % primitives.length) + primitives.length) % primitives.length);
  return generate(seed, first, dice.between(1, 12), dice.chance(25));
}

/** A program of the one operation `primitive`, which never runs into a NaN unless `mayFault`. */
export function randomOperation(primitive: PrimitiveName, seed: number, mayFault = false): RandomCase {
  return generate(seed + 100_003 * primitives.indexOf(primitive), primitive, 1, mayFault);
}
