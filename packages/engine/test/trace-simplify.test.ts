import { MusterError } from '@muster/protocol';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Program, ProgramBuilder, referenceExecutor, simplifyProgram, type Tensor } from '@muster/engine';
import { bitsOfAll, programs, tensorFor } from './trace-arbitrary.ts';

function run(program: Program, inputs: readonly Tensor[]): readonly unknown[] | undefined {
  try {
    return bitsOfAll(referenceExecutor.prepare(program).run(inputs));
  } catch (error) {
    if (error instanceof MusterError && error.code === 'NUMERIC_FAULT') return undefined;
    throw error;
  }
}

test('a simplified program gives the same bits with no more operations', () => {
  fc.assert(
    fc.property(programs, fc.nat(), (program, seed) => {
      const inputs = program.inputs.map((input, i) => tensorFor(input, seed + i));
      const expected = run(program, inputs);
      fc.pre(expected !== undefined);
      const simple = simplifyProgram(program);
      expect(simple.inputs).toEqual(program.inputs);
      expect(run(simple, inputs)).toEqual(expected);
    }),
    { numRuns: 400 },
  );
});

test('simplifying twice changes nothing more', () => {
  fc.assert(
    fc.property(programs, (program) => {
      const once = simplifyProgram(program);
      expect(simplifyProgram(once)).toEqual(once);
    }),
    { numRuns: 100 },
  );
});

test('a product of which the transpose is also used is computed once', () => {
  const builder = new ProgramBuilder('both');
  const a = builder.input({ name: 'a', dtype: 'float32', shape: [4, 1, 3] });
  const b = builder.input({ name: 'b', dtype: 'float32', shape: [1, 5, 3] });
  const product = builder.apply('dot', {}, a, b);
  const program = builder.finish([
    { name: 'product', value: product },
    { name: 'transposed', value: builder.apply('transpose', { perm: [1, 0] }, product) },
  ]);
  expect(simplifyProgram(program).operations.map((operation) => operation.primitive)).toEqual(['dot', 'transpose']);
});
