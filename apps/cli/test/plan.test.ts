/** `muster plan` and `muster doctor`: the verdict's rules, what a machine file must hold, and both commands through the program. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Executor, ProgramBuilder, referenceExecutor, wasmExecutor } from '@muster/engine';
import { estimateModel, type ModelEstimate } from '@muster/models';
import { MusterError } from '@muster/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { predictStep, timeProgram, timeStep } from '../src/calibrate.ts';
import { checkConformance, doctorCommand, vectorFolder } from '../src/commands/doctor.ts';
import { planCommand } from '../src/commands/plan.ts';
import { executorReports } from '@muster/adapters';
import { homePaths } from '../src/home.ts';
import { executorEnvironment, mostThreads } from '../src/executor.ts';
import { costLimits, machineFrom, openTraining, samplingExecutor } from '../src/machine.ts';
import { createOutput } from '../src/output.ts';
import { duration, planOf } from '../src/planning.ts';

const spec = {
  family: 'mlp',
  input: [20],
  classes: 3,
  hidden: [16],
  batchSize: 8,
  evaluationBatch: 8,
  optimizer: { kind: 'sgd', learningRate: 0.1 },
} as const;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-plan-'));
});
afterAll(async () => await rm(folder, { recursive: true }));

function memory(parameters: number, activations: number): ModelEstimate['memory'] {
  const total = 4 * parameters + activations;
  return { parameters, optimizer: 0, nextState: 2 * parameters, gradients: parameters, given: 0, activations, tables: 0, total };
}

/** An estimate of a step that takes 8 GB, 6 GB with values computed again. */
function estimate(): ModelEstimate {
  const { step, cost, state } = estimateModel(spec);
  return {
    parameters: 25e7,
    cost,
    memory: memory(1e9, 4e9),
    rematerialised: { memory: memory(1e9, 2e9), flops: 1.3 * cost.flops },
    state,
    step,
    traced: true,
  };
}

const schedule = { steps: 10, rounds: null, bitsPerSecond: 1e9, roundTimeoutSeconds: 600 } as const;
const roomy = { memoryBytes: 64e9, executorBytes: 64e9, overheadBytes: 1e7, processBytes: 9e7 };

describe('a plan', () => {
  test('says that a machine can take part where memory and time suffice, and counts the traffic', () => {
    const plan = planOf(estimate(), 2, schedule, roomy);
    expect(plan).toMatchObject({
      verdict: 'can',
      remedies: [],
      rematerialise: false,
      neededBytes: 8e9,
      processBytes: 15.1e9,
      stepSeconds: 2,
      taskSeconds: 20,
      transferSeconds: 16,
      roundSeconds: 36,
      rounds: 72_000,
      perRound: { downBytes: 1e9, upBytes: 1e9 },
      perMonth: { downBytes: 72e12, upBytes: 72e12 },
      plannedUpdateBytes: { int8: 253_906_250, topPercent: 20e6 },
    });
    expect(planOf(estimate(), 2, { ...schedule, rounds: 5 }, roomy)).toMatchObject({
      rounds: 5,
      totalSeconds: 180,
      perMonth: { upBytes: 5e9 },
    });
  });

  test('computes values again where that makes it fit, which takes longer and is tight', () => {
    const plan = planOf(estimate(), 2, schedule, { ...roomy, memoryBytes: 17e9 });
    expect(plan).toMatchObject({ verdict: 'tight', rematerialise: true, neededBytes: 6e9 });
    expect(plan.stepSeconds).toBeCloseTo(2.6, 9);
    expect(plan.reasons.join()).toContain('6.00 GB instead of 8.00 GB');
  });

  test('is tight where a step takes most of the memory or a round most of its deadline', () => {
    expect(planOf(estimate(), 2, schedule, { ...roomy, memoryBytes: 21e9 })).toMatchObject({ verdict: 'tight', rematerialise: false });
    const slow = planOf(estimate(), 40, schedule, roomy);
    expect(slow.verdict).toBe('tight');
    expect(slow.remedies.join()).toContain('localSteps');
  });

  test('says no, and what would help, where memory or time cannot suffice', () => {
    const small = planOf(estimate(), 2, schedule, { ...roomy, executorBytes: 4e9 });
    expect(small.verdict).toBe('cannot');
    expect(small.reasons.join()).toContain('a program of the executor may take 4.00 GB');
    expect(small.remedies.join()).toMatch(/LoRA .* about 3\.02 GB.*smaller batch/);
    expect(planOf(estimate(), 2, schedule, { ...roomy, memoryBytes: 3e9 }).remedies.join()).toContain('LoRA would still need');
    const slow = planOf(estimate(), 100, schedule, roomy);
    expect(slow.verdict).toBe('cannot');
    expect(slow.remedies).toEqual(['at most 2 steps per task (`localSteps`), or a later deadline (`roundTimeoutMs`)']);
    expect(planOf(estimate(), 1000, schedule, roomy).remedies.join()).toContain('`roundTimeoutMs`) of 5 h 33 min');
  });

  test('leaves room for the process and for what a task holds beside its step', () => {
    const tight = { ...roomy, memoryBytes: 19.3e9 };
    expect(planOf(estimate(), 2, schedule, tight).rematerialise).toBe(false);
    expect(planOf(estimate(), 2, schedule, { ...tight, processBytes: 1e9 }).rematerialise).toBe(true);
  });

  test.each([
    [0.0021, '2.10 ms'],
    [1, '1 s'],
    [61.7, '1 min 1 s'],
    [3600, '1 h'],
    [200_000, '2 d 7 h'],
  ])('writes %d seconds as %s', (seconds, text) => expect(duration(seconds)).toBe(text));
});

describe('a calibration', () => {
  const speed = {
    products: [{ extent: 64, flopsPerSecond: 1e9 }],
    convolutionFlopsPerSecond: 1e9,
    simpleElementsPerSecond: 1e9,
    functionElementsPerSecond: 1e8,
    reducedElementsPerSecond: 1e9,
    bytesPerSecond: 1e10,
    secondsPerCall: 1e-6,
  };
  const calibration = { executor: 'wasm', speed, secondsPerRun: 1e-6 };

  test('times the kernel calls of a step, and takes the machine’s speeds where it may not', () => {
    const { step } = estimateModel(spec);
    const sampled = predictStep(wasmExecutor, calibration, step, true, 500);
    expect(sampled.sampledShare).toBeGreaterThan(0);
    expect(sampled.seconds).toBeGreaterThan(0);
    const byRule = predictStep(null, calibration, step, true);
    expect(byRule.sampledShare).toBe(0);
    expect(predictStep(wasmExecutor, calibration, step, true, -1).seconds).toBeCloseTo(byRule.seconds + 1e-6, 4);
  });

  test('runs a step as a whole where it may, and not one that faults on made-up inputs', () => {
    const { step, state } = estimateModel(spec);
    expect(timeStep(wasmExecutor, step, state, 5)).toBeGreaterThan(0);
    const builder = new ProgramBuilder('fault');
    const x = builder.input({ name: 'x', dtype: 'float32', shape: [4] });
    const shifted = builder.apply('add', {}, x, builder.apply('neg', {}, builder.apply('exp', {}, x)));
    const program = builder.finish([{ name: 'y', value: builder.apply('log', {}, shifted) }]);
    expect(timeStep(referenceExecutor, program, 1, 1)).toBeNull();
  });

  test('gives up on a call that faults on made-up inputs', () => {
    const builder = new ProgramBuilder('fault');
    const x = builder.input({ name: 'x', dtype: 'float32', shape: [4] });
    const program = builder.finish([{ name: 'y', value: builder.apply('log', {}, builder.apply('neg', {}, x)) }]);
    expect(timeProgram(referenceExecutor, program, 1)).toBeNull();
  });
});

describe('conformance', () => {
  test('names the vectors that an executor gets wrong', async () => {
    const wrong: Executor = {
      name: 'wrong',
      prepare: (program) => {
        const prepared = wasmExecutor.prepare(program);
        return {
          program,
          run: (inputs) =>
            prepared.run(inputs).map((tensor) => ({ ...tensor, data: tensor.data.map((value) => -value) as typeof tensor.data })),
          dispose: () => prepared.dispose(),
        };
      },
    };
    const few = join(folder, 'vectors');
    for (const name of ['add.json', 'dot.json', 'sort.json']) await cp(join(vectorFolder, name), join(few, name));
    const found = await checkConformance(wrong, few);
    expect(found.ok).toBe(false);
    expect(found.wrong.length).toBeGreaterThan(3);
    expect((await checkConformance(wasmExecutor, join(folder, 'absent'))).ok).toBeNull();
  });
});

const program = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const compileCache = fileURLToPath(new URL('../../../node_modules/.cache/e2e-compile', import.meta.url));

async function run(...given: readonly string[]): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }> {
  const child = spawn(process.execPath, [program, ...given], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_COMPILE_CACHE: compileCache },
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (bytes: Buffer) => (out += bytes.toString()));
  child.stderr.on('data', (bytes: Buffer) => (err += bytes.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out, err };
}

test('`doctor --json` describes the machine, and `plan` plans for it elsewhere', async () => {
  const home = join(folder, 'home');
  const doctor = await run('doctor', '--json', '--home', home);
  expect(doctor.code, doctor.err).toBe(0);
  expect(existsSync(home)).toBe(false);
  const report = JSON.parse(doctor.out) as Record<string, unknown>;
  expect(report).toMatchObject({
    event: 'doctor.finished',
    ok: true,
    node: { supported: true },
    executors: executorReports().map(({ name, available }) => ({ name, available })),
    home: { writable: true },
  });
  expect((report['conformance'] as { ok: boolean; vectors: number }[])[0]).toMatchObject({ ok: true });

  const machine = join(folder, 'machine.json');
  const model = join(folder, 'model.json');
  await writeFile(machine, doctor.out);
  await writeFile(model, JSON.stringify(spec));
  const plan = await run('plan', '--model', model, '--machine', machine, '--batch', '4', '--rounds', '3', '--json');
  expect(plan.code, plan.err).toBe(0);
  expect(JSON.parse(plan.out)).toMatchObject({ event: 'plan.finished', verdict: 'can', parameters: 387, rounds: 3, sampledShare: 0 });
  const large = await run('plan', '--params', '30M', '--context', '32', '--machine', machine, '--memory', '0.2');
  expect(large.code).toBe(1);
  expect(large.out).toMatch(/verdict +this machine cannot take part: .*\n +LoRA/);
}, 120_000);

test('a machine file that is none, and options that contradict each other, are refused by name', async () => {
  expect(() => machineFrom('m.json', '{"event":"doctor.finished","machine":{"cpu":"x"}}\nrest')).toThrow(MusterError);
  expect(() => machineFrom('m.json', 'nothing')).toThrow(/m\.json/);
  const context = { paths: homePaths(join(folder, 'untouched')), output: createOutput(true), homeGiven: true };
  const defaults = { steps: '32', bandwidth: '100', deadline: '600' };
  for (const [flags, named] of [
    [{}, '--model'],
    [{ params: '1B', model: 'x.json' }, '--params'],
    [{ params: 'huge' }, 'huge'],
    [{ params: '1B', batch: '0' }, '--batch'],
    [{ params: '1B', bandwidth: 'fast' }, '--bandwidth'],
    [{ params: '1B', steps: '1.5' }, '--steps'],
    [{ params: '1B', lora: 'x' }, '--lora'],
    [{ params: '1B', machine: join(folder, 'absent.json') }, 'absent.json'],
    [{ model: join(folder, 'absent.json') }, 'absent.json'],
  ] as const) {
    await expect(planCommand(context, { ...defaults, ...flags })).rejects.toThrow(named);
  }
  expect(existsSync(join(folder, 'untouched'))).toBe(false);
});

test('an executor that is not here is refused by the names of those that are', async () => {
  const { code, err } = await run('join', 'http://127.0.0.1:1', '--executor', 'quantum', '--home', join(folder, 'none'));
  expect(code).toBe(1);
  for (const { name } of executorReports()) expect(err).toContain(name);
  for (const threads of ['0', '65', '1.5', 'all'])
    await expect(doctorCommand({ paths: homePaths(folder), output: createOutput(true), homeGiven: true }, { threads })).rejects.toThrow(
      '--threads',
    );
});

describe('the executor of a command', () => {
  test('is what its options say, else what the environment says, else auto', () => {
    expect(executorEnvironment({}, 1, {})).toMatchObject({ MUSTER_EXECUTOR: 'auto', MUSTER_THREADS: '1' });
    const given = { MUSTER_EXECUTOR: 'wasm', MUSTER_THREADS: '3', OTHER: 'x' };
    expect(executorEnvironment({}, 'most', given)).toEqual(given);
    expect(executorEnvironment({ executor: 'native', threads: '2' }, 1, given)).toEqual({
      MUSTER_EXECUTOR: 'native',
      MUSTER_THREADS: '2',
      OTHER: 'x',
    });
    expect(Number(executorEnvironment({}, 'most', {}).MUSTER_THREADS)).toBeGreaterThan(0);
    expect(mostThreads('quantum')).toBe(1);
  });

  test('is measured by one that runs a single kernel call as the whole program would', async () => {
    const training = await openTraining({ MUSTER_EXECUTOR: 'wasm', MUSTER_THREADS: '1' });
    expect(training).toMatchObject({ threads: 1, executor: { name: 'wasm' } });
    expect(samplingExecutor(training, 2 ** 30).name).toBe('wasm');
    const threaded = await openTraining({ MUSTER_EXECUTOR: 'auto', MUSTER_THREADS: '2' });
    expect(threaded.threads).toBe(2);
    expect(samplingExecutor(threaded, 100).name).not.toMatch(/threads/);
    expect(costLimits(threaded.executor).peakBytes).toBeLessThanOrEqual(threaded.executor.backend.maxBytes);
  });
});

test.each(['plan', 'doctor'])('`muster %s --help` tells how it is used', async (command) => {
  const { code, out } = await run(command, '--help');
  expect(code).toBe(0);
  expect(out).toContain(`Usage: muster ${command}`);
});
