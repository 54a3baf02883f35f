/** What people and programs read. */
import { errorCatalogue, type ErrorCode, MusterError } from '@muster/protocol';
import { expect, test } from 'vitest';
import { describe as lineOf } from '../src/commands/up.ts';
import { describeError, ether, jsonLine, percent, shortId } from '../src/output.ts';

test('every error says its code, what happened, and what to do, in two lines', () => {
  for (const code of Object.keys(errorCatalogue) as ErrorCode[]) {
    const lines = describeError(new MusterError(code, 'here is where')).split('\n');
    expect(lines).toHaveLength(2);
    expect(lines[0]).toBe(`error ${code}: here is where`);
    expect(lines[1]).toBe(`  ${errorCatalogue[code].what} ${errorCatalogue[code].do}`);
    expect(errorCatalogue[code].do).toMatch(/\.$/);
  }
});

test('a JSON line is one line, with big numbers as text', () => {
  expect(jsonLine({ event: 'x', wei: 10n ** 21n, text: 'a\nb' })).toBe('{"event":"x","wei":"1000000000000000000000","text":"a\\nb"}');
});

test('money, shares and ids are short and exact enough', () => {
  expect([0n, 1n, 10n ** 18n, 1_500_000_000_000_000_000n, 333_333_333_333_333_333n].map(ether)).toEqual(['0', '0', '1', '1.5', '0.333333']);
  expect([null, 0, 0.98765, 1].map(percent)).toEqual(['–', '0.00 %', '98.77 %', '100.00 %']);
  expect(shortId(`0x${'ab'.repeat(32)}`)).toBe('0xababab…abab');
  expect(shortId('short')).toBe('short');
});

test('what a process reports becomes one line for people, and what would be noise none', () => {
  const node = `0x${'12'.repeat(32)}`;
  const lines = [
    lineOf('node.joined', { node, role: 'trainer' }),
    lineOf('round.assigned', { round: 2, tasks: 8, nodes: 5 }),
    lineOf('node.slashed', { round: 2, task: 1, node }),
    lineOf('round.aggregated', { round: 0, tasks: 8, loss: 0.25, accuracy: null }),
    lineOf('submission.refused', { code: 'SIGNATURE_MISSING', node: null, kind: null }),
    lineOf('duty.failed', { reason: 'CHAIN_UNREACHABLE: head' }),
  ];
  for (const line of lines) {
    expect(line).not.toBeNull();
    expect(line).not.toMatch(/undefined|null|NaN|\n/);
  }
  expect(lineOf('audit.round', {})).toBeNull();
  expect(lineOf('duty.refused', { reason: 'CHAIN_REVERTED' })).toBeNull();
});
