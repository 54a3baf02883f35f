/**
 * A network of processes as people start it: a training is requested, a node without ether joins through the relay, works, is paid, and
 * leaves. All by commands.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { MusterError, parseJobId } from '@muster/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { auditCommand } from '../src/commands/audit.ts';
import type { Context } from '../src/commands/context.ts';
import { jobFail, jobRelease, jobSettle } from '../src/commands/endings.ts';
import { jobControl, jobShow, jobSubmit } from '../src/commands/jobs.ts';
import { nodePayOut, nodeReport, nodeShow, nodeStake, nodeTopUp } from '../src/commands/nodes.ts';
import { jobRequest } from '../src/commands/request.ts';
import { homePaths } from '../src/home.ts';
import { describeError, jsonLine, type Output } from '../src/output.ts';

const program = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const compileCache = fileURLToPath(new URL('../../../node_modules/.cache/e2e-compile', import.meta.url));
const env = { ...process.env, NODE_COMPILE_CACHE: compileCache };
const ether = 10n ** 18n;

type Fields = Readonly<Record<string, unknown>> & { readonly event: string };

interface Running {
  readonly process: ChildProcess;
  readonly events: Fields[];
  /** The first event with this name, once it is there. Rejects when the process ends without it. */
  reported(event: string): Promise<Fields>;
}

/** A command that goes on until it is stopped. */
function start(...given: readonly string[]): Running {
  const child = spawn(process.execPath, [program, '--json', ...given], { stdio: ['ignore', 'pipe', 'pipe'], env });
  const events: Fields[] = [];
  let err = '';
  const waiting = new Set<() => void>();
  let ended = false;
  const wake = (): void => {
    for (const look of waiting) look();
  };
  createInterface({ input: child.stdout }).on('line', (line) => {
    events.push(JSON.parse(line) as Fields);
    wake();
  });
  child.stderr.on('data', (bytes: Buffer) => (err += bytes.toString()));
  child.once('close', () => {
    ended = true;
    wake();
  });
  return {
    process: child,
    events,
    reported: (event) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          const found = events.find((said) => said.event === event);
          if (found === undefined && !ended) return;
          waiting.delete(look);
          if (found === undefined) reject(new Error(`${given.join(' ')} ended without ${event}: ${err}`));
          else resolve(found);
        };
        waiting.add(look);
        look();
      }),
  };
}

interface Ended {
  readonly events: Fields[];
  /** What it was refused with; empty where it was not. */
  readonly err: string;
}

type Act = (context: Context) => Promise<unknown>;

/** A command in this process, on a home. */
async function run(root: string, act: Act): Promise<Ended> {
  const events: Fields[] = [];
  const output: Output = {
    json: true,
    event: (event, fields) => void events.push(JSON.parse(jsonLine({ event, ...fields })) as Fields),
    line: () => undefined,
    progress: () => ({ update: () => undefined, stop: () => undefined }),
  };
  try {
    await act({ paths: homePaths(root), output, homeGiven: true });
    return { events, err: '' };
  } catch (error) {
    if (!(error instanceof MusterError)) throw error;
    return { events, err: describeError(error) };
  }
}

/** The last event of a command that must succeed. */
async function done(root: string, act: Act): Promise<Fields> {
  const { events, err } = await run(root, act);
  const last = events.at(-1);
  if (err !== '' || last === undefined) throw new Error(err === '' ? 'it said nothing' : err);
  return last;
}

const show: Act = (context) => nodeShow(context, {});
const withdraw: Act = (context) => nodePayOut(context, {}, 'withdraw');
const request =
  (file: string): Act =>
  (context) =>
    jobRequest(context, file);

let folder: string;
let home: string;
let up: Running;
let url: string;
const trainers: Running[] = [];
const trainerHome = (index: number): string => join(folder, `trainer ${index}`);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-nodes-'));
  home = join(folder, 'network');
  up = start('--home', home, 'up', '--port', '0', '--chain-port', '0');
  url = String((await up.reported('network.up'))['url']);
});
afterAll(async () => {
  for (const { process: child } of [...trainers, up]) {
    if (child.exitCode !== null) continue;
    const closed = once(child, 'close');
    child.kill('SIGTERM');
    await closed;
  }
  await rm(folder, { recursive: true });
});

const model = {
  family: 'softmax',
  input: [28, 28],
  classes: 10,
  batchSize: 16,
  evaluationBatch: 100,
  optimizer: { kind: 'momentum', learningRate: 0.05, momentum: 0.9 },
};

async function csv(): Promise<string> {
  const path = join(folder, 'heaps.csv');
  const rows = Array.from({ length: 120 }, (_, row) => [row % 7, (3 * row) % 11, row % 3].join(','));
  await writeFile(path, `a,b,label\n${rows.join('\n')}\n`);
  return path;
}

test('a home without a node says how to get one, and makes no keys', async () => {
  const empty = join(folder, 'empty');
  const acts: Act[] = [show, (context) => nodeTopUp(context, {}, '1'), (context) => nodeStake(context, {}, 'startUnbonding')];
  for (const act of acts) expect((await run(empty, act)).err).toContain('muster join');
  expect((await run(empty, (context) => nodeShow(context, { validator: true }))).err).toContain('muster up');
  await expect(access(empty)).rejects.toThrow('ENOENT');
});

const small = { ...model, input: [2], classes: 3 };
const budgetWei = (6n * ether) / 10n;

describe('a requested training', () => {
  test('runs with a node that has no ether, is audited, and pays it through the relay', async () => {
    for (let index = 0; index < 3; index++) {
      const relay = index === 0 ? ['--relay'] : [];
      trainers.push(start('--home', trainerHome(index), 'join', url, '--threads', '1', ...relay));
    }
    for (const trainer of trainers) await trainer.reported('node.ready');
    const stake = { tier: 'basic', stakeWei: `${ether}`, freeWei: `${ether}`, balanceWei: '0' };
    expect(await done(trainerHome(0), show)).toMatchObject({ status: 'active', role: 'trainer', ...stake });

    const file = join(folder, 'request.json');
    const policy = { roundTimeout: 1200, reward: { model: 'perGradientUpdate' } };
    const asked = { model: small, dataset: await csv(), rounds: 2, tasks: 2, localSteps: 4, budgetEther: '0.6', policy };
    await writeFile(file, JSON.stringify(asked));
    const requested = await done(home, request(file));
    expect(requested).toMatchObject({ event: 'job.requested', budgetWei: `${budgetWei}` });
    expect(requested['job']).toBe(requested['predicted']);
    const job = parseJobId(String(requested['job']));
    expect(await up.reported('request.specified')).toMatchObject({ job, spec: requested['spec'] });
    expect(await up.reported('job.ended')).toMatchObject({ job, status: 'completed' });

    const reward = { model: 'perGradientUpdate', stepsPerTask: 4 };
    const shown = await done(home, (context) => jobShow(context, job));
    expect(shown).toMatchObject({ state: 'completed', policy: { settlement: 'direct', roundTimeout: 1200, reward } });
    expect(shown).toMatchObject({ paidWei: `${budgetWei}`, refundWei: '0', reserveWei: '0' });

    // Two rounds of two tasks, three nodes each: four results of a twelfth.
    const earned = budgetWei / 3n;
    expect(await trainers[0]?.reported('node.credited')).toMatchObject({ slots: 4 });
    const withdrawn = await done(trainerHome(0), withdraw);
    expect(withdrawn).toMatchObject({ event: 'node.withdrawn', amountWei: `${earned}`, balanceWei: `${earned}` });
    expect((await run(trainerHome(0), withdraw)).err).toContain('has no credit');
    const after = { tasks: { accepted: 4, rejected: 0, missed: 0 }, creditWei: '0' };
    expect(await done(trainerHome(0), show)).toMatchObject(after);
    expect(await done(home, (context) => auditCommand(context, job))).toMatchObject({ ok: true, firstFault: null });

    // The same model is not registered twice.
    const second = await done(home, request(file));
    expect(second).toMatchObject({ baseModel: requested['baseModel'] });
    const stopped = await done(home, (context) => jobControl(context, parseJobId(String(second['job'])), 'stop'));
    expect(stopped).toMatchObject({ state: 'cancelled' });
  });

  test('is refused before it is paid for where the coordinator could not carry it out', async () => {
    const file = join(folder, 'wrong.json');
    const cases: readonly (readonly [object, string])[] = [
      [{ learningRate: 0.1 }, 'learningRate'],
      [{ learningRate: 1e-10 }, 'learningRate'],
      [{ batchSize: 17 }, 'batchSize'],
      [{ optimizer: 'adam' }, 'optimizer'],
      [{ redundancy: 16 }, 'redundancy'],
      [{ seed: -1 }, 'seed'],
      [{ colour: 'blue' }, 'colour'],
      [{ strategy: 'best' }, 'strategy'],
      [{ baseModel: `0x${'56'.repeat(32)}` }, 'baseModel'],
      [{ model: undefined, baseModel: `0x${'56'.repeat(32)}` }, 'no model is registered'],
      [{ policy: { minParticipants: 2 } }, 'beside the policy'],
      [{ policy: { reward: { model: 'perBatch' } } }, 'gpuSecondsPerTask'],
      [{ policy: { kind: 'singleNode' } }, 'KindNeedsOtherShape'],
    ];
    const dataset = await csv();
    for (const [change, named] of cases) {
      await writeFile(file, JSON.stringify({ model: small, dataset, ...change }));
      expect((await run(home, request(file))).err).toContain(named);
    }
  });
});

const stake =
  (call: Parameters<typeof nodeStake>[2]): Act =>
  (context) =>
    nodeStake(context, {}, call);
const topUp =
  (amount: string): Act =>
  (context) =>
    nodeTopUp(context, {}, amount);
const report =
  (node: string): Act =>
  (context) =>
    nodeReport(context, {}, node);

describe('an operator', () => {
  test('tops up, leaves, stays after all, and is told what is not possible', async () => {
    const mine = trainerHome(1);
    // A join's account keeps what its grant left after the stake.
    expect(await done(mine, topUp('0.5'))).toMatchObject({ stakeWei: `${(3n * ether) / 2n}`, status: 'active' });
    const unbonding = await done(mine, stake('startUnbonding'));
    expect(unbonding).toMatchObject({ event: 'node.unbonding', status: 'unbonding' });
    expect((await run(mine, stake('startUnbonding'))).err).toContain('leaving already');
    expect((await run(mine, stake('withdrawStake'))).err).toContain('held until 2');
    expect((await run(mine, (context) => nodePayOut(context, {}, 'claimInsurance'))).err).toContain('owed nothing');
    expect(await done(mine, show)).toMatchObject({ status: 'unbonding', withdrawableAt: unbonding['withdrawableAt'] });
    expect(await done(mine, stake('cancelUnbonding'))).toMatchObject({ event: 'node.bonded', status: 'active' });
    expect((await run(mine, stake('cancelUnbonding'))).err).toContain('not leaving');
    expect(await done(mine, stake('heartbeat'))).toMatchObject({ event: 'node.heartbeat' });
    const { node } = await done(trainerHome(2), show);
    expect((await run(mine, report(String(node)))).err).toContain('has missed none');
    expect((await run(mine, report(`0x${'12'.repeat(32)}`))).err).toContain('NODE_UNKNOWN');
    expect((await run(mine, topUp('much'))).err).toContain('not an amount');
    expect((await run(trainerHome(0), topUp('0.1'))).err).toContain('this relay sends no money along');
  });

  test('of the validator finds it in the home of the network', async () => {
    const shown = await done(home, (context) => nodeShow(context, { validator: true }));
    expect(shown).toMatchObject({ role: 'validator', status: 'active' });
  });
});

test('what has not ended, or stands still only for a moment, cannot be settled, failed or released', async () => {
  const file = join(folder, 'job.json');
  const policy = { minParticipants: 9, roundTimeout: 600, reward: { model: 'perRound', weigh: 'records' } };
  await writeFile(file, JSON.stringify({ name: 'waits', model: small, dataset: await csv(), tasks: 2, policy }));
  const submitted = await done(home, (context) => jobSubmit(context, file));
  const job = parseJobId(String(submitted['job']));
  const settle: Act = (context) => jobSettle(context, job);
  expect((await run(home, settle)).err).toContain('its rounds pay for its work');
  expect((await run(home, (context) => jobFail(context, job))).err).toMatch(/can be called failed from 2\d{3}-/);
  expect((await run(home, (context) => jobRelease(context, job))).err).toContain('keeps no reserve');
  const jobShown: Act = (context) => jobShow(context, job);
  const expected = { minParticipants: 9, roundTimeout: 600, reward: { scoreTotal: 120 } };
  expect(await done(home, jobShown)).toMatchObject({ policy: expected, reserveWei: '0' });
  await done(home, (context) => jobControl(context, job, 'stop'));
  expect(await done(home, jobShown)).toMatchObject({ refundWei: `${ether}`, paidWei: '0' });
  expect(await done(home, settle)).toMatchObject({ event: 'job.settled', tasks: 0 });
  const unknown = parseJobId(`0x${'34'.repeat(32)}`);
  for (const act of [jobFail, jobRelease, jobSettle])
    expect((await run(home, (context) => act(context, unknown))).err).toContain('JOB_UNKNOWN');
});
