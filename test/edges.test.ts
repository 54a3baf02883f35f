/** The table of allowed package edges holds for the sources, the package.json files and the compiler settings of this repository. */
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { breachesOf, type CheckedPackage, packageRules, specifiersOf } from './edges.ts';

const root = fileURLToPath(new URL('../', import.meta.url));

interface Manifest {
  readonly name: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, string>>;
}

interface CompilerConfig {
  readonly compilerOptions: Readonly<Record<string, unknown>>;
  readonly references?: readonly { readonly path: string }[];
}

interface Workspace extends CheckedPackage {
  readonly folder: string;
  readonly manifest: Manifest;
}

const readJson = (...path: string[]): unknown => JSON.parse(readFileSync(join(root, ...path), 'utf8'));

const workspaces: readonly Workspace[] = ['packages', 'apps']
  .flatMap((parent) => readdirSync(join(root, parent)).map((name) => `${parent}/${name}`))
  .filter((folder) => existsSync(join(root, folder, 'package.json')))
  .map((folder) => {
    const manifest = readJson(folder, 'package.json') as Manifest;
    const paths = globSync('src/**/*.{ts,mts,cts,tsx,js,mjs,cjs}', { cwd: join(root, folder) }).toSorted();
    const sources = Object.fromEntries(paths.map((path) => [path, readFileSync(join(root, folder, path), 'utf8')]));
    return { folder, manifest, name: manifest.name, dependencies: Object.keys(manifest.dependencies ?? {}), sources };
  });

const folderOf = new Map(workspaces.map(({ name, folder }) => [name, folder]));

it('every workspace has a row in the table, and every row a workspace', () => {
  expect(workspaces.map(({ name }) => name).toSorted()).toEqual(Object.keys(packageRules).toSorted());
});

it('the table has no cycle', () => {
  const done = new Set<string>();
  const open = new Set<string>();
  const enter = (name: string): void => {
    if (done.has(name)) return;
    expect(open.has(name), `${name} imports itself by way of others`).toBe(false);
    open.add(name);
    for (const next of packageRules[name]?.imports ?? []) enter(next);
    open.delete(name);
    done.add(name);
  };
  for (const name of Object.keys(packageRules)) enter(name);
});

it.each(workspaces.map((workspace) => [workspace.name, workspace] as const))(
  '%s imports only what it may and what it declares',
  (_, workspace) => {
    expect(Object.keys(workspace.sources).length).toBeGreaterThan(0);
    expect(breachesOf(workspace)).toEqual([]);
  },
);

it('every package offers its index and nothing else', () => {
  for (const { name, manifest } of workspaces) {
    if (name !== 'muster') expect(manifest.exports, name).toEqual({ '.': './src/index.ts' });
  }
});

it('the pure packages compile without Node, the DOM or any ambient types', () => {
  const { compilerOptions: shared } = readJson('tsconfig.base.json') as CompilerConfig;
  for (const { name, folder } of workspaces) {
    if (packageRules[name]?.pure !== true) continue;
    const { compilerOptions } = readJson(folder, 'tsconfig.json') as CompilerConfig;
    expect({ name, types: compilerOptions['types'] ?? shared['types'] }).toEqual({ name, types: [] });
    expect({ name, lib: compilerOptions['lib'] ?? shared['lib'] }).toEqual({ name, lib: ['es2024'] });
  }
});

it('the project references of every package are the packages it depends on', () => {
  for (const { name, folder, dependencies } of workspaces) {
    const references = ((readJson(folder, 'tsconfig.json') as CompilerConfig).references ?? []).map(({ path }) => join(folder, path));
    const expected = dependencies.flatMap((dependency) => folderOf.get(dependency) ?? []);
    expect({ name, references: references.toSorted() }).toEqual({ name, references: expected.toSorted() });
  }
});

it('the checker sees every way to name a module, and nothing in strings or comments', () => {
  const source = `
    import type { A } from 'static-type';
    import 'side-effect';
    export * from 'export-all';
    export { b } from 'export-named';
    const lazy = await import('dynamic');
    type T = import('import-type').T;
    declare const q: typeof import('type-query');
    import legacy = require('import-equals');
    const old = require('call');
    const computed = await import(name);
    // import x from 'comment';
    const text = "import x from 'text'";
  `;
  expect(specifiersOf(source).map(({ text }) => text)).toEqual([
    'static-type',
    'side-effect',
    'export-all',
    'export-named',
    'dynamic',
    'import-type',
    'type-query',
    'import-equals',
    'call',
    null,
  ]);
});

const madeUp = (name: string, source: string, dependencies: readonly string[] = []): string[] =>
  breachesOf({ name, dependencies, sources: { 'src/deep/made-up.ts': source } });

it.each([
  [
    'a forbidden edge',
    '@muster/engine',
    `import type { JobSpec } from '@muster/round';`,
    ['@muster/round'],
    'may not import @muster/round',
  ],
  ['an import type', '@muster/ports', `type E = import('@muster/engine').Executor;`, [], 'may not import @muster/engine'],
  ['Node in a pure package', '@muster/round', `import { readFile } from 'node:fs/promises';`, [], 'is pure and imports node:fs/promises'],
  [
    'an undeclared package',
    '@muster/data',
    `export { unzipSync } from 'fflate';`,
    [],
    'imports fflate, which its package.json does not list',
  ],
  [
    'a deep import',
    '@muster/roles',
    `import { a } from '@muster/round/src/a.ts';`,
    ['@muster/round'],
    'imports past the index of @muster/round',
  ],
  ['a way around the package name', '@muster/roles', `import { a } from '../../../round/src/a.ts';`, [], 'reaches out of its package'],
  ['a computed name', '@muster/adapters', `const m = await import(name);`, [], 'loads a module whose name is computed'],
  [
    'a package that is not in the table',
    '@muster/roles',
    `import { a } from '@muster/privacy';`,
    ['@muster/privacy'],
    'may not import @muster/privacy',
  ],
])('a made-up source with %s is caught', (_, name, source, dependencies, problem) => {
  const broken = madeUp(name, source, dependencies);
  expect(broken[0]).toContain(`${name} src/deep/made-up.ts:1 ${problem}`);
});

it('a dependency that the table forbids is caught although no source uses it', () => {
  expect(madeUp('@muster/protocol', 'export const one = 1;', ['@muster/engine'])).toEqual([
    '@muster/protocol package.json depends on @muster/engine, which it may not import',
  ]);
});

it('a made-up source that keeps the rules is not', () => {
  const source = `import { a } from '../a.ts'; import { JobSpec } from '@muster/protocol'; export { b } from 'fflate';`;
  expect(madeUp('@muster/data', source, ['@muster/protocol', 'fflate'])).toEqual([]);
});
