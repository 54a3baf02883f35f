/** One optimizer step as a program of its own, against the formulas in double precision. */
import type { Array as JaxArray } from '@jax-js/jax';
import { type NamedType, type Program, referenceExecutor, type Tensor, traceProgram, wasmExecutor } from '@muster/engine';
import { describe, expect, test } from 'vitest';
import { slotTypes } from '@muster/models';
import { type CompleteOptimizer, optimizerSchema, optimizerStep } from '../src/optimizers.ts';
import { floats, relativeError, scalarFloat, uniforms, zerosOf } from './fixtures.ts';

const parameters: readonly NamedType[] = [
  { name: 'kernel', dtype: 'float32', shape: [3, 5] },
  { name: 'bias', dtype: 'float32', shape: [5] },
];

/** parameters, slots, gradients, rate → parameters, slots. With a number for `rate` the program ignores its input. */
function stepProgram(optimizer: CompleteOptimizer, rate: number | null): Program {
  const slots = slotTypes(optimizer, parameters);
  const gradients = parameters.map((type) => ({ ...type, name: `gradient.${type.name}` }));
  const step = (...inputs: JaxArray[]): JaxArray[] => {
    const given = inputs.slice(2, 2 + slots.length);
    const result = optimizerStep(optimizer, rate ?? (inputs.at(-1) as JaxArray), inputs.slice(0, 2), given, inputs.slice(-3, -1));
    return [...result.parameters, ...result.slots];
  };
  const outputs = [...parameters, ...slots].map(({ name }) => name);
  return traceProgram('step', step, [...parameters, ...slots, ...gradients, { name: 'rate', dtype: 'float32', shape: [] }], outputs);
}

/** The rule of one element: its parameter, gradient, two numbers of memory and the count of steps → its parameter. */
type Rule = (p: number, g: number, memory: [number, number], t: number, rate: number) => number;

function ruleOf(optimizer: CompleteOptimizer, rank: number): Rule {
  const decay = optimizer.decayed === 'all' || rank > 1 ? optimizer.weightDecay : 0;
  return (p, given, memory, t, rate) => {
    if (optimizer.kind === 'sgd') return p - rate * (given + decay * p);
    if (optimizer.kind === 'momentum' || optimizer.kind === 'nesterov') {
      const g = given + decay * p;
      memory[0] = optimizer.momentum * memory[0] + g;
      return p - rate * (optimizer.kind === 'momentum' ? memory[0] : g + optimizer.momentum * memory[0]);
    }
    const { beta1, beta2, epsilon } = optimizer;
    const g = optimizer.kind === 'adam' ? given + decay * p : given;
    const smaller = optimizer.kind === 'adamw' ? p - rate * decay * p : p;
    memory[0] = beta1 * memory[0] + (1 - beta1) * g;
    memory[1] = beta2 * memory[1] + (1 - beta2) * g * g;
    return smaller - (rate * (memory[0] / (1 - beta1 ** t))) / (Math.sqrt(memory[1] / (1 - beta2 ** t)) + epsilon);
  };
}

const moments = { beta1: 0.9, beta2: 0.99, epsilon: 1e-8 };
const kinds = [
  { kind: 'sgd' },
  { kind: 'momentum', momentum: 0.9 },
  { kind: 'nesterov', momentum: 0.9 },
  { kind: 'adam', ...moments },
  { kind: 'adamw', ...moments },
] as const;
const cases = kinds.flatMap((kind) =>
  [{ weightDecay: 0 }, { weightDecay: 0.5, decayed: 'all' }, { weightDecay: 0.5, decayed: 'matrices' }].map((decay) => {
    const optimizer = optimizerSchema({ learningRate: 0.05, ...kind, ...decay }, 'optimizer');
    return [optimizer.kind, optimizer.weightDecay, optimizer.decayed, optimizer] as const;
  }),
);

describe('an optimizer step', () => {
  test.each(cases)('of %s with weight decay %d of %s follows its formula in double precision', (_, __, ___, optimizer) => {
    const next = uniforms(17);
    const start = parameters.map((type) => floats(type, next));
    const rules = parameters.map(({ shape }) => ruleOf(optimizer, shape.length));
    const expected = start.map(({ data }) => Array.from(data));
    const memories = start.map(({ data }) => Array.from(data, (): [number, number] => [0, 0]));
    const fixed = referenceExecutor.prepare(stepProgram(optimizer, 0.05));
    const given = wasmExecutor.prepare(stepProgram(optimizer, null));
    let state: Tensor[] = [...start, ...zerosOf(slotTypes(optimizer, parameters))];
    let other = state;
    for (let t = 1; t <= 8; t++) {
      const gradients = parameters.map((type) => floats(type, next, 2));
      state = fixed.run([...state, ...gradients, scalarFloat(0)]);
      other = given.run([...other, ...gradients, scalarFloat(0.05)]);
      rules.forEach((rule, i) =>
        expected[i]?.forEach((p, j) => {
          (expected[i] as number[])[j] = rule(p, gradients[i]?.data[j] as number, memories[i]?.[j] as [number, number], t, 0.05);
        }),
      );
    }
    parameters.forEach((_type, i) => {
      expect(relativeError(state[i]?.data ?? [], expected[i] ?? [])).toBeLessThan(2e-6);
      expect(relativeError(other[i]?.data ?? [], expected[i] ?? [])).toBeLessThan(2e-6);
    });
  });

  test('leaves vectors alone where only matrices decay', () => {
    const optimizer = optimizerSchema({ kind: 'adamw', learningRate: 0.1, weightDecay: 0.5, ...moments }, 'optimizer');
    const [kernel, bias] = parameters.map((type) => floats(type, uniforms(3))) as [Tensor, Tensor];
    const still = zerosOf([...slotTypes(optimizer, parameters), ...parameters]);
    const outputs = wasmExecutor.prepare(stepProgram(optimizer, 0.1)).run([kernel, bias, ...still, scalarFloat(0)]);
    expect([...(outputs[0]?.data ?? [])]).toEqual(Array.from(kernel.data, (value) => Math.fround(value * Math.fround(0.95))));
    expect(outputs[1]?.data).toEqual(bias.data);
  });
});

const read = (kind: object): CompleteOptimizer => optimizerSchema({ learningRate: 0.1, ...kind }, 'optimizer');

describe('the optimizer of a specification', () => {
  test('has PyTorch’s defaults for what is missing', () => {
    expect(read({ kind: 'sgd' })).toEqual({ kind: 'sgd', learningRate: 0.1, weightDecay: 0, decayed: 'all' });
    expect(read({ kind: 'adamw', ...moments })).toMatchObject({ weightDecay: 0.01, decayed: 'matrices' });
    expect(read({ kind: 'adamw', ...moments, weightDecay: 0, decayed: 'all' })).toMatchObject({ weightDecay: 0, decayed: 'all' });
  });

  test('is refused by field where it is wrong', () => {
    const wrong: readonly [object, string][] = [
      [{ kind: 'lion', learningRate: 0.1 }, 'optimizer.kind'],
      [{ kind: 'sgd' }, 'optimizer.learningRate'],
      [{ kind: 'sgd', learningRate: 0.1, momentum: 0.9 }, 'optimizer.momentum'],
      [{ kind: 'nesterov', learningRate: 0.1, momentum: 1 }, 'optimizer.momentum'],
      [{ kind: 'sgd', learningRate: 0.1, weightDecay: -1 }, 'optimizer.weightDecay'],
      [{ kind: 'sgd', learningRate: 0.1, decayed: 'biases' }, 'optimizer.decayed'],
    ];
    for (const [value, field] of wrong) expect(() => optimizerSchema(value, 'optimizer')).toThrow(field);
  });

  test('keeps the same slots with and without decay', () => {
    for (const [, , , optimizer] of cases)
      expect(slotTypes(optimizer, parameters).length).toBe({ sgd: 0, momentum: 2, nesterov: 2, adam: 6, adamw: 6 }[optimizer.kind]);
  });
});
