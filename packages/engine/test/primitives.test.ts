/** The closed list against jax-js's own, and against the tables of the specification. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { lax, numpy as np } from '@jax-js/jax';
import { MusterError } from '@muster/protocol';
import { expect, test } from 'vitest';
import { type NamedType, primitives, type TracedFunction, traceProgram } from '../src/index.ts';

const spec = (name: string): string => readFileSync(join(import.meta.dirname, '../../../docs/spec', name), 'utf8');

/** Primitives that jax-js declares. */
function declared(): string[] {
  const types = readFileSync(join(dirname(fileURLToPath(import.meta.resolve('@jax-js/jax'))), 'index.d.ts'), 'utf8');
  const start = types.indexOf('declare enum Primitive {');
  return [...types.slice(start, types.indexOf('}', start)).matchAll(/= "(\w+)"/g)].map((match) => match[1] as string);
}

const named = (text: string): string[] => [...text.matchAll(/`([a-z_]+)`/g)].map((match) => match[1] as string);

/** The list of `docs/spec/02-programs.md` that begins with `word` in bold. */
function listed(word: string): string[] {
  const page = spec('02-programs.md');
  const start = page.indexOf(`- **${word}**`);
  const rest = page.slice(start + 2);
  const end = rest.search(/\n\n|\n- /);
  return named(rest.slice(0, end).replace(/\(`[A-Z_]+`\)/, ''));
}

test('every primitive of jax-js is covered, inlined or refused, as the specification lists them', () => {
  const [covered, inlined, refused] = ['covered', 'inlined', 'refused'].map(listed) as [string[], string[], string[]];
  expect(covered.toSorted()).toEqual([...primitives].toSorted());
  expect([...covered, ...inlined, ...refused].toSorted()).toEqual(declared().toSorted());
});

test('the table of exact rules has a row for every primitive, and no other', () => {
  const page = spec('01-exact-arithmetic.md');
  const rows = page.slice(page.indexOf('## Every primitive at a glance')).matchAll(/^\| ((?:`[a-z_]+` ?)+)/gm);
  const found = new Set([...rows].flatMap((match) => named(match[1] as string)));
  expect([...found].toSorted()).toEqual([...primitives].toSorted());
});

const refusals: Readonly<Record<string, TracedFunction>> = {
  bit_count: (x) => [np.bitwiseCount(x.astype(np.int32))],
  asin: (x) => [np.asin(x)],
  atan: (x) => [np.atan(x)],
  erfc: (x) => [lax.erfc(x)],
  triangular_solve: (x) => [lax.linalg.triangularSolve(x.ref, x)],
  cholesky: (x) => [lax.linalg.cholesky(x)],
  lu: (x) => lax.linalg.lu(x).slice(0, 1),
  jacobi_eigh: (x) => [np.linalg.eigh(x)[0]],
  fft: (x) => [np.fft.fft({ real: x.ref, imag: x }).real],
};

test('the refused ones are refused by name when a program is built', () => {
  expect(Object.keys(refusals).toSorted()).toEqual(listed('refused').toSorted());
  const inputs: readonly NamedType[] = [{ name: 'x', dtype: 'float32', shape: [3, 3] }];
  for (const [primitive, fn] of Object.entries(refusals)) {
    let error: unknown = null;
    try {
      traceProgram('refused', fn, inputs, ['y']);
    } catch (caught) {
      error = caught;
    }
    expect(error, primitive).toBeInstanceOf(MusterError);
    expect([(error as MusterError).code, (error as MusterError).details['primitive']]).toEqual(['PRIMITIVE_UNKNOWN', primitive]);
  }
});
