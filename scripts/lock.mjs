/**
 * `npm run lock`: writes package-lock.json anew from the package.json files.
 *
 * Two corrections follow what npm writes. A registry that lacks a platform's binary leaves it out of the lockfile, which
 * `npm ci` then refuses: such entries are added by name and version. And npm under Node 20 leaves out optional binaries whose
 * `engines` exclude 20, although they are only ever run by the Node 24 that comes with the dependencies: their `engines` are
 * dropped from the lockfile.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const lockPath = join(root, 'package-lock.json');

const work = mkdtempSync(join(tmpdir(), 'muster-lock-'));
try {
  const manifests = execFileSync('git', ['ls-files', 'package.json', 'packages/*/package.json', 'apps/*/package.json'], {
    cwd: root,
    encoding: 'utf8',
  });
  for (const path of manifests.trim().split('\n')) cpSync(join(root, path), join(work, path), { recursive: true });
  execFileSync('npx', ['-y', '-p', 'node@24', '--', 'npm', 'install', '--package-lock-only', '--ignore-scripts'], {
    cwd: work,
    stdio: 'inherit',
  });
  const lock = JSON.parse(readFileSync(join(work, 'package-lock.json'), 'utf8'));
  lock.packages = Object.fromEntries(Object.entries(corrected(lock.packages)).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(lockPath, `${JSON.stringify(lock, null, 2)}\n`);
} finally {
  rmSync(work, { recursive: true });
}

function corrected(packages) {
  const result = { ...packages };
  for (const entry of Object.values(packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      result[`node_modules/${name}`] ??= missingBinary(name, version, entry.dev);
    }
  }
  for (const [path, entry] of Object.entries(result)) {
    if (entry.optional === true && path.includes('@nomicfoundation/edr-')) delete entry.engines;
  }
  return result;
}

/** A lockfile entry for a platform package this registry does not hold; its name says the platform. */
function missingBinary(name, version, dev) {
  const [, os = '', cpu = '', libc] = /-(darwin|linux|win32|freebsd|android|openbsd)-(\w+?)(?:-(gnu|musl|msvc))?$/.exec(name) ?? [];
  if (os === '') return undefined;
  return {
    version,
    cpu: [cpu === 'amd64' ? 'x64' : cpu],
    ...(dev ? { dev } : {}),
    ...(os === 'linux' && libc !== undefined ? { libc: [libc === 'gnu' ? 'glibc' : libc] } : {}),
    optional: true,
    os: [os],
  };
}
