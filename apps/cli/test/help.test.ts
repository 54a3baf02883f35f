/** `--help` and wrong command lines, through the program itself. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

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

test('`muster --help` lists every command and no inner process', async () => {
  const { code, out, err } = await run('--help');
  expect({ code, err }).toEqual({ code: 0, err: '' });
  for (const command of ['demo', 'up', 'join', 'job', 'node', 'data', 'model', 'audit'])
    expect(out).toMatch(new RegExp(`^ {2}${command}\\b`, 'm'));
  expect(out).not.toMatch(/^ {2}run\b/m);
});

test.each([
  ['demo'],
  ['up'],
  ['join'],
  ['job', 'submit'],
  ['job', 'stop'],
  ['job', 'request'],
  ['job', 'fail'],
  ['job', 'release'],
  ['job', 'settle'],
  ['node', 'show'],
  ['node', 'top-up'],
  ['node', 'report'],
  ['data', 'import'],
  ['model', 'build'],
  ['model', 'show'],
  ['model', 'export'],
  ['model', 'import'],
  ['model', 'generate'],
  ['audit'],
  ['chain', 'deploy'],
  ['chain', 'status'],
])('`muster %s %s --help` tells how it is used', async (...command) => {
  const { code, out, err } = await run(...command, '--help');
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(out).toContain(`Usage: muster ${command.join(' ')}`);
  expect(out).toContain('--home <folder>');
  expect(out).toContain('--json');
});

test.each([
  [['conquer'], 'conquer'],
  [['job', 'submit'], 'file'],
  [['demo', '--trainer', '3'], '--trainer'],
  [['model', 'export', 'x', '--format', 'onnx'], '--out'],
  [['model', 'import', 'x.safetensors'], '--model'],
])('`muster %s` is a usage error with exit code 2', async (command, named) => {
  const { code, out, err } = await run(...command);
  expect({ code, out }).toEqual({ code: 2, out: '' });
  expect(err).toContain(named);
  expect(err).toContain('--help');
});
