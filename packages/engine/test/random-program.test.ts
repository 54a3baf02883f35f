import { MusterError } from '@muster/protocol';
import { describe, expect, it } from 'vitest';
import { checkProgram, encodeProgram, primitives, randomOperation, randomProgram, referenceExecutor, tensorBytes } from '../src/index.ts';

describe('random programs', () => {
  it('are valid, run or fault in a known operation, and cover every primitive and dtype', () => {
    const used = new Map<string, number>();
    const dtypes = new Set<string>();
    let faults = 0;
    for (let seed = 0; seed < 400; seed++) {
      const { program, inputs } = randomProgram(seed);
      const prepared = referenceExecutor.prepare(program);
      for (const operation of program.operations) {
        used.set(operation.primitive, (used.get(operation.primitive) ?? 0) + 1);
        for (const { dtype } of operation.outputs) dtypes.add(dtype);
      }
      try {
        expect(prepared.run(inputs)).toHaveLength(program.outputs.length);
      } catch (error) {
        if (!(error instanceof MusterError)) throw error;
        expect(error.code).toBe('NUMERIC_FAULT');
        expect(program.operations[error.details['operation'] as number]?.primitive).toBe(error.details['primitive']);
        faults++;
      }
    }
    expect([...used.keys()].sort()).toEqual([...primitives].sort());
    expect(Math.min(...used.values())).toBeGreaterThan(20);
    expect([...dtypes].sort()).toEqual(['bool', 'float32', 'int32', 'uint32']);
    expect(faults).toBeGreaterThan(4);
    expect(faults).toBeLessThan(60);
  });

  it('are a function of the seed', () => {
    for (const seed of [0, 7, 123_456, -3]) {
      const [a, b] = [randomProgram(seed), randomProgram(seed)];
      expect(encodeProgram(a.program)).toEqual(encodeProgram(b.program));
      expect(a.inputs.map(tensorBytes)).toEqual(b.inputs.map(tensorBytes));
    }
    expect(encodeProgram(randomProgram(1).program)).not.toEqual(encodeProgram(randomProgram(41).program));
  });

  it('hold signed zeros, subnormals, infinities and empty axes', () => {
    const seen = { negativeZero: 0, subnormal: 0, infinity: 0, empty: 0 };
    for (let seed = 0; seed < 150; seed++) {
      for (const { data } of randomProgram(seed).inputs) {
        if (data.length === 0) seen.empty++;
        if (!(data instanceof Float32Array)) continue;
        if (data.some((x) => Object.is(x, -0))) seen.negativeZero++;
        if (data.some((x) => x !== 0 && Math.abs(x) < 2 ** -126)) seen.subnormal++;
        if (data.includes(Infinity) || data.includes(-Infinity)) seen.infinity++;
      }
    }
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(5);
  });

  it('of one operation use that primitive and do not fault', () => {
    for (const primitive of primitives) {
      for (let seed = 0; seed < 10; seed++) {
        const { program, inputs } = randomOperation(primitive, seed);
        checkProgram(program);
        expect(program.operations.map((operation) => operation.primitive)).toEqual([primitive]);
        referenceExecutor.prepare(program).run(inputs);
      }
    }
  });
});
