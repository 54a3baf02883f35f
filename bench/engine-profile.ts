/** Suite `engine-profile [--model gpt] [--executor native]`: kernel calls of one training step, the twenty costliest kinds first. */
import { option } from './lib/arguments.ts';
import { type ExecutorName, ourExecutor } from './lib/executors.ts';
import { plainRow, type Row, round } from './lib/measure.ts';
import { profileProgram } from './lib/profile-program.ts';
import { stepSpecs } from './lib/specs.ts';
import { stepCase } from './lib/step-case.ts';

/** Rows of the suite. */
export async function* programProfileSuite(): AsyncGenerator<Row> {
  const name = option('model', 'gpt');
  const spec = stepSpecs[name];
  if (spec === undefined) throw new Error(`--model ${name}: one of ${Object.keys(stepSpecs).join(', ')}`);
  const step = await stepCase(name, spec);
  const executor = await ourExecutor(option('executor', 'native') as ExecutorName);
  if (typeof executor === 'string') throw new Error(executor);
  const profile = profileProgram(executor.backend, step.program, [...step.state, ...step.inputs], 15);
  yield plainRow(`${name} step, whole`, 'ms', profile.undisturbedMs, {
    'sum of calls': round(profile.milliseconds),
    operations: profile.operations,
    'kernel calls': profile.calls,
    'memory MB': round(profile.bytes / 1e6),
  });
  const kernels = new Map<string, number>();
  for (const { kernel, milliseconds } of profile.entries) kernels.set(kernel, (kernels.get(kernel) ?? 0) + milliseconds);
  const share = (milliseconds: number): string => `${round((100 * milliseconds) / profile.milliseconds)} %`;
  for (const [kernel, milliseconds] of [...kernels].toSorted((a, b) => b[1] - a[1])) {
    yield plainRow(`all of ${kernel}`, 'ms', milliseconds, { share: share(milliseconds) });
  }
  for (const { what, calls, milliseconds, flops } of profile.entries.slice(0, 20)) {
    const rate = flops === 0 ? {} : { 'GFLOP/s': round(flops / milliseconds / 1e6) };
    yield plainRow(what, 'ms', milliseconds, { share: share(milliseconds), calls, ...rate });
  }
}
