/** The one command of the first minute: a whole network, a liar, a killed trainer, an audit. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { muster } from './support/muster.ts';

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'muster-demo-'));
});
afterAll(async () => await rm(home, { recursive: true }));

test('the demonstration trains, slashes its liar, replaces its killed trainer and audits green', { timeout: 150_000 }, async () => {
  const flags = '--model softmax --trainers 5 --rounds 2 --cheat 1 --drop 1 --tasks 4 --steps 8'.split(' ');
  const { code, last, events, stderr } = await muster('demo', ...flags, '--json', '--home', home);
  expect(stderr).toBe('');
  expect(last).toMatchObject({ event: 'demo.finished', rounds: 2, auditOk: true });
  expect(code).toBe(0);
  expect(last?.['job']).toMatch(/^0x[0-9a-f]{64}$/);
  expect(last?.['model']).toMatch(/^bafy/);
  expect(last?.['accuracy']).toBeGreaterThan(0.3);
  expect(last?.['slashed']).toHaveLength(1);
  expect(last?.['replaced']).toHaveLength(1);
  expect(events.find(({ event }) => event === 'audit.finished')).toMatchObject({ ok: true, aggregations: 2, tasks: 8, firstFault: null });
  const slashed = last?.['slashed'] as readonly string[];
  expect(events.filter(({ event }) => event === 'node.slashed').every(({ node }) => node === slashed[0])).toBe(true);

  const again = await muster('audit', String(last?.['job']), '--home', home);
  expect(again.code).toBe(0);
  expect(again.stdout).toContain('everything agrees');
});
