/**
 * CAR version 1 of a block or of everything it links to, as a stream. Source: IPLD CARv1 specification.
 *
 * Order is depth first, every block once. Links are followed inside DAG-CBOR blocks only, to raw and DAG-CBOR blocks with SHA-256.
 * A missing block or an exceeded limit ends the stream with an error, so that the reader never takes a part for the whole.
 */
import type { BlobStore } from '@muster/ports';
import { type CidText, codecOf, decodeCanonical, encodeCanonical, linkOf, MusterError, parseCid } from '@muster/protocol';
import { CID } from 'multiformats/cid';

/** `block`: the root alone. `all`: everything reachable from it. */
export type CarScope = 'block' | 'all';

export interface CarLimits {
  readonly maxBlocks: number;
  readonly maxBytes: number;
}

/** Sections of the CAR of `root`, whose bytes the caller has already. Throws OBJECT_MISSING, BYTES_TOO_LARGE, STORE_DAMAGED midway. */
export async function* carOf(
  store: BlobStore,
  root: CidText,
  rootBytes: Uint8Array,
  scope: CarScope,
  limits: CarLimits,
): AsyncGenerator<Uint8Array> {
  const header = encodeCanonical({ roots: [linkOf(root)], version: 1 });
  yield join(unsignedVarint(header.length), header);
  yield section(root, rootBytes);
  if (scope === 'block') return;
  const seen = new Set([root]);
  const pending = linksIn(root, rootBytes).reverse();
  let sent = rootBytes.length;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (seen.has(next)) continue;
    seen.add(next);
    const bytes = await store.get(next);
    if (bytes === null) throw new MusterError('OBJECT_MISSING', `${next}, linked from ${root}, is not here`, { cid: next });
    sent += bytes.length;
    if (seen.size > limits.maxBlocks || sent > limits.maxBytes) {
      throw new MusterError('BYTES_TOO_LARGE', `${root} reaches more than ${limits.maxBlocks} blocks or ${limits.maxBytes} bytes`, {
        cid: root,
      });
    }
    yield section(next, bytes);
    // One at a time: a list of links may be longer than an argument list can be.
    for (const link of linksIn(next, bytes).reverse()) if (!seen.has(link)) pending.push(link);
  }
}

/** Links of the block in the order they stand; none for a raw block or for bytes that are not canonical DAG-CBOR. */
function linksIn(cid: CidText, bytes: Uint8Array): CidText[] {
  const links: CidText[] = [];
  if (codecOf(cid) === 'raw') return links;
  const pending: unknown[] = [];
  try {
    pending.push(decodeCanonical(bytes));
  } catch {
    return links;
  }
  while (pending.length > 0) {
    const value = pending.pop();
    if (value === null || typeof value !== 'object' || value instanceof Uint8Array) continue;
    const link = CID.asCID(value);
    if (link === null) {
      for (const item of Object.values(value).reverse()) pending.push(item);
    } else {
      const text = ours(link);
      if (text !== null) links.push(text);
    }
  }
  return links;
}

function ours(link: CID): CidText | null {
  try {
    return parseCid(link.toString());
  } catch {
    return null;
  }
}

function section(cid: CidText, bytes: Uint8Array): Uint8Array {
  const id = linkOf(cid).bytes;
  return join(unsignedVarint(id.length + bytes.length), id, bytes);
}

/** LEB128 without sign, as multiformats use it. */
function unsignedVarint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  bytes.push(rest);
  return Uint8Array.from(bytes);
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}
