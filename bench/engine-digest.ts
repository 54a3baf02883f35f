/**
 * Suite `engine-digest`: what the digest of the full state (parameters and optimizer slots) costs beside the training steps between two of
 * them, at the interval that a job has by default.
 */
import { type Executor, prepareLoop } from '../packages/engine/src/index.ts';
import { digestIntervalFor } from '../packages/round/src/index.ts';
import { alternate, local } from './lib/alternate.ts';
import { executorNames, ourExecutor } from './lib/executors.ts';
import { missingRow, plainRow, type Row, round } from './lib/measure.ts';
import { gpt, mlp } from './lib/specs.ts';
import { type StepCase, stepCase } from './lib/step-case.ts';

const limitPercent = 2;

async function shareRow(step: StepCase, name: string, executor: Executor): Promise<Row> {
  const { program, state, inputs } = step;
  const { parameters, slots } = step.built.model;
  const interval = digestIntervalFor([...parameters, ...slots], program);
  const loop = prepareLoop(executor, program, state.length);
  loop.setState(state);
  const digest = (): unknown => loop.stateRoots();
  const candidates = [local('step', () => loop.step(inputs)), local('digest', digest)];
  const [steps, digests] = await alternate(candidates, { turns: 9, blockMs: 150, least: 2 });
  loop.dispose();
  if (steps === undefined || digests === undefined) throw new Error('a candidate was not measured');
  const ratio = digests.milliseconds / steps.milliseconds;
  const bytes = state.reduce((sum, { data }) => sum + data.byteLength, 0);
  return plainRow(
    `state digest every ${interval} steps, share of training, ${step.name}, ${name}`,
    '%',
    (100 * ratio) / (ratio + interval),
    {
      limit: limitPercent,
      'interval at the limit': Math.ceil((ratio * (100 - limitPercent)) / limitPercent),
      'digest, ms': round(digests.milliseconds),
      'digest, MB/s': round(bytes / digests.milliseconds / 1e3),
      'step, ms': round(steps.milliseconds),
    },
  );
}

/** Rows of the suite, each as soon as it is measured. */
export async function* digestSuite(): AsyncGenerator<Row> {
  for (const [name, spec] of Object.entries({ mlp, gpt })) {
    const step = await stepCase(name, spec);
    for (const executor of executorNames) {
      const found = await ourExecutor(executor);
      yield typeof found === 'string' ? missingRow(`state digest, ${name}, ${executor}`, found) : await shareRow(step, executor, found);
    }
  }
}
