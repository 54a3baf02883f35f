/**
 * Functions with a derivative of one's own. Where a step is differentiated, jax-js passes dual numbers: a value and what becomes of a
 * change of the parameters. It has no public way to say how a function changes one, so this reads its dual numbers and makes them,
 * and nothing else here knows how they look.
 *
 * What a derivative gives must be linear in the changes: the backward pass is its transpose. It is evaluated only there, and values
 * that it computes again are computed once: tracing finds them.
 */
import type { Array as JaxArray } from '@jax-js/jax';

interface Dual {
  readonly primal: JaxArray;
  readonly tangent: JaxArray;
  readonly _trace: unknown;
}

type DualConstructor = new (trace: unknown, primal: JaxArray, tangent: JaxArray) => JaxArray;

const dualOf = (x: JaxArray): Dual | null => ('tangent' in x ? (x as unknown as Dual) : null);

/**
 * `value` of `inputs`, whose derivative is `change`: of the inputs and a change of each, null for one that is constant, the change of
 * the value, or null for none. Both consume what they are given; so does this.
 */
export function withDerivative<const Inputs extends readonly JaxArray[]>(
  inputs: Inputs,
  value: (inputs: Inputs) => JaxArray,
  change: (inputs: Inputs, changes: { readonly [I in keyof Inputs]: JaxArray | null }) => JaxArray | null,
): JaxArray {
  const duals = inputs.map(dualOf);
  const [dual] = duals.filter((found) => found !== null);
  if (dual === undefined) return value(inputs);
  const plain = (): Inputs => inputs.map((x, i) => (duals[i] ?? { primal: x }).primal.ref) as unknown as Inputs;
  const changes = duals.map((found) => found?.tangent.ref ?? null) as unknown as { readonly [I in keyof Inputs]: JaxArray | null };
  const result = value(plain());
  const changed = change(plain(), changes);
  for (const x of inputs) x.dispose();
  if (changed === null) return result;
  const { _trace: trace } = dual;
  return new (dual.constructor as DualConstructor)(trace, result, changed);
}

/** The sum of the changes that are some. */
export function sumOfChanges(changes: readonly (JaxArray | null)[]): JaxArray | null {
  return changes.reduce((sum, change) => (sum === null || change === null ? (sum ?? change) : sum.add(change)), null);
}
