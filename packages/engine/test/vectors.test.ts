import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MusterError } from '@muster/protocol';
import { describe, expect, it } from 'vitest';
import { engineFiles } from './support/engine-vectors.ts';
import { protocolFiles } from './support/protocol-vectors.ts';
import {
  checkFunctionVector,
  checkVector,
  type Executor,
  primitives,
  readFunctionVectors,
  readVectors,
  referenceExecutor,
  type Tensor,
  type Vector,
  writeVectors,
} from '../src/index.ts';

const folder = join(import.meta.dirname, '../../../vectors');
const readJson = (path: string): unknown => JSON.parse(readFileSync(join(folder, path), 'utf8'));
const vectorNames = readdirSync(join(folder, 'engine')).filter((name) => name !== 'functions.json');

/** The reference executor with `change` applied to the outputs. */
function altered(change: (outputs: Tensor[]) => Tensor[]): Executor {
  return {
    name: 'altered',
    prepare(program) {
      const prepared = referenceExecutor.prepare(program);
      return { program, run: (inputs) => change(prepared.run(inputs)), dispose: () => prepared.dispose() };
    },
  };
}

describe('conformance vectors', () => {
  it('are what the reference implementations give now', () => {
    for (const [path, value] of [...engineFiles(), ...protocolFiles()])
      expect(readJson(path), path).toEqual(JSON.parse(JSON.stringify(value)));
  });

  it('cover every primitive with at least four cases', () => {
    for (const primitive of primitives) {
      const vectors = readVectors(readJson(`engine/${primitive}.json`));
      expect(vectors.length, primitive).toBeGreaterThanOrEqual(4);
      for (const { program } of vectors) expect(program.operations.map((operation) => operation.primitive)).toEqual([primitive]);
    }
  });

  it('hold for the reference executor after a round through JSON', () => {
    for (const name of vectorNames) {
      for (const vector of readVectors(readJson(`engine/${name}`)))
        expect(checkVector(referenceExecutor, vector), vector.name).toEqual({ ok: true, reason: null });
    }
    for (const vector of readFunctionVectors(readJson('engine/functions.json')))
      expect(checkFunctionVector(referenceExecutor, vector)).toEqual({ ok: true, reason: null });
  });

  it('include faults', () => {
    expect(
      vectorNames.flatMap((name) => readVectors(readJson(`engine/${name}`))).filter(({ fault }) => fault !== null).length,
    ).toBeGreaterThan(10);
  });

  it('catch one wrong bit, a wrong type, a missing output and a fault out of place', () => {
    const vectors = readVectors(readJson('engine/programs.json'));
    const vector = vectors.find(({ outputs }) => outputs?.[0]?.dtype === 'float32') as Vector;
    const lastBit = altered(([first, ...rest]) => {
      const data = (first as Tensor).data.slice();
      new Uint8Array(data.buffer)[0]! ^= 1;
      return [{ ...(first as Tensor), data }, ...rest];
    });
    expect(checkVector(lastBit, vector).reason).toMatch(/^output 0, element 0: /);
    const flat = altered(([first, ...rest]) => [{ ...(first as Tensor), shape: [1, ...(first as Tensor).shape] }, ...rest]);
    expect(checkVector(flat, vector).reason).toMatch(/^output 0 is float32/);
    expect(
      checkVector(
        altered((outputs) => outputs.slice(1)),
        vector,
      ).reason,
    ).toMatch(/outputs, expected/);
    const late = altered(() => {
      throw new MusterError('NUMERIC_FAULT', 'late', { operation: 99, primitive: 'add' });
    });
    expect(checkVector(late, vector).reason).toBe('a fault in operation 99 (add), expected no fault');
    const broken = altered(() => {
      throw new Error('out of memory');
    });
    expect(checkVector(broken, vector)).toEqual({ ok: false, reason: 'out of memory' });
    const [exp] = readFunctionVectors(readJson('engine/functions.json'));
    expect(checkFunctionVector(lastBit, exp as NonNullable<typeof exp>).ok).toBe(false);
    expect(checkFunctionVector(broken, exp as NonNullable<typeof exp>)).toEqual({ ok: false, reason: 'out of memory' });
  });

  it('a negative zero in the place of a zero is a difference', () => {
    const vectors = readVectors(readJson('engine/neg.json'));
    const toPositive = altered((outputs) =>
      outputs.map((tensor) => (tensor.data instanceof Float32Array ? { ...tensor, data: tensor.data.map((x) => x + 0) } : tensor)),
    );
    expect(vectors.some((vector) => !checkVector(toPositive, vector).ok)).toBe(true);
  });

  it('files that are not well formed are refused', () => {
    const vector = readVectors(readJson('engine/add.json')).find(({ inputs }) => inputs.length > 0);
    const file = writeVectors([vector as Vector]) as { vectors: [Record<string, unknown>] };
    const changed = (change: Record<string, unknown>) => ({ ...file, vectors: [{ ...file.vectors[0], ...change }] });
    expect(readVectors(file)).toHaveLength(1);
    for (const wrong of [
      {},
      { ...file, format: 'other' },
      changed({ outputs: null }),
      changed({ fault: { operation: 0, primitive: 'add' } }),
      changed({ inputs: [] }),
      changed({ inputs: ['0xzz'] }),
      changed({ extra: 1 }),
    ]) {
      expect(() => readVectors(wrong)).toThrow(expect.objectContaining({ code: 'FIELD_INVALID' }));
    }
    expect(() => readVectors(changed({ program: '0x00' }))).toThrow(MusterError);
    expect(() => readVectors(changed({ outputs: ['0x00'] }))).toThrow(expect.objectContaining({ code: 'TENSOR_MISMATCH' }));
  });
});
