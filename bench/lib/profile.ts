/**
 * Where this process spends its time: a sampling profile of V8, added up by who wrote the innermost frame.
 *
 * Self time only: hashing inside the EVM counts as hashing. `idle` is waiting with nothing to do: timers, in these benches.
 */
import { Session } from 'node:inspector/promises';

/** Patterns of a frame's file, most specific first; the first that matches names the part. */
const parts: readonly (readonly [string, RegExp])[] = [
  [
    'signatures (secp256k1, Ed25519)',
    /@noble\/curves|@noble\/secp256k1|ethereum-cryptography\/(?:esm\/)?secp|evm\/account|abstract\/(?:weierstrass|modular|curve)/,
  ],
  ['hashing (keccak, SHA-256)', /@noble\/hashes|ethereum-cryptography|node:internal\/crypto|protocol\/src\/(?:hash|merkle)|keccak/],
  ['EVM, tries and blocks', /@ethereumjs|evm\/embedded|lru-cache|kzg/],
  ['SQLite', /node:sqlite|sqlite/],
  ['viem: ABI, JSON-RPC', /\/viem\/|\/abitype\/|\/ox\/|evm\/contracts|evm\/in-process/],
  ['training and evaluation (WASM)', /^wasm:|engine\/src\/wasm|round\/src\/(?:train|evaluate|aggregate)|data\/src/],
  ['state digests', /engine\/src\/digest/],
  ['canonical bytes and content ids', /cborg|dag-cbor|multiformats|protocol\/src|round\/src\/tensors/],
  ['job machine and roles', /packages\/(?:round|roles|ports)\/src/],
  ['bench itself', /\/bench\/|apps\/cli/],
];

interface Profile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: { readonly functionName: string; readonly url: string } }[];
  readonly samples?: number[] | undefined;
  readonly timeDeltas?: number[] | undefined;
}

/** One part's share of the time. */
export interface Share {
  readonly part: string;
  readonly milliseconds: number;
}

function partOf(functionName: string, url: string): string {
  if (functionName === '(idle)') return 'idle (timers)';
  if (functionName === '(garbage collector)') return 'garbage collection';
  const found = parts.find(([, pattern]) => pattern.test(url));
  if (found !== undefined) return found[0];
  return url === '' || url.startsWith('node:') || functionName === '(program)' ? 'Node itself' : 'other';
}

/** Runs `work` under the profiler: parts by time, most first. The profiler costs a few per cent. */
export async function profiled(work: () => Promise<unknown>): Promise<Share[]> {
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.setSamplingInterval', { interval: 500 });
  await session.post('Profiler.start');
  await work();
  const { profile } = await session.post('Profiler.stop');
  session.disconnect();
  return sharesOf(profile);
}

function sharesOf({ nodes, samples = [], timeDeltas = [] }: Profile): Share[] {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, partOf(callFrame.functionName, callFrame.url)]));
  const totals = new Map<string, number>();
  for (const [index, id] of samples.entries()) {
    const part = names.get(id) ?? 'other';
    totals.set(part, (totals.get(part) ?? 0) + (timeDeltas[index] ?? 0) / 1000);
  }
  return [...totals].map(([part, milliseconds]) => ({ part, milliseconds })).sort((a, b) => b.milliseconds - a.milliseconds);
}
