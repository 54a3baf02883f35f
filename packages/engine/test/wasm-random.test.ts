import { expect, it } from 'vitest';
import { randomProgram } from '../src/random-program.ts';
import { expectSameBits } from './wasm-support.ts';

it('a thousand random programs give the reference’s bits or its fault', () => {
  const counts = { outputs: 0, fault: 0 };
  for (let seed = 0; seed < 1000; seed++) {
    const { program, inputs } = randomProgram(seed);
    counts[expectSameBits(program, inputs, `seed ${seed}`)]++;
  }
  expect(counts.outputs).toBeGreaterThan(800);
  expect(counts.fault).toBeGreaterThan(20);
});
