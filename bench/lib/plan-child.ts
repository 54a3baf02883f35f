/**
 * A process that trains one task of ten steps, as a trainer does, and prints what memory it took: before it had a program and at its fullest.
 * Argument: a folder with `model`, `train` and `update`. The executor is that of the environment.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { executorFromEnvironment, installFastSha256 } from '../../packages/adapters/src/index.ts';
import { decodeProgram, prepareLoop, type Tensor, type TensorType } from '../../packages/engine/src/index.ts';
import { decodeModel } from '../../packages/models/src/index.ts';
import { executeTask } from '../../packages/round/src/index.ts';
import { reasonOf } from '../../packages/roles/src/index.ts';

const folder = process.argv[2] ?? '';
installFastSha256();
const executor = await executorFromEnvironment(process.env);
const before = process.memoryUsage.rss();

const sizeOf = ({ shape }: TensorType): number => shape.reduce((size, extent) => size * extent, 1);
const small = (type: TensorType): Tensor => ({
  dtype: 'float32',
  shape: type.shape,
  data: Float32Array.from({ length: sizeOf(type) }, (_, i) => ((i % 13) - 6) / 100),
});
const zeros = (type: TensorType): Tensor =>
  type.dtype === 'int32'
    ? { dtype: 'int32', shape: type.shape, data: new Int32Array(sizeOf(type)) }
    : { dtype: 'float32', shape: type.shape, data: new Float32Array(sizeOf(type)) };

const model = decodeModel(await readFile(join(folder, 'model')));
const trainStep = decodeProgram(await readFile(join(folder, 'train')));
const update = decodeProgram(await readFile(join(folder, 'update')));
const steps = 10;
const task = executeTask({
  parameters: model.parameters,
  slots: model.slots,
  frozen: [],
  trainStep: prepareLoop(executor, trainStep, model.parameters.length + model.slots.length),
  update: executor.prepare(update),
  base: model.parameters.map(small),
  slotState: null,
  carry: false,
  steps,
  firstStep: 0,
  digestInterval: steps,
  batch: () => [zeros(model.batch.x), zeros(model.batch.y)],
  key: (step) => ({ dtype: 'uint32', shape: [2], data: Uint32Array.of(step, 1) }),
});
for (let next = task.next(); next.done !== true; next = task.next()) await Promise.resolve();
// What a node imports is part of its process.
if (typeof reasonOf !== 'function') throw new Error('the roles are missing');
process.stdout.write(JSON.stringify({ before, most: 1024 * process.resourceUsage().maxRSS }));
