import { CarReader } from '@ipld/car';
import { cidOfBytes, type CidText, encodeCanonical, linkOf, sealEnvelope, verifyCid } from '@muster/protocol';
import * as fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { toBase64Url } from '../src/http/body.ts';
import { fieldsOf, key, startNetwork, stranger, type TestNetwork } from './http-network.ts';

let net: TestNetwork;
let url: string;
beforeAll(async () => {
  net = await startNetwork({ limits: { maxCarBlocks: 50 } });
  url = net.server.url;
});
afterAll(async () => {
  await net.server.close();
});
beforeEach(() => {
  net.refused.length = 0;
});

const raw = 'application/vnd.ipld.raw';
const car = 'application/vnd.ipld.car';

async function* endless(): AsyncGenerator<Uint8Array> {
  for (;;) yield new Uint8Array(100_000);
}

async function blocksIn(response: Response): Promise<{ roots: string[]; blocks: string[] }> {
  const reader = await CarReader.fromBytes(new Uint8Array(await response.arrayBuffer()));
  const blocks: string[] = [];
  for await (const { cid, bytes } of reader.blocks()) {
    verifyCid(cid.toString() as CidText, bytes);
    blocks.push(cid.toString());
  }
  return { roots: (await reader.getRoots()).map(String), blocks };
}

/** root → [left → leaf, leaf, right → left], a diamond with a raw leaf. */
async function diamond(): Promise<{ root: CidText; left: CidText; right: CidText; leaf: CidText }> {
  const leaf = await net.store.put(Uint8Array.of(1, 2, 3), 'raw');
  const left = await net.store.put(encodeCanonical({ leaf: linkOf(leaf) }), 'dag-cbor');
  const right = await net.store.put(encodeCanonical([[linkOf(left)]]), 'dag-cbor');
  const root = await net.store.put(encodeCanonical([linkOf(left), { deep: [linkOf(leaf)] }, linkOf(right)]), 'dag-cbor');
  return { root, left, right, leaf };
}

describe('gateway: one block', () => {
  it('is served raw by format, by Accept and by default, with headers that fit', async () => {
    const bytes = new Uint8Array(1000).fill(4);
    const cid = await net.store.put(bytes, 'raw');
    const asks: readonly [string, Record<string, string>][] = [
      ['?format=raw', {}],
      ['?format=raw', { accept: car }],
      ['', { accept: raw }],
      ['', { accept: `text/html, ${raw};q=0.5` }],
      ['', {}],
    ];
    for (const [query, headers] of asks) {
      const response = await fetch(`${url}/ipfs/${cid}${query}`, { headers });
      expect(response.status).toBe(200);
      expect(response.headers.get('content-type')).toBe(raw);
      expect(response.headers.get('content-length')).toBe('1000');
      expect(response.headers.get('etag')).toBe(`"${cid}.raw"`);
      expect(response.headers.get('cache-control')).toBe('public, max-age=29030400, immutable');
      expect(response.headers.get('content-disposition')).toContain('attachment');
      expect(response.headers.get('x-content-type-options')).toBe('nosniff');
      expect(response.headers.get('access-control-allow-origin')).toBe('*');
      expect(response.headers.get('x-ipfs-path')).toBe(`/ipfs/${cid}`);
      expect(new Uint8Array(await response.arrayBuffer())).toEqual(bytes);
    }
  });

  it('answers HEAD with the same headers and no body', async () => {
    const cid = await net.store.put(new Uint8Array(77), 'raw');
    const response = await fetch(`${url}/ipfs/${cid}?format=raw`, { method: 'HEAD' });
    expect([response.status, response.headers.get('content-length'), await response.text()]).toEqual([200, '77', '']);
    const missing = await fetch(`${url}/ipfs/${cidOfBytes(Uint8Array.of(8, 8), 'raw')}?format=raw`, { method: 'HEAD' });
    expect(missing.status).toBe(404);
  });

  it('is not sent again to a reader that has it', async () => {
    const cid = await net.store.put(new Uint8Array(78), 'raw');
    for (const tag of [`"${cid}.raw"`, `W/"${cid}.raw"`, `"other", "${cid}.raw"`]) {
      const response = await fetch(`${url}/ipfs/${cid}?format=raw`, { headers: { 'if-none-match': tag } });
      expect([response.status, await response.text()]).toEqual([304, '']);
    }
    const other = await fetch(`${url}/ipfs/${cid}?format=car`, { headers: { 'if-none-match': `"${cid}.raw"` } });
    expect(other.status).toBe(200);
  });

  it('answers the probe that the specification names', async () => {
    const response = await fetch(`${url}/ipfs/bafkqaaa?format=raw`);
    expect([response.status, (await response.arrayBuffer()).byteLength]).toEqual([200, 0]);
  });

  it('is refused with a code where it is missing, no id, or asked for in a form not served', async () => {
    const cid = await net.store.put(Uint8Array.of(1), 'raw');
    const missing = cidOfBytes(Uint8Array.of(250, 1), 'raw');
    const asks: readonly [string, Record<string, string>, number, string][] = [
      [`/ipfs/${missing}`, {}, 404, 'OBJECT_MISSING'],
      ['/ipfs/nonsense', {}, 400, 'CID_INVALID'],
      ['/ipfs/QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG', {}, 400, 'CID_INVALID'],
      [`/ipfs/${'a'.repeat(5000)}`, {}, 400, 'CID_INVALID'],
      [`/ipfs/${cid}`, { accept: 'text/html' }, 406, 'FORMAT_UNSUPPORTED'],
      [`/ipfs/${cid}?format=tar`, {}, 406, 'FORMAT_UNSUPPORTED'],
      [`/ipfs/${cid}?format=car&car-version=2`, {}, 400, 'FIELD_INVALID'],
      [`/ipfs/${cid}?format=car&dag-scope=some`, {}, 400, 'FIELD_INVALID'],
      [`/ipfs/${cid}/path`, {}, 404, 'ROUTE_UNKNOWN'],
    ];
    for (const [path, headers, status, code] of asks) {
      const response = await fetch(url + path, { headers });
      expect([path, response.status], path).toEqual([path, status]);
      expect(await response.json()).toMatchObject({ error: { code } });
    }
  });

  it('answers any path, format and Accept header with a coded refusal', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 60 }), fc.stringMatching(/^[ -~]{0,40}$/), async (id, accept) => {
        const response = await fetch(`${url}/ipfs/${encodeURIComponent(id.toWellFormed())}?format=${encodeURIComponent(accept)}`, {
          headers: { accept: accept.trim() || '*/*' },
        });
        expect([400, 404, 406]).toContain(response.status);
        expect(await response.json()).toHaveProperty('error.code');
      }),
      { numRuns: 150 },
    );
  });
});

describe('gateway: CAR', () => {
  it('of everything reachable is depth first, each block once, and readable with @ipld/car', async () => {
    const { root, left, right, leaf } = await diamond();
    const response = await fetch(`${url}/ipfs/${root}`, { headers: { accept: `${car}; version=1; order=dfs; dups=n` } });
    expect(response.headers.get('content-type')).toBe(`${car}; version=1; order=dfs; dups=n`);
    expect(response.headers.get('x-ipfs-roots')).toBe(root);
    expect(response.headers.get('etag')).toBe(`W/"${root}.car.all"`);
    expect(await blocksIn(response)).toEqual({ roots: [root], blocks: [root, left, leaf, right] });
  });

  it('of a block or an entity is that block alone', async () => {
    const { root } = await diamond();
    for (const scope of ['block', 'entity']) {
      expect(await blocksIn(await fetch(`${url}/ipfs/${root}?format=car&dag-scope=${scope}`))).toEqual({ roots: [root], blocks: [root] });
    }
  });

  it('follows no links in raw blocks, in bytes that are not canonical, or to other kinds of hash', async () => {
    const leaf = await net.store.put(Uint8Array.of(1, 2, 3), 'raw');
    const object = encodeCanonical([linkOf(leaf)]);
    const asRaw = await net.store.put(object, 'raw');
    const broken = await net.store.put(Uint8Array.from([...object, 0]), 'dag-cbor');
    for (const cid of [asRaw, broken]) {
      expect((await blocksIn(await fetch(`${url}/ipfs/${cid}?format=car`))).blocks).toEqual([cid]);
    }
    const foreign = Uint8Array.from(linkOf(leaf).bytes);
    foreign[1] = 0x70;
    const pb = await net.store.put(Uint8Array.from([0x81, 0xd8, 0x2a, 0x58, foreign.length + 1, 0, ...foreign]), 'dag-cbor');
    expect((await blocksIn(await fetch(`${url}/ipfs/${pb}?format=car`))).blocks).toEqual([pb]);
  });

  it('breaks off where a block is missing or the limit is reached, so that nobody takes a part for the whole', async () => {
    const lost = cidOfBytes(Uint8Array.of(77, 77), 'raw');
    const root = await net.store.put(encodeCanonical([linkOf(lost)]), 'dag-cbor');
    const whole = async (cid: CidText): Promise<ArrayBuffer> => await (await fetch(`${url}/ipfs/${cid}?format=car`)).arrayBuffer();
    await expect(whole(root)).rejects.toThrow();
    const many: CidText[] = [];
    for (let i = 0; i < 60; i++) many.push(await net.store.put(Uint8Array.of(i, 99), 'raw'));
    const wide = await net.store.put(encodeCanonical(many.map(linkOf)), 'dag-cbor');
    await expect(whole(wide)).rejects.toThrow();
    expect((await fetch(`${url}/ipfs/${wide}?format=raw`)).status).toBe(200);
  });

  it('leaves the server well when its reader goes away in the middle', async () => {
    const big: CidText[] = [];
    for (let i = 0; i < 20; i++) big.push(await net.store.put(new Uint8Array(1_000_000).fill(i), 'raw'));
    const root = await net.store.put(encodeCanonical(big.map(linkOf)), 'dag-cbor');
    const abort = new AbortController();
    const response = await fetch(`${url}/ipfs/${root}?format=car`, { signal: abort.signal });
    await response.body?.getReader().read();
    abort.abort();
    expect((await blocksIn(await fetch(`${url}/ipfs/${root}?format=car`))).blocks.length).toBe(21);
  });
});

describe('gateway: upload', () => {
  const bytes = Uint8Array.of(5, 6, 7, 8);
  const cid = cidOfBytes(bytes, 'raw');

  async function put(authorization: string | null, body: Uint8Array = bytes, to: string = cid): Promise<{ status: number; json: unknown }> {
    const headers: Record<string, string> = authorization === null ? {} : { authorization };
    const response = await fetch(`${url}/ipfs/${to}`, { method: 'PUT', headers, body: new Uint8Array(body) });
    return { status: response.status, json: await response.json() };
  }
  const sign = (body: unknown = { cid, bytes: bytes.length }, signer = key, kind = 'put'): string =>
    `Muster ${toBase64Url(sealEnvelope(signer, fieldsOf({ kind, body })))}`;

  it('stores bytes that a member signed for', async () => {
    expect(await put(sign())).toEqual({ status: 200, json: { cid, bytes: 4 } });
    expect(await net.store.get(cid)).toEqual(bytes);
    expect(net.refused).toEqual([]);
  });

  it('is refused, and reported, where it is unsigned, foreign, replayed, for another block, too long, too short or too large', async () => {
    const once = sign();
    await put(once);
    const huge = 5 * 1024 * 1024;
    const cases: readonly [string, { status: number; json: unknown }, string][] = [
      ['no header', await put(null), 'SIGNATURE_MISSING'],
      ['another scheme', await put('Bearer abc'), 'SIGNATURE_MISSING'],
      ['not base64url', await put('Muster a+b='), 'SIGNATURE_MISSING'],
      ['not an envelope', await put('Muster AAAA'), 'BYTES_MALFORMED'],
      ['another kind', await put(sign({ cid, bytes: 4 }, key, 'echo')), 'FIELD_INVALID'],
      ['another body', await put(sign({ cid })), 'FIELD_INVALID'],
      ['a stranger', await put(sign({ cid, bytes: 4 }, stranger)), 'NODE_UNKNOWN'],
      ['a replay', await put(once), 'REQUEST_REPLAYED'],
      ['another block', await put(sign({ cid: cidOfBytes(Uint8Array.of(1), 'raw'), bytes: 4 })), 'CID_MISMATCH'],
      ['other bytes', await put(sign(), Uint8Array.of(5, 6, 7, 9)), 'CID_MISMATCH'],
      ['fewer bytes', await put(sign(), Uint8Array.of(5, 6)), 'CID_MISMATCH'],
      ['more bytes', await put(sign(), new Uint8Array(1000)), 'BYTES_TOO_LARGE'],
      ['a block over the limit', await put(sign({ cid, bytes: huge })), 'BYTES_TOO_LARGE'],
      ['no id', await put(sign(), bytes, 'nonsense'), 'CID_INVALID'],
    ];
    for (const [what, answer, code] of cases) {
      expect(answer.json, what).toMatchObject({ error: { code } });
      expect(answer.status, what).toBeGreaterThanOrEqual(400);
    }
    expect(net.refused.map(({ code }) => code)).toEqual(cases.map(([, , code]) => code));
    expect(net.refused[6]).toMatchObject({ node: stranger.node, kind: 'put' });
    expect(net.refused[0]).toMatchObject({ node: null, kind: null });
  });

  it('answers any authorization header with a coded refusal', async () => {
    await fc.assert(
      fc.asyncProperty(fc.stringMatching(/^[!-~]{1,200}$/), async (text) => {
        const { status, json } = await put(`Muster ${text}`);
        expect(status).toBeLessThan(500);
        expect(json).toHaveProperty('error.code');
      }),
      { numRuns: 100 },
    );
  });

  it('takes no body longer than it was signed for, even when its length is not declared', async () => {
    const init = { method: 'PUT', headers: { authorization: sign() }, body: ReadableStream.from(endless()), duplex: 'half' as const };
    const outcome = await fetch(`${url}/ipfs/${cid}`, init).then(
      (response) => response.status,
      () => 'connection closed',
    );
    expect([413, 'connection closed']).toContain(outcome);
    expect(net.refused.map(({ code }) => code)).toEqual(['BYTES_TOO_LARGE']);
  });

  it('asks before a member uploads, and passes on the refusal', async () => {
    const seen: unknown[] = [];
    const small = await startNetwork({ admitUpload: (node, size) => void seen.push([node, size]) });
    const answer = await fetch(`${small.server.url}/ipfs/${cid}`, {
      method: 'PUT',
      headers: { authorization: sign() },
      body: new Uint8Array(bytes),
    });
    expect([answer.status, seen]).toEqual([200, [[key.node, 4]]]);
    await small.server.close();
  });

  it('lets a page of another origin upload', async () => {
    const headers = {
      origin: 'http://elsewhere.example',
      'access-control-request-method': 'PUT',
      'access-control-request-headers': 'authorization',
    };
    const response = await fetch(`${url}/ipfs/${cid}`, { method: 'OPTIONS', headers });
    expect(response.status).toBe(204);
    expect(response.headers.get('access-control-allow-methods')).toContain('PUT');
    expect(response.headers.get('access-control-allow-headers')).toContain('authorization');
  });
});
