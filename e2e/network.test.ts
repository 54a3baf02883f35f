/** A network of separate processes: jobs from files, processes killed in the middle of one, audits of what is left. */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { childNamed, type Finished, type Line, muster, Running } from './support/muster.ts';

let folder: string;
let home: string;
let up: Running;
let url: string;
const trainers: Running[] = [];
/** Model of the undisturbed job, to compare with. */
let undisturbed: { readonly job: string; readonly model: unknown };

const inHome = (...given: readonly string[]): Promise<Finished> => muster(...given, '--json', '--home', home);

function trainer(index: number): Running {
  const started = new Running(['join', url, '--json', '--home', join(folder, `trainer-${index}`)]);
  trainers[index] = started;
  return started;
}

async function restartTrainer(index: number): Promise<void> {
  await trainers[index]?.end('SIGKILL');
  await trainer(index).said(({ event }) => event === 'node.ready');
}

const storedObjects = async (): Promise<number> => (await readdir(join(home, 'store', 'blocks'), { recursive: true })).length;

/** 240 rows of four features around one centre per class. */
function rows(): string {
  const lines = ['a,b,c,d,class'];
  for (let row = 0; row < 240; row++) {
    const label = row % 3;
    const noise = (salt: number): number => ((row * 7919 + salt * 104_729) % 97) / 97;
    lines.push([0, 1, 2, 3].map((column) => (Number(column === label) + noise(column)).toFixed(3)).join() + `,${'xyz'[label]}`);
  }
  return `${lines.join('\n')}\n`;
}

const jobFile = {
  name: 'three heaps',
  model: {
    family: 'softmax',
    input: [4],
    classes: 3,
    batchSize: 8,
    evaluationBatch: 32,
    optimizer: { kind: 'momentum', learningRate: 0.1, momentum: 0.9 },
  },
  dataset: 'rows.csv',
  seed: 5,
  budgetEther: '0.5',
  rounds: 3,
  tasks: 2,
  redundancy: 3,
  localSteps: 8,
  minimumNodes: 3,
  slotState: 'carry',
  // Long enough that a node which is started again finishes its work itself.
  commitTimeoutMs: 45_000,
  revealTimeoutMs: 30_000,
};

async function submit(changes: Readonly<Record<string, unknown>> = {}): Promise<string> {
  const file = join(folder, 'job.json');
  await writeFile(file, JSON.stringify({ ...jobFile, ...changes }));
  const { code, last, stderr } = await inHome('job', 'submit', file);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(last).toMatchObject({ event: 'job.submitted', state: 'running' });
  return String(last?.['job']);
}

const of = (job: string, event: string, round?: number): ((line: Line) => boolean) => {
  return (line) => line.event === event && line['job'] === job && (round === undefined || line['round'] === round);
};

async function ended(job: string): Promise<Line> {
  await up.said(of(job, 'job.ended'), 120_000);
  const { code, last } = await inHome('job', 'show', job);
  expect(code).toBe(0);
  return last as Line;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'muster-e2e-'));
  home = join(folder, 'home');
  await writeFile(join(folder, 'rows.csv'), rows());
  up = new Running(['up', '--port', '0', '--chain-port', '0', '--json', '--home', home]);
  url = String((await up.said(({ event }) => event === 'network.up', 60_000))['url']);
  await Promise.all([0, 1, 2].map((index) => trainer(index).said(({ event }) => event === 'node.ready')));
}, 120_000);

afterAll(async () => {
  await Promise.all([up, ...trainers].map((process) => process.end('SIGKILL')));
  await rm(folder, { recursive: true, maxRetries: 5 });
});

test('a job from a file runs to its end and can be listed and shown', { timeout: 120_000 }, async () => {
  const job = await submit();
  const shown = await ended(job);
  expect(shown).toMatchObject({ event: 'job.shown', job, state: 'completed', slashed: [], name: 'three heaps' });
  expect(shown['checkpoints']).toHaveLength(3);
  const listed = await inHome('job', 'list');
  expect(listed.events.find(of(job, 'job.listed'))).toMatchObject({ state: 'completed' });
  expect(listed.last).toMatchObject({ event: 'job.list', count: 1 });
  undisturbed = { job, model: shown['model'] };
});

test(
  'killing chain, coordinator, validator and a trainer in the middle of a job changes nothing about its model',
  { timeout: 180_000 },
  async () => {
    const job = await submit();
    const killed: number[] = [];
    const kill = async (name: string): Promise<void> => {
      const pid = await childNamed(up.pid, name);
      process.kill(pid, 'SIGKILL');
      killed.push(pid);
    };
    await up.said(of(job, 'round.assigned', 0));
    await kill('chain');
    await up.said(of(job, 'round.assigned', 1), 120_000);
    await Promise.all([kill('coordinator'), restartTrainer(0)]);
    await up.said(of(job, 'round.assigned', 2), 120_000);
    await Promise.all([kill('chain'), kill('coordinator'), kill('validator'), restartTrainer(1)]);
    const shown = await ended(job);
    expect(killed).toHaveLength(5);
    expect(shown).toMatchObject({ state: 'completed', slashed: [] });
    expect(shown['model']).toBe(undisturbed.model);
    expect((await inHome('audit', job)).last).toMatchObject({ event: 'audit.finished', ok: true, aggregations: 3, tasks: 6 });
  },
);

test('a job can be paused, resumed and stopped', { timeout: 120_000 }, async () => {
  const job = await submit({ rounds: 200, name: 'long' });
  await up.said(of(job, 'round.assigned', 0));
  expect((await inHome('job', 'pause', job)).last).toMatchObject({ event: 'job.paused', job, state: 'paused' });
  const again = await inHome('job', 'pause', job);
  expect(again.code).toBe(1);
  expect(again.last).toMatchObject({ event: 'error', code: 'CHAIN_REVERTED' });
  expect((await inHome('job', 'resume', job)).last).toMatchObject({ event: 'job.resumed', job, state: 'running' });
  await up.said((line) => of(job, 'round.finished')(line) && Number(line['round']) >= 1, 60_000);
  expect((await inHome('job', 'stop', job)).last).toMatchObject({ event: 'job.stopped', job, state: 'cancelled' });
  await up.said(of(job, 'job.ended'));
  expect((await inHome('audit', job)).last).toMatchObject({ event: 'audit.finished', ok: true });
});

test('wrong input is answered with what is wrong and what to do, and leaves nothing behind', { timeout: 120_000 }, async () => {
  const before = await storedObjects();
  const bad = join(folder, 'bad');
  await mkdir(bad);
  await writeFile(join(bad, 'malformed.csv'), 'a,b,class\n1,2,x\n1,oops,y\n');
  await writeFile(join(bad, 'unknown-field.json'), JSON.stringify({ ...jobFile, dataset: '../rows.csv', round: 3 }));
  await writeFile(join(bad, 'no-data.json'), JSON.stringify({ ...jobFile, dataset: 'nothing.csv' }));
  await writeFile(
    join(bad, 'misfit.json'),
    JSON.stringify({ ...jobFile, dataset: '../rows.csv', model: { ...jobFile.model, input: [5] } }),
  );
  const nowhere = `0x${'0'.repeat(64)}`;
  const wrong: readonly (readonly [readonly string[], number, string])[] = [
    [['data', 'import', join(bad, 'malformed.csv')], 1, 'DATA_MALFORMED'],
    [['job', 'submit', join(bad, 'unknown-field.json')], 1, 'JOB_INVALID'],
    [['job', 'submit', join(bad, 'no-data.json')], 1, 'DATA_UNREADABLE'],
    [['job', 'show', nowhere], 1, 'JOB_UNKNOWN'],
    [['job', 'pause', nowhere], 1, 'JOB_UNKNOWN'],
    [['audit', nowhere], 1, 'JOB_UNKNOWN'],
  ];
  const answers = await Promise.all(wrong.map(([given]) => inHome(...given)));
  expect(answers.map(({ code, last }) => ({ code, error: last?.['code'] }))).toEqual(wrong.map(([, code, error]) => ({ code, error })));
  for (const { stderr, last } of answers) {
    expect(stderr).toContain(`error ${String(last?.['code'])}: ${String(last?.['message'])}`);
    expect(stderr.trim().split('\n')).toHaveLength(2);
  }
  expect(await storedObjects()).toBe(before);
  const misfit = await inHome('job', 'submit', join(bad, 'misfit.json'));
  expect({ code: misfit.code, error: misfit.last?.['code'] }).toEqual({ code: 1, error: 'JOB_INVALID' });
  expect((await inHome('job', 'list')).last).toMatchObject({ count: 3 });
});

test('a second `up` in the same home, and a second trainer, are turned away', { timeout: 60_000 }, async () => {
  const [second, twin] = await Promise.all([
    inHome('up', '--port', '0', '--chain-port', '0'),
    muster('join', url, '--json', '--home', join(folder, 'trainer-0')),
  ]);
  for (const { code, last } of [second, twin]) expect({ code, error: last?.['code'] }).toEqual({ code: 1, error: 'HOME_LOCKED' });
});

test(
  'after the network has stopped the audit needs only its files, and finds one flipped byte in any of them',
  { timeout: 120_000 },
  async () => {
    const stopped = await up.end('SIGTERM');
    expect(stopped.code).toBe(0);
    const green = await muster('audit', undisturbed.job, '--home', home);
    expect(green.code).toBe(0);
    expect(green.stdout).toContain('everything agrees');

    const shown = green.stdout;
    expect(shown).toMatch(/tasks executed again +6\n/);
    const cid = String(undisturbed.model);
    const file = join(home, 'store', 'blocks', cid.slice(-3, -1), cid);
    const bytes = await readFile(file);
    const damaged = Uint8Array.from(bytes);
    damaged[bytes.length >> 1] = (damaged[bytes.length >> 1] ?? 0) ^ 1;
    await writeFile(file, damaged);
    const red = await muster('audit', undisturbed.job, '--home', home);
    await writeFile(file, bytes);
    expect(red.code).toBe(1);
    expect(red.stdout).toContain(`FAULT in ${cid}`);
    expect(red.stdout).not.toContain('everything agrees');
  },
);

test.each([
  [
    'an event',
    'UPDATE logs SET data = ? WHERE block = ? AND log = ?',
    'SELECT data AS value, block AS a, log AS b FROM logs ORDER BY block DESC LIMIT 1',
  ],
  [
    'a receipt',
    'UPDATE transactions SET bloom = ? WHERE block = ? AND position = ?',
    'SELECT bloom AS value, block AS a, position AS b FROM transactions ORDER BY block DESC LIMIT 1',
  ],
])('a flipped byte of %s in the chain’s file makes the audit of any job fail', { timeout: 60_000 }, async (what, update, select) => {
  const copy = join(folder, `copy of ${what}`);
  await cp(home, copy, { recursive: true });
  const database = new DatabaseSync(join(copy, 'chain', 'chain.sqlite'));
  const row = database.prepare(select).get() as { readonly value: Uint8Array; readonly a: number; readonly b: number };
  const changed = Uint8Array.from(row.value);
  changed[changed.length >> 1] = (changed[changed.length >> 1] ?? 0) ^ 1;
  database.prepare(update).run(changed, row.a, row.b);
  database.close();
  const { code, last, stdout } = await muster('audit', undisturbed.job, '--json', '--home', copy);
  expect({ code, ok: last?.['ok'] }).toEqual({ code: 1, ok: false });
  expect(stdout).toContain(`block ${row.a}`);
});
