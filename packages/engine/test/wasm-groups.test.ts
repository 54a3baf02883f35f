/** Element-wise chains over results of other kernels, whose memory may be used again: where joined operations and reuse meet. */
import { expect, it } from 'vitest';
import { type Program, ProgramBuilder, type Value } from '../src/index.ts';
import { expectSameBits, randomTensor, type Random, seeded } from './wasm-support.ts';

const rows = 24;
const columns = 48;

/** A chain of `length` random operations over products and sums, a few of whose values are outputs. */
function chainProgram(random: Random, length: number): Program {
  const builder = new ProgramBuilder('chain');
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const left = builder.input({ name: 'left', dtype: 'float32', shape: [rows, 1, 5] });
  const right = builder.input({ name: 'right', dtype: 'float32', shape: [1, columns, 5] });
  const row = builder.input({ name: 'row', dtype: 'float32', shape: [columns] });
  const column = builder.input({ name: 'column', dtype: 'float32', shape: [rows, 1] });
  const values: Value[] = [builder.apply('dot', {}, left, right), builder.apply('dot', {}, left, builder.apply('neg', {}, right))];
  const small = [row, column, builder.scalar('float32', 0.75), builder.scalar('float32', -0.5)];
  for (let i = 0; i < length; i++) {
    const recent = values.slice(-6);
    const one = pick(recent);
    const other = random() < 0.3 ? pick(small) : pick(recent);
    const kind = random();
    if (kind < 0.3) values.push(builder.apply('add', {}, one, other));
    else if (kind < 0.55) values.push(builder.apply('mul', {}, one, other));
    else if (kind < 0.75) values.push(builder.apply('add', {}, one, builder.apply('neg', {}, other)));
    else if (kind < 0.85) values.push(builder.apply('mul', {}, one, builder.apply('reciprocal', {}, builder.apply('exp', {}, other))));
    else if (kind < 0.93) values.push(builder.apply('min', {}, one, builder.scalar('float32', 2)));
    else
      values.push(
        builder.apply(
          'add',
          {},
          one,
          builder.apply('reshape', { shape: [rows, 1] }, builder.apply('reduce', { op: 'max', axis: [1] }, one)),
        ),
      );
  }
  const outputs = [values.at(-1) as Value, pick(values), pick(values)];
  return builder.finish(outputs.map((value, index) => ({ name: `out${index}`, value })));
}

it('chains over reused memory give the reference’s bits or its fault', () => {
  const counts = { outputs: 0, fault: 0 };
  for (let seed = 1; seed <= 250; seed++) {
    const random = seeded(seed);
    const program = chainProgram(random, 4 + Math.floor(random() * 40));
    const inputs = program.inputs.map(({ dtype, shape }) => randomTensor(dtype, shape, random, true));
    counts[expectSameBits(program, inputs, `seed ${seed}`)]++;
  }
  expect(counts.outputs).toBeGreaterThan(120);
});
