import { type Array as JaxArray, numpy as np } from '@jax-js/jax';
import { type Program, type Tensor, traceProgram } from '@muster/engine';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildModelFromDefinition, type BuiltModel, gradientProgram, mambaDefinition, type MambaOptions } from '@muster/models';
import { advance, scanChunks } from '../src/families/state-space.ts';
import {
  countingTokens,
  drawn,
  expectSameBits,
  expectSameGradients,
  expectSlopes,
  initialOf,
  int32,
  runFast,
  trainOn,
} from './family-fixtures.ts';
import { key, relativeError, uniforms } from './fixtures.ts';

const tiny: MambaOptions = {
  vocabulary: 7,
  context: 8,
  layers: 2,
  width: 8,
  expansion: 2,
  headWidth: 4,
  stateWidth: 3,
  convolutionWidth: 4,
  chunk: 8,
  generationBatch: 2,
};

const training = {
  batchSize: 4,
  evaluationBatch: 4,
  optimizer: { kind: 'adam', learningRate: 0.02, beta1: 0.9, beta2: 0.99, epsilon: 1e-8 },
} as const;

const batch = countingTokens(4, tiny.context, tiny.vocabulary);

/** Values at which nothing is degenerate; rates and steps stay where the paper draws them. */
function parametersOf(options: MambaOptions, seed = 5): Tensor[] {
  const next = uniforms(seed);
  return mambaDefinition(options).parameters.map(({ name, shape }) => {
    const tensor = drawn({ name, dtype: 'float32', shape }, next, 0.5);
    const shift = name.endsWith('.step') ? -1 : name.endsWith('.decay') || name.endsWith('.scale') ? 1 : 0;
    return { ...tensor, data: tensor.data.map((value) => value + shift) };
  });
}

describe.each([8, 4, 2])('a Mamba-2 with chunks of %i positions', (chunk) => {
  const options = { ...tiny, chunk };
  let built: BuiltModel;
  beforeAll(async () => {
    built = await buildModelFromDefinition(mambaDefinition(options), training);
  });

  test('learns to count', () => {
    const { losses } = trainOn(built, batch, 60);
    expect(losses[0]).toBeGreaterThan(1.8);
    expect(losses.at(-1)).toBeLessThan(0.3);
  });

  test('gives the same bits in both executors', () => expectSameBits(built, batch));

  test('has the gradients of finite differences', () => expectSlopes(mambaDefinition(options), parametersOf(options), batch));

  test('has the same gradients in a training step', () => expectSameGradients(mambaDefinition(options), parametersOf(options), batch));

  test('never looks ahead', () => {
    const parameters = initialOf(built);
    const changed = int32(
      batch.x.shape,
      [...batch.x.data].map((token, i) => (i % 8 === 5 ? (token + 3) % 7 : token)),
    );
    const [first, second] = [batch.x, changed].map((x) => [...(runFast(built.programs.apply, [...parameters, x])[0]?.data ?? [])]);
    expect(first?.slice(0, 35)).toEqual(second?.slice(0, 35));
    expect(first?.slice(35, 56)).not.toEqual(second?.slice(35, 56));
  });
});

interface Sequence {
  readonly u: Tensor;
  readonly a: Tensor;
  readonly b: Tensor;
  readonly c: Tensor;
}

/** B = 2 sequences of T = 12 positions, H = 3 heads of width P = 4, states of width N = 5; decays between exp(−3) and 1. */
function sequence(): Sequence {
  const next = uniforms(8);
  const draw = (...shape: number[]): Tensor => drawn({ name: '', dtype: 'float32', shape }, next, 1);
  const a = draw(2, 12, 3);
  return { u: draw(2, 12, 3, 4), a: { ...a, data: a.data.map((value) => 1.5 * (value - 1)) }, b: draw(2, 12, 5), c: draw(2, 12, 5) };
}

const inputsOf = ({ u, a, b, c }: Sequence) => Object.entries({ u, a, b, c }).map(([name, { dtype, shape }]) => ({ name, dtype, shape }));

function scanProgram(given: Sequence, chunk: number): Program {
  const scan = (u: JaxArray, a: JaxArray, b: JaxArray, c: JaxArray): JaxArray[] => [
    scanChunks({ x: u, steps: np.ones(a.shape), a, b, c, chunk }),
  ];
  return traceProgram('scan', scan, inputsOf(given), ['y']);
}

/** The same by `advance`, position after position. */
const steps = (u: JaxArray, a: JaxArray, b: JaxArray, c: JaxArray): JaxArray[] => {
  let state = np.zeros([2, 3, 4, 5]);
  const results = Array.from({ length: 12 }, (_, t) => {
    const at = (x: JaxArray): JaxArray => x.ref.slice([], t);
    const after = advance(state, { u: at(u), a: at(a), b: at(b), c: at(c) });
    state = after.state;
    return after.y;
  });
  return [np.stack(results, 1)];
};

/** The recurrence in double precision, as it stands in the paper. */
function recurrence({ u, a, b, c }: Sequence): number[] {
  const y: number[] = [];
  for (let s = 0; s < 2; s++) {
    const state = new Float64Array(3 * 4 * 5);
    for (let t = 0; t < 12; t++) {
      const at = s * 12 + t;
      for (let hp = 0; hp < 12; hp++) {
        const decay = Math.exp(a.data[at * 3 + (hp >> 2)] as number);
        let sum = 0;
        for (let n = 0; n < 5; n++) {
          const i = hp * 5 + n;
          state[i] = (state[i] as number) * decay + (u.data[at * 12 + hp] as number) * (b.data[at * 5 + n] as number);
          sum += state[i] * (c.data[at * 5 + n] as number);
        }
        y.push(sum);
      }
    }
  }
  return y;
}

describe('the state-space layer', () => {
  test.each([1, 2, 3, 4, 6, 12])('in chunks of %i gives the recurrence of the paper, to 2e-6', (chunk) => {
    const given = sequence();
    const [y] = runFast(scanProgram(given, chunk), [given.u, given.a, given.b, given.c]);
    expect(relativeError(y?.data ?? [], recurrence(given))).toBeLessThan(2e-6);
  });

  test('step by step gives it too', () => {
    const given = sequence();
    const [y] = runFast(traceProgram('steps', steps, inputsOf(given), ['y']), [given.u, given.a, given.b, given.c]);
    expect(relativeError(y?.data ?? [], recurrence(given))).toBeLessThan(2e-6);
  });

  test('forgets everything at once without leaving the finite numbers', () => {
    const given = sequence();
    const harsh = { ...given, a: { ...given.a, data: given.a.data.map(() => -1e4) } };
    const [y] = runFast(scanProgram(harsh, 4), [harsh.u, harsh.a, harsh.b, harsh.c]);
    expect(relativeError(y?.data ?? [], recurrence(harsh))).toBeLessThan(2e-6);
  });
});

test('a context shorter than the convolution is one', () => {
  const options = { ...tiny, context: 2, chunk: 2 };
  expectSlopes(mambaDefinition(options), parametersOf(options), countingTokens(4, 2, 7));
});

test('parameters far out stay finite, in both directions', () => {
  const parameters = parametersOf(tiny).map((tensor) => ({ ...tensor, data: tensor.data.map((value) => 40 * value) }));
  const plain = runFast(gradientProgram(mambaDefinition(tiny), 4), [...parameters, batch.x, batch.y]);
  const trained = runFast(gradientProgram(mambaDefinition(tiny), 4, true), [...parameters, batch.x, batch.y, key]);
  for (const { data } of [...plain, ...trained]) expect([...data].every(Number.isFinite)).toBe(true);
});

test('no value is broadcast beyond the decays between the positions of a chunk', () => {
  const options = { ...tiny, vocabulary: 65, context: 64, width: 64, headWidth: 32, stateWidth: 16, chunk: 64 };
  for (const [records, chunk] of [
    [4, 64],
    [1, 64],
    [4, 32],
  ] as const) {
    const program = gradientProgram(mambaDefinition({ ...options, chunk }), records);
    const sizes = program.operations.flatMap(({ outputs }) =>
      outputs.map(({ shape }) => shape.reduce((total, extent) => total * extent, 1)),
    );
    expect(Math.max(...sizes)).toBeLessThanOrEqual(records * Math.max(4 * 64 * chunk, 64 * (2 * 128 + 2 * 16 + 4)));
  }
});
