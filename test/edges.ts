/**
 * Which package may import which, and a checker that holds sources to it. Used by `edges.test.ts` alone.
 *
 * It reads every specifier of a TypeScript source from its syntax tree: static and dynamic imports, re-exports, import types,
 * `require`. It does not resolve types, so what a package's declarations mention transitively is not seen here; the compiler
 * settings of the pure packages (`types: []`, `lib: es2024`) take care of that.
 */
import { parseAst } from 'vite';

export interface PackageRule {
  /** Muster packages this one may import. */
  readonly imports: readonly string[];
  /** Whether it must not know Node, the DOM or any ambient types. */
  readonly pure: boolean;
}

/** The table. `protocol ← engine ← models`; only apps compose. The reasons are in ARCHITECTURE.md. */
export const packageRules: Readonly<Record<string, PackageRule>> = {
  '@muster/protocol': { imports: [], pure: true },
  '@muster/engine': { imports: ['@muster/protocol'], pure: true },
  '@muster/models': { imports: ['@muster/protocol', '@muster/engine'], pure: true },
  '@muster/data': { imports: ['@muster/protocol'], pure: true },
  '@muster/round': { imports: ['@muster/protocol', '@muster/engine', '@muster/data'], pure: true },
  '@muster/ports': { imports: ['@muster/protocol'], pure: true },
  '@muster/adapters': { imports: ['@muster/protocol', '@muster/engine', '@muster/ports', '@muster/data'], pure: false },
  '@muster/roles': {
    imports: ['@muster/protocol', '@muster/engine', '@muster/models', '@muster/data', '@muster/round', '@muster/ports'],
    pure: false,
  },
  muster: {
    imports: [
      '@muster/protocol',
      '@muster/engine',
      '@muster/models',
      '@muster/data',
      '@muster/round',
      '@muster/ports',
      '@muster/adapters',
      '@muster/roles',
    ],
    pure: false,
  },
};

/** Packages that may load a module whose name is only known at run time: the command line loads an organizer's model file. */
const mayLoadByName: ReadonlySet<string> = new Set(['muster']);

export interface Specifier {
  /** Null where it is computed at run time. */
  readonly text: string | null;
  readonly offset: number;
}

/** Every module specifier in a TypeScript source. */
export function specifiersOf(source: string): Specifier[] {
  const found: Specifier[] = [];
  visit(parseAst(source, { lang: 'ts' }), (node) => {
    switch (node['type']) {
      case 'ImportDeclaration':
      case 'ExportAllDeclaration':
      case 'ExportNamedDeclaration':
      case 'ImportExpression':
      case 'TSImportType':
        if (node['source'] !== null) found.push(specifierOf(node['source'], node));
        return;
      case 'TSExternalModuleReference':
        found.push(specifierOf(node['expression'], node));
        return;
      case 'CallExpression': {
        const { callee, arguments: given } = node;
        if (!isNode(callee) || callee['name'] !== 'require') return;
        // Functions of our own may bear the name; only a text names a module.
        const required = specifierOf(Array.isArray(given) ? given[0] : null, node);
        if (required.text !== null) found.push(required);
        return;
      }
      default:
    }
  });
  for (const { index, 1: text } of source.matchAll(/^\/\/\/\s*<reference\s+(?:types|lib|path)="([^"]*)"/gm)) {
    found.push({ text: text ?? null, offset: index });
  }
  return found;
}

type Node = Readonly<Record<string, unknown>>;

const isNode = (value: unknown): value is Node => value !== null && typeof value === 'object' && !Array.isArray(value);

function visit(value: unknown, onNode: (node: Node) => void): void {
  if (Array.isArray(value)) {
    for (const item of value) visit(item, onNode);
    return;
  }
  if (!isNode(value)) return;
  if (typeof value['type'] === 'string') onNode(value);
  for (const child of Object.values(value)) if (typeof child === 'object') visit(child, onNode);
}

function specifierOf(source: unknown, node: Node): Specifier {
  const text = isNode(source) && typeof source['value'] === 'string' ? source['value'] : null;
  return { text, offset: Number(node['start'] ?? 0) };
}

export interface CheckedPackage {
  readonly name: string;
  /** Names in `dependencies` of its package.json. */
  readonly dependencies: readonly string[];
  /** Sources by path relative to the package, `src/a/b.ts`. */
  readonly sources: Readonly<Record<string, string>>;
}

/** Sentences about every breach in `checked`, in order; empty when there is none. */
export function breachesOf(checked: CheckedPackage): string[] {
  const rule = packageRules[checked.name];
  if (rule === undefined) return [`${checked.name} is not in the table of packages`];
  const broken: string[] = [];
  for (const [path, source] of Object.entries(checked.sources)) {
    for (const { text, offset } of specifiersOf(source)) {
      const problem = problemOf(checked, rule, path, text);
      if (problem !== null) broken.push(`${checked.name} ${path}:${source.slice(0, offset).split('\n').length} ${problem}`);
    }
  }
  for (const dependency of checked.dependencies) {
    if (dependency in packageRules && !rule.imports.includes(dependency))
      broken.push(`${checked.name} package.json depends on ${dependency}, which it may not import`);
  }
  return broken;
}

function problemOf({ name, dependencies }: CheckedPackage, rule: PackageRule, path: string, specifier: string | null): string | null {
  if (specifier === null) return mayLoadByName.has(name) ? null : 'loads a module whose name is computed';
  if (specifier.startsWith('.')) {
    const depth = path.split('/').length - 2;
    const climbs = specifier.split('/').filter((part) => part === '..').length;
    return climbs > depth ? `reaches out of its package: ${specifier}` : null;
  }
  if (specifier.startsWith('/') || specifier.startsWith('file:')) return `imports by absolute path: ${specifier}`;
  if (specifier.startsWith('node:')) return rule.pure ? `is pure and imports ${specifier}` : null;
  const imported = packageOf(specifier);
  if (imported in packageRules || imported.startsWith('@muster/')) {
    if (!rule.imports.includes(imported)) return `may not import ${imported}`;
    if (specifier !== imported) return `imports past the index of ${imported}: ${specifier}`;
  }
  return dependencies.includes(imported) ? null : `imports ${imported}, which its package.json does not list under dependencies`;
}

/** Package name in a bare specifier. */
function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}
