/**
 * Where other people's libraries are found: what `npm run bench:peers` put into `bench/peers`, or the `node_modules` that
 * MUSTER_BENCH_PEERS names. A peer that is not there is named as missing; no figure is ever taken from its documents.
 */
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** `require` as a module among the peers would see it. */
export function peerRequire(): NodeJS.Require {
  const folder = process.env['MUSTER_BENCH_PEERS'];
  return createRequire(folder === undefined ? new URL('../peers/peers.js', import.meta.url) : pathToFileURL(join(folder, 'peers.js')));
}

function installed(find: () => unknown): boolean {
  try {
    find();
    return true;
  } catch {
    return false;
  }
}

const why = (found: boolean, name: string): string =>
  found ? `not measured: ${name} is here, but no round of it is scripted` : `missing: ${name}`;

/** Frameworks that run federated rounds, in rows where theirs would be the peer: why there is no figure of theirs. */
export function roundPeers(): Readonly<Record<string, string>> {
  const flower = installed(() => execFileSync('python3', ['-c', 'import flwr'], { stdio: 'ignore', timeout: 20_000 }));
  const disco = installed(() => peerRequire().resolve('@epfml/discojs'));
  return { flower: why(flower, 'flwr (Python)'), disco: why(disco, '@epfml/discojs') };
}
