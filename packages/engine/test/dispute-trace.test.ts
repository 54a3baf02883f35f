import { MusterError } from '@muster/protocol';
import { buildModel, type ModelSpec } from '@muster/models';
import { describe, expect, it } from 'vitest';
import {
  accumulationOf,
  applyStep,
  checkProgram,
  elementOperands,
  openElement,
  openOperation,
  openStep,
  type Operation,
  type Program,
  primitives,
  randomOperation,
  randomProgram,
  referenceExecutor,
  repeatedRoot,
  runOperations,
  scalarTensor,
  type Tensor,
  type TensorType,
  tensorRoot,
  traceOperations,
  tracePartialSums,
  traceRoot,
  traceStep,
  verifyElement,
  verifyOpenedElement,
  verifyValue,
  wasmExecutor,
} from '../src/index.ts';
import { executeOperation } from '../src/reference/executor.ts';
import { randomTensor, seeded, sizeOf } from './wasm-support.ts';

function errorOf(run: () => unknown): MusterError {
  try {
    run();
  } catch (error) {
    if (error instanceof MusterError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** Roots as the reference gives them, one operation at a time; or its fault. */
function naiveTrace(program: Program, inputs: readonly Tensor[]): unknown {
  const operationRoots: string[][] = [];
  try {
    runOperations(program, inputs, (_, __, outputs) => operationRoots.push(outputs.map((tensor) => tensorRoot(tensor))));
  } catch (error) {
    return (error as MusterError).details;
  }
  return { operationRoots, root: traceRoot(operationRoots.flat() as never) };
}

function outcome(run: () => unknown): unknown {
  try {
    return run();
  } catch (error) {
    return (error as MusterError).details;
  }
}

/** Input tensors of every operation, in program order, up to a fault. */
function operands(
  program: Program,
  inputs: readonly Tensor[],
): readonly { operation: Operation; inputs: Tensor[]; outputs: readonly Tensor[] }[] {
  const values: Tensor[] = [...inputs, ...program.constants];
  const found: { operation: Operation; inputs: Tensor[]; outputs: readonly Tensor[] }[] = [];
  outcome(() =>
    runOperations(program, inputs, (_, operation, outputs) => {
      found.push({ operation, inputs: operation.inputs.map((value) => values[value] as Tensor), outputs });
      values.push(...outputs);
    }),
  );
  return found;
}

function bitsOf(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0] as number;
}

const sameBits = (a: number, b: number): boolean => (Number.isInteger(a) && Math.abs(a) > 2 ** 24 ? a === b : bitsOf(a) === bitsOf(b));

describe('the trace of a step', () => {
  it('is the reference’s for random programs, cut anywhere, by any executor', () => {
    let faults = 0;
    for (let seed = 0; seed < 160; seed++) {
      const { program, inputs } = randomProgram(seed);
      const expected = naiveTrace(program, inputs);
      if (typeof expected === 'object' && expected !== null && 'primitive' in expected) faults++;
      for (const partBytes of seed % 3 === 0 ? [1, 2000] : [1e6])
        expect(
          outcome(() => traceStep(program, inputs, { executor: wasmExecutor, partBytes })),
          `seed ${seed}, ${partBytes}`,
        ).toEqual(expected);
      if (seed % 8 === 0) expect(outcome(() => traceStep(program, inputs, { executor: referenceExecutor }))).toEqual(expected);
    }
    expect(faults).toBeGreaterThan(2);
  });

  it('refuses malformed programs and inputs, and names the operation that faults', () => {
    const vector: TensorType = { dtype: 'float32', shape: [2] };
    const log = (input: number): Operation => ({ primitive: 'log', inputs: [input], params: {}, outputs: [vector] });
    const program: Program = {
      version: 1,
      name: 'case',
      inputs: [{ name: 'x', ...vector }],
      constants: [],
      operations: [log(0), log(1)],
      outputs: [{ name: 'y', value: 2 }],
    };
    const input = (...values: number[]): Tensor => ({ ...vector, data: Float32Array.from(values) });
    expect(errorOf(() => traceStep(program, [input(0.5, 2)], { partBytes: 1 })).details).toEqual({ operation: 1, primitive: 'log' });
    expect(errorOf(() => traceStep(program, [input(Number.NaN, 2)])).details).toMatchObject({ operation: -1 });
    expect(errorOf(() => traceStep(program, [])).code).toBe('TENSOR_MISMATCH');
    expect(errorOf(() => traceStep({ ...program, operations: [log(5)] }, [input(1, 2)])).code).toBe('PROGRAM_INVALID');
    expect(traceStep({ ...program, operations: [], outputs: [] }, [input(1, 2)]).root).toBe(traceRoot([]));
  });

  it('of a whole training step gives the roots of the reference', async () => {
    const training = { batchSize: 3, evaluationBatch: 3, optimizer: { kind: 'momentum', learningRate: 0.1, momentum: 0.5 } } as const;
    const specs: readonly ModelSpec[] = [
      { family: 'mlp', input: [6], classes: 3, hidden: [5], ...training },
      { family: 'cnn', input: [6, 5, 2], classes: 3, channels: [3], kernelSize: 3, hidden: [4], ...training },
    ];
    const random = seeded(5);
    for (const spec of specs) {
      const { programs } = await buildModel(spec);
      const inputs = programs.trainStep.inputs.map((type): Tensor => {
        if (type.dtype === 'float32') return randomTensor('float32', type.shape, random, true);
        const size = sizeOf(type.shape);
        return type.dtype === 'int32'
          ? { ...type, data: Int32Array.from({ length: size }, (_, i) => i % 3) }
          : { ...type, data: Uint32Array.from({ length: size }, (_, i) => i + 1) };
      });
      const steps = traceOperations(programs.trainStep, inputs, { partBytes: 400 });
      let pauses = 0;
      for (;;) {
        const { done, value } = steps.next();
        if (done === true) {
          expect(value).toEqual(naiveTrace(programs.trainStep, inputs));
          break;
        }
        pauses++;
      }
      expect(pauses).toBeGreaterThan(1);
    }
  });

  it('finds the root of a repeated element without writing it out', () => {
    for (const [dtype, value] of [
      ['float32', -0],
      ['int32', -7],
      ['bool', 1],
    ] as const) {
      const single = scalarTensor(dtype, value);
      for (const count of [2, 3, 255, 256, 257, 511, 512, 1023, 1024, 1025, 1300, 2048, 2500, 5000]) {
        const data = single.data.slice().constructor as new (length: number) => Tensor['data'];
        const all = new data(count).fill(value);
        expect(repeatedRoot(single, count), `${dtype} × ${count}`).toBe(tensorRoot({ dtype, shape: [count], data: all }));
      }
    }
  });
});

describe('partial sums', () => {
  it('end in the element that the reference gives, for every accumulating operation of random programs', () => {
    let chains = 0;
    for (const primitive of ['dot', 'conv', 'reduce', 'pool_transpose', 'scatter'] as const) {
      for (let seed = 0; seed < 60; seed++) {
        const { program, inputs } = randomOperation(primitive, seed);
        for (const { operation, inputs: tensors, outputs } of operands(program, inputs)) {
          const { data } = outputs[0] as Tensor;
          const step = Math.max(1, Math.floor(data.length / 12));
          for (let element = 0; element < data.length; element += step) {
            const { values } = tracePartialSums(program, inputs, 0, element, seed % 4 === 0 ? wasmExecutor : referenceExecutor);
            chains++;
            expect(sameBits(values.at(-1) as number, data[element] as number), `${primitive} ${seed} element ${element}`).toBe(true);
            expect(accumulationOf(operation, tensors, element)?.steps).toBe(values.length - 1);
          }
        }
      }
    }
    expect(chains).toBeGreaterThan(1500);
  });

  it('are one rounding apart, each checkable from what the step opens', () => {
    const random = seeded(9);
    const inputs = [randomTensor('float32', [3, 1, 300], random, true), randomTensor('float32', [1, 2, 300], random, true)];
    const program: Program = {
      version: 1,
      name: 'product',
      inputs: inputs.map(({ dtype, shape }, index) => ({ name: `a${index}`, dtype, shape })),
      constants: [],
      operations: [
        { primitive: 'neg', inputs: [0], params: {}, outputs: [{ dtype: 'float32', shape: [3, 1, 300] }] },
        { primitive: 'dot', inputs: [2, 1], params: {}, outputs: [{ dtype: 'float32', shape: [3, 2] }] },
        { primitive: 'reduce', inputs: [3], params: { op: 'add', axis: [0, 1] }, outputs: [{ dtype: 'float32', shape: [] }] },
      ],
      outputs: [{ name: 'sum', value: 4 }],
    };
    const trace = traceStep(program, inputs);
    const opened = openOperation(program, inputs, trace, 1);
    expect(opened.inputs.map(({ value, proof }) => [value, proof === null])).toEqual([
      [2, false],
      [1, true],
    ]);
    for (const value of [...opened.inputs, ...opened.outputs]) expect(verifyValue(trace.root, 2, 3, value)).toBe(true);
    const [forged] = opened.outputs;
    expect(verifyValue(trace.root, 2, 3, { ...(forged as NonNullable<typeof forged>), value: 4 })).toBe(false);

    const sums = tracePartialSums(program, inputs, 1, 3);
    expect(sums.values).toHaveLength(301);
    const chain = { dtype: 'float32', shape: [301], data: sums.values } as const;
    for (const k of [1, 2, 256, 300]) {
      const { step, elements } = openStep(opened, 3, k);
      const numbers = elements.map((element) => verifyOpenedElement(opened.inputs[element.operand.input] as never, element));
      const [left, next] = [k - 1, k].map((index) => verifyElement(sums.root, chain, index, openElement(chain, index)));
      expect(step.left).toBe(k - 1);
      expect(next).toBe(Math.fround((left as number) + Math.fround((numbers[0] as number) * (numbers[1] as number))));
    }
    expect(errorOf(() => openStep(opened, 3, 301)).code).toBe('FIELD_INVALID');
    expect(errorOf(() => openStep(opened, 3, 0)).code).toBe('FIELD_INVALID');
    expect(errorOf(() => openOperation(program, inputs, trace, 3)).code).toBe('FIELD_INVALID');
    expect(errorOf(() => tracePartialSums(program, inputs, 1, 6)).code).toBe('FIELD_INVALID');
    expect(errorOf(() => tracePartialSums(program, inputs, 0, 0)).code).toBe('FIELD_INVALID');
  });

  it('of a sum are sixteen lanes, then the fold, each step naming accumulators before it', () => {
    for (const count of [0, 1, 5, 15, 16, 17, 40]) {
      const input: Tensor = { dtype: 'float32', shape: [count], data: Float32Array.from({ length: count }, (_, i) => i + 0.5) };
      const operation: Operation = {
        primitive: 'reduce',
        inputs: [0],
        params: { op: 'add', axis: [0] },
        outputs: [{ dtype: 'float32', shape: [] }],
      };
      const accumulation = accumulationOf(operation, [input], 0);
      if (accumulation === null) throw new Error('a sum accumulates');
      expect(accumulation.steps).toBe(count + 15);
      const values = [0];
      for (let k = 1; k <= accumulation.steps; k++) {
        const step = accumulation.step(k);
        expect(step.left).toBeLessThan(k);
        if (step.right.kind === 'accumulator') expect(step.right.index).toBeLessThan(k);
        values.push(applyStep('float32', step, [input], values));
      }
      expect(values.at(-1)).toBe(executeOperation(operation, [input])[0]?.[0]);
    }
  });
});

describe('operands of an element', () => {
  it('give the element again when the operation is done on them alone', () => {
    const moved = new Set(['transpose', 'broadcast', 'reshape', 'flip', 'shrink', 'split', 'pool', 'pad', 'concatenate', 'gather']);
    const whole = new Set(['random_bits', 'sort', 'argsort']);
    const accumulating = new Set(['dot', 'conv', 'reduce', 'pool_transpose', 'scatter']);
    for (const primitive of primitives) {
      for (let seed = 0; seed < 20; seed++) {
        const { program, inputs } = randomOperation(primitive, seed);
        checkProgram(program);
        for (const { operation, inputs: tensors, outputs } of operands(program, inputs)) {
          outputs.forEach(({ data }, output) => {
            for (let element = 0; element < data.length; element += 1 + Math.floor(data.length / 7)) {
              const found = elementOperands(operation, tensors, output, element);
              if (accumulating.has(primitive)) {
                expect(found).toBeNull();
                continue;
              }
              const numbers = (found ?? []).map((operand) =>
                operand.kind === 'element' ? ((tensors[operand.input] as Tensor).data[operand.element] as number) : 0,
              );
              const label = `${primitive} ${seed} element ${element}`;
              if (moved.has(primitive)) expect(sameBits(numbers.at(-1) as number, data[element] as number), label).toBe(true);
              else if (!whole.has(primitive)) {
                const scalars = numbers.map((number, n) => {
                  const data = (tensors[n] as Tensor).data.slice(0, 1);
                  data[0] = number;
                  return { dtype: (tensors[n] as Tensor).dtype, shape: [], data };
                });
                const type = { dtype: (operation.outputs[0] as TensorType).dtype, shape: [] };
                const again = executeOperation({ ...operation, outputs: [type] }, scalars)[0];
                expect(sameBits(again?.[0] as number, data[element] as number), label).toBe(true);
              }
            }
          });
        }
      }
    }
  });
});
