/** The contents of `vectors/engine/`: for every primitive random small cases and special ones, whole programs, and dense function vectors. */
import { numpy as np, valueAndGrad, type Array as JaxArray } from '@jax-js/jax';
import {
  describeType,
  type FunctionVector,
  functionRoot,
  primitives,
  type PrimitiveName,
  type Program,
  randomOperation,
  randomProgram,
  recordVector,
  referenceExecutor,
  type Tensor,
  type TensorType,
  traceProgram,
  type Vector,
  writeFunctionVectors,
  writeVectors,
} from '../../src/index.ts';

/** Operation and types of a program of one operation, for the name of a vector. */
function describe(program: Program): string {
  const types: TensorType[] = [...program.inputs, ...program.constants];
  return program.operations
    .map(({ primitive, inputs, params, outputs }) => {
      const from = inputs.flatMap((index) => types.slice(index, index + 1)).map(describeType);
      const suffix = JSON.stringify(params);
      return `${primitive} ${from.join(' ')} → ${outputs.map(describeType).join(' ')}${suffix === '{}' ? '' : ` ${suffix}`}`;
    })
    .join('; ');
}

function bytesOf({ inputs, program, outputs }: Vector): number {
  return [...inputs, ...program.constants, ...(outputs ?? [])].reduce((size, tensor) => size + tensor.data.byteLength, 0);
}

/** Six small cases with float32, four without, two larger ones and two that fault, as far as the primitive has them. */
function casesOf(primitive: PrimitiveName): Vector[] {
  const rooms = { float: 6, other: 4, large: 2, fault: 2 };
  const chosen: Vector[] = [];
  for (let seed = 0; seed < 400; seed++) {
    const { program, inputs } = randomOperation(primitive, seed, true);
    const vector = recordVector(referenceExecutor, `${seed}: ${describe(program)}`, program, inputs);
    const size = bytesOf(vector);
    const hasFloat = [...inputs, ...program.constants, ...(vector.outputs ?? [])].some(({ dtype }) => dtype === 'float32');
    const kind =
      size <= 700
        ? vector.fault !== null
          ? 'fault'
          : hasFloat
            ? 'float'
            : 'other'
        : size >= 1500 && size <= 4000 && vector.fault === null
          ? 'large'
          : null;
    if (kind === null || rooms[kind] === 0) continue;
    rooms[kind]--;
    chosen.push(vector);
  }
  return chosen;
}

/** One step of gradient descent of a small network with softmax and cross entropy, as a model's program has it. */
function gradientStep(...arrays: JaxArray[]): JaxArray[] {
  const [w1, b1, w2, x, labels, rate] = arrays as [JaxArray, JaxArray, JaxArray, JaxArray, JaxArray, JaxArray];
  const loss = (w: JaxArray, b: JaxArray, v: JaxArray): JaxArray => {
    const hidden = np.tanh(np.matmul(x.ref, w).add(b));
    const logits = np.matmul(hidden, v);
    const top = np.max(logits.ref, 1, { keepdims: true });
    const shifted = logits.sub(top);
    const total = np.log(np.sum(np.exp(shifted.ref), 1, { keepdims: true }));
    return np.mean(np.sum(total.sub(shifted).mul(labels.ref), 1));
  };
  const [value, [g1, g2, g3]] = valueAndGrad(loss, { argnums: [0, 1, 2] })(w1.ref, b1.ref, w2.ref);
  return [value, w1.sub(g1.mul(rate.ref)), b1.sub(g2.mul(rate.ref)), w2.sub(g3.mul(rate))];
}

function trainingStep(): Vector {
  const shapes = { w1: [9, 17], b1: [17], w2: [17, 5], x: [7, 9], labels: [7, 5], rate: [] } as const;
  const names = Object.entries(shapes).map(([name, shape]) => ({ name, dtype: 'float32' as const, shape: [...shape] }));
  const program = traceProgram('training_step', gradientStep, names, ['loss', 'w1', 'b1', 'w2']);
  const inputs = names.map(({ name, dtype, shape }, n): Tensor => {
    const size = shape.reduce((product, extent) => product * extent, 1);
    const value = (i: number) =>
      name === 'labels'
        ? Number(i % 5 === (Math.floor(i / 5) * 3) % 5)
        : name === 'rate'
          ? 0.1
          : (((i + 3 * n) * 2654435761) % 2048) / 2048 - 0.5;
    return { dtype, shape, data: Float32Array.from({ length: size }, (_, i) => value(i)) };
  });
  return recordVector(referenceExecutor, 'training step of a network 9-17-5, batch 7', program, inputs);
}

function wholePrograms(): Vector[] {
  const vectors = [trainingStep()];
  for (let seed = 0; vectors.length < 25; seed++) {
    const { program, inputs } = randomProgram(seed);
    const vector = recordVector(referenceExecutor, `random program ${seed}`, program, inputs);
    if (bytesOf(vector) <= 3000 && program.operations.length >= 4) vectors.push(vector);
  }
  return vectors;
}

const infinity = 0x7f800000;
const sign = 0x80000000;

/** Ranges of bit patterns, first to last, on which the function has no NaN. */
const ranges: Readonly<Record<FunctionVector['primitive'], readonly (readonly [number, number])[]>> = {
  exp: [
    [0, infinity],
    [sign, sign + infinity],
    [0x3f000000, 0x42b20000], // 0.5 … 89
    [sign + 0x3f000000, sign + 0x42d00000], // −0.5 … −104
  ],
  log: [
    [0, infinity],
    [0x3f000000, 0x40000000], // 0.5 … 2
  ],
  sin: [
    [0, 0x47435000], // … 50 000
    [sign, sign + 0x47435000],
    [0x3f000000, 0x41200000], // 0.5 … 10
  ],
  cos: [
    [0, 0x47435000],
    [sign, sign + 0x47435000],
    [0x3f000000, 0x41200000],
  ],
  erf: [
    [0, infinity],
    [sign, sign + infinity],
    [0x3e800000, 0x40900000], // 0.25 … 4.5
  ],
  sqrt: [[0, infinity]],
  reciprocal: [
    [0, infinity],
    [sign, sign + infinity],
  ],
  floor: [[sign, sign + infinity]],
  ceil: [[sign, sign + infinity]],
};

function hex(bits: number): string {
  return `0x${(bits >>> 0).toString(16).padStart(8, '0')}`;
}

function functionVectors(): FunctionVector[] {
  const count = 20_000;
  return Object.entries(ranges).flatMap(([name, list]) =>
    list.map(([first, last]) => {
      const primitive = name as FunctionVector['primitive'];
      const stride = Math.floor((last - first) / (count - 1));
      const vector = { name: `${primitive} of ${count} bit patterns ${hex(first)} + ${stride} i`, primitive, first, stride, count };
      return { ...vector, root: functionRoot(referenceExecutor, vector) };
    }),
  );
}

/** Path below `vectors/` and JSON value of every file. */
export function engineFiles(): [string, object][] {
  return [
    ...primitives.map((primitive): [string, object] => [`engine/${primitive}.json`, writeVectors(casesOf(primitive))]),
    ['engine/programs.json', writeVectors(wholePrograms())],
    ['engine/functions.json', writeFunctionVectors(functionVectors())],
  ];
}
