import { mkdtemp, rm } from 'node:fs/promises';
import { createServer as createPlainServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryNonceStore } from '@muster/ports';
import { cidOfBytes, type CidText, encodeCanonical, errorCatalogue, MusterError, sealEnvelope } from '@muster/protocol';
import * as fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { blobStoreCompliance } from '../../ports/compliance/blob-store.ts';
import { fromBase64Url, toBase64Url } from '../src/http/body.ts';
import { connectCoordinator } from '../src/http/client.ts';
import type { ReceivedEvent } from '../src/http/event-reader.ts';
import { createEventStream } from '../src/http/event-stream.ts';
import { toJsonText } from '../src/http/json.ts';
import { openNonceStore } from '../src/sqlite/nonce-store.ts';
import { fieldsOf, key, network, post, postSealed, startNetwork, stranger, type TestNetwork } from './http-network.ts';

let net: TestNetwork;
let url: string;
beforeAll(async () => {
  net = await startNetwork();
  url = net.server.url;
});
afterAll(async () => {
  await net.server.close();
});
beforeEach(() => {
  net.refused.length = 0;
  net.faults.length = 0;
  net.handled.length = 0;
  net.skewMs = 0;
});

blobStoreCompliance('HTTP client', async () => {
  const opened = await startNetwork();
  const client = connectCoordinator({ url: opened.server.url, key });
  return { store: client.blobs, close: async () => await opened.server.close() };
});

describe('signed messages', () => {
  it('reach their handler once, with sender and body', async () => {
    const answer = await postSealed(url, stranger, { body: { n: 1, bytes: Uint8Array.of(255) } });
    expect(answer).toEqual({ status: 200, json: { node: stranger.node, body: { n: 1, bytes: '0xff' } } });
    expect(await postSealed(url, key, { kind: 'nothing' })).toEqual({ status: 200, json: null });
    expect(net.refused).toEqual([]);
  });

  it('are refused with the catalogue’s status, and reported, when unsigned, tampered with, replayed, expired, foreign or malformed', async () => {
    const good = sealEnvelope(key, fieldsOf({ body: 'once' }));
    await post(url, good);
    const tampered = sealEnvelope(key, fieldsOf()).slice();
    tampered[tampered.length - 1] = (tampered[tampered.length - 1] ?? 0) ^ 1;
    const cases: readonly [string, { status: number; json: unknown }, keyof typeof errorCatalogue, string | null][] = [
      ['JSON', await post(url, new TextEncoder().encode('{"kind":"echo"}'), 'application/json'), 'SIGNATURE_MISSING', null],
      ['nothing', await post(url, new Uint8Array(0)), 'SIGNATURE_MISSING', null],
      ['an unsigned body', await post(url, encodeCanonical({ kind: 'echo', body: 1 })), 'SIGNATURE_MISSING', null],
      ['a changed signature', await post(url, tampered), 'SIGNATURE_INVALID', null],
      ['a replay', await post(url, good), 'REQUEST_REPLAYED', key.node],
      ['an old request', await postSealed(url, key, { issuedAtMs: Date.now() - 200_000 }), 'REQUEST_EXPIRED', key.node],
      ['a request of tomorrow', await postSealed(url, key, { issuedAtMs: Date.now() + 200_000 }), 'REQUEST_EXPIRED', key.node],
      ['another network', await postSealed(url, key, { network: 'eip155:1:0x00' }), 'FIELD_INVALID', key.node],
      ['an unknown kind', await postSealed(url, key, { kind: 'unknown' }), 'FIELD_INVALID', key.node],
      ['an inherited kind', await postSealed(url, key, { kind: 'constructor' }), 'FIELD_INVALID', key.node],
      ['bytes that are no CBOR', await post(url, Uint8Array.of(0xff, 0x00)), 'BYTES_MALFORMED', null],
      ['too many bytes', await post(url, new Uint8Array(1024 * 1024 + 1)), 'BYTES_TOO_LARGE', null],
      ['what the handler refuses', await postSealed(url, key, { kind: 'late' }), 'SUBMISSION_LATE', key.node],
    ];
    for (const [what, answer, code] of cases) {
      expect([what, answer.status]).toEqual([what, errorCatalogue[code].status]);
      expect(answer.json, what).toMatchObject({ error: { code } });
    }
    expect(net.refused.map(({ code, node }) => [code, node])).toEqual(cases.map(([, , code, node]) => [code, node]));
    expect(net.refused.at(-1)).toEqual({ code: 'SUBMISSION_LATE', node: key.node, kind: 'late', details: { round: 3, weight: 10n } });
    expect(cases.at(-1)?.[1].json).toEqual({
      error: { code: 'SUBMISSION_LATE', message: 'the round is over', details: { round: 3, weight: '10' } },
    });
    expect(net.handled).toEqual(['once']);
  });

  it('are accepted once when the same bytes come many times at once', async () => {
    const sealed = sealEnvelope(key, fieldsOf({ body: 'race' }));
    const answers = await Promise.all(Array.from({ length: 10 }, async () => await post(url, sealed)));
    expect(answers.filter(({ status }) => status === 200).length).toBe(1);
    expect(net.handled).toEqual(['race']);
  });

  it('are refused after the window even when their nonce was forgotten', async () => {
    const sealed = sealEnvelope(key, fieldsOf());
    await post(url, sealed);
    for (const skewMs of [60_000, 119_000, 121_000, 300_000, 900_000]) {
      net.skewMs = skewMs;
      await postSealed(url, key, { issuedAtMs: Date.now() + skewMs });
      expect((await post(url, sealed)).json).toMatchObject({ error: { code: skewMs < 120_000 ? 'REQUEST_REPLAYED' : 'REQUEST_EXPIRED' } });
    }
  });

  it('are refused as replays by the next life of a coordinator too', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'muster-http-'));
    const sealed = sealEnvelope(key, fieldsOf());
    const codes: unknown[] = [];
    for (const life of [1, 2]) {
      const nonces = openNonceStore(join(folder, 'nonces.sqlite'));
      const { server } = await startNetwork({ nonces });
      const { status, json } = await post(server.url, sealed);
      codes.push([life, status, JSON.stringify(json).includes('REQUEST_REPLAYED')]);
      await server.close();
      nonces.close();
    }
    expect(codes).toEqual([
      [1, 200, false],
      [2, 409, true],
    ]);
    await rm(folder, { recursive: true, force: true });
  });

  it('whose handler breaks answer INTERNAL without its message', async () => {
    const answer = await postSealed(url, key, { kind: 'broken' });
    expect(answer.status).toBe(500);
    expect(JSON.stringify(answer.json)).not.toContain('secret');
    expect(answer.json).toMatchObject({ error: { code: 'INTERNAL' } });
    expect(String(net.faults[0])).toContain('secret');
  });

  it('get a coded answer whatever the bytes', async () => {
    const good = sealEnvelope(key, fieldsOf());
    const changed = fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 })).map(([place, flip]) => {
      const bytes = good.slice();
      bytes[place] = (bytes[place] ?? 0) ^ flip;
      return bytes;
    });
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.uint8Array({ maxLength: 300 }), changed), async (bytes) => {
        const { status, json } = await post(url, bytes);
        expect(status).toBeGreaterThanOrEqual(400);
        expect(status).toBeLessThan(500);
        expect(json).toHaveProperty('error.code');
      }),
      { numRuns: 200 },
    );
  });
});

describe('public routes', () => {
  it('answer JSON with bigints as decimal text', async () => {
    const response = await fetch(`${url}/v1/jobs/a%2Fb?after=3`);
    expect(await response.json()).toEqual({ job: 'a/b', after: '3', budgetWei: '1000000000000000000000' });
    expect(response.headers.get('content-type')).toContain('application/json');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('access-control-allow-origin')).toBe('*');
    expect(await (await fetch(`${url}/v1/network`)).json()).toMatchObject({ version: 1, network });
  });

  it('answer refusals, breakage and unknown routes as JSON without traces', async () => {
    for (const [path, method, status, code] of [
      ['/v1/missing', 'GET', 404, 'JOB_UNKNOWN'],
      ['/v1/broken', 'GET', 500, 'INTERNAL'],
      ['/v1/none', 'GET', 404, 'ROUTE_UNKNOWN'],
      ['/', 'GET', 404, 'ROUTE_UNKNOWN'],
      ['/v1/jobs/x', 'DELETE', 404, 'ROUTE_UNKNOWN'],
      ['/v1/jobs/%E0%A4%A', 'GET', 200, null],
    ] as const) {
      const response = await fetch(url + path, { method });
      const body = await response.text();
      expect([path, response.status]).toEqual([path, status]);
      expect(body).not.toMatch(/secret|\bat .*\.ts/);
      if (code !== null) expect(JSON.parse(body)).toMatchObject({ error: { code } });
    }
  });

  it('report a damaged store to the coordinator and to the reader', async () => {
    const cid = cidOfBytes(Uint8Array.of(1), 'raw');
    const get = async (): Promise<never> => {
      throw new MusterError('STORE_DAMAGED', 'damaged', { cid });
    };
    const damaged = await startNetwork({ store: { ...net.store, get } });
    const client = connectCoordinator({ url: damaged.server.url, key: null });
    await expect(client.blobs.get(cid)).rejects.toMatchObject({ code: 'STORE_DAMAGED', details: { cid } });
    expect(damaged.faults.length).toBe(1);
    await damaged.server.close();
  });

  it('leave the rest to the fallback', async () => {
    const other = await startNetwork({ fallback: (request) => (request.url.endsWith('/page') ? new Response('page') : null) });
    expect(await (await fetch(`${other.server.url}/page`)).text()).toBe('page');
    expect((await fetch(`${other.server.url}/other`)).status).toBe(404);
    await other.server.close();
  });

  it('cannot be served on a port that is taken', async () => {
    const port = Number(new URL(url).port);
    await expect(startNetwork({ port })).rejects.toMatchObject({ code: 'USAGE', details: { port } });
  });
});

/** What the server at `origin` answers to these characters. */
const raw = async (text: string, origin: string): Promise<string> =>
  await new Promise((resolve) => {
    const socket = connect(Number(new URL(origin).port), '127.0.0.1', () => socket.write(text));
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk.toString();
    });
    socket.on('close', () => resolve(answer));
    socket.on('error', () => resolve(answer));
  });

describe('connections', () => {
  it('that send nonsense, too long headers or half a request are closed, and the server lives', async () => {
    const strict = await startNetwork({ limits: { headersTimeoutMs: 200, requestTimeoutMs: 400 } });
    const origin = strict.server.url;
    expect(await raw('nonsense\r\n\r\n', origin)).toContain('400');
    expect(await raw(`GET / HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`, origin)).toContain('431');
    const cut = await new Promise<string>((resolve) => {
      const socket = connect(Number(new URL(origin).port), '127.0.0.1', () => {
        socket.end('POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-type: application/cbor\r\ncontent-length: 100\r\n\r\nabc');
      });
      socket.on('close', () => resolve('closed'));
      socket.on('error', () => resolve('closed'));
      socket.resume();
    });
    expect(cut).toBe('closed');
    expect((await fetch(`${origin}/v1/network`)).status).toBe(200);
    await strict.server.close();
  });
});

async function take(
  events: AsyncIterable<ReceivedEvent>,
  count: number,
  onEach: (event: ReceivedEvent) => void = () => {},
): Promise<ReceivedEvent[]> {
  const taken: ReceivedEvent[] = [];
  for await (const event of events) {
    taken.push(event);
    onEach(event);
    if (taken.length === count) break;
  }
  return taken;
}

describe('events', () => {
  it('begin with hello and come in order', async () => {
    const client = connectCoordinator({ url, key: null });
    const events = await take(client.events(new AbortController().signal), 3, ({ event }) => {
      if (event !== 'hello') return;
      net.server.broadcast({ event: 'round.closed', data: { round: 1, wei: 5n } });
      net.server.broadcast({ event: 'round.closed', data: 'line one\nline two' });
    });
    expect(events.map(({ event, data }) => [event, data])).toEqual([
      ['hello', { resumed: false }],
      ['round.closed', { round: 1, wei: '5' }],
      ['round.closed', 'line one\nline two'],
    ]);
  });

  it('resume after the last one read, when the connection breaks', async () => {
    const flaky = await startNetwork();
    const target = Number(new URL(flaky.server.url).port);
    const { origin, cut, close } = await proxy(target);
    const client = connectCoordinator({ url: origin, key: null, backoffMs: 5 });
    const seen: unknown[] = [];
    for await (const { event, data } of client.events(new AbortController().signal)) {
      seen.push([event, data]);
      if (seen.length === 1) flaky.server.broadcast({ event: 'n', data: 1 });
      if (seen.length === 2) {
        cut();
        flaky.server.broadcast({ event: 'n', data: 2 });
        flaky.server.broadcast({ event: 'n', data: 3 });
      }
      if (seen.length === 5) break;
    }
    expect(seen).toEqual([
      ['hello', { resumed: false }],
      ['n', 1],
      ['hello', { resumed: true }],
      ['n', 2],
      ['n', 3],
    ]);
    close();
    await flaky.server.close();
  });

  it('say when some were missed: after a restart, or when too many happened', async () => {
    const stream = createEventStream('life', { replayEvents: 3, maxReaders: 2, maxWaitingBytes: 1000 });
    for (let i = 1; i <= 5; i++) stream.broadcast({ event: 'n', data: i });
    const first = async (id: string | null): Promise<string> => {
      const reader = stream.connect(id, () => {})?.getReader();
      const { value } = (await reader?.read()) ?? {};
      await reader?.cancel();
      return new TextDecoder().decode(value);
    };
    expect(await first('life-2')).toContain('"resumed":true');
    expect(await first('life-5')).toContain('"resumed":true');
    for (const id of [null, 'life-1', 'life-6', 'before-2', 'life-x', 'life-', 'life-2.5', 'life--1', '']) {
      expect(await first(id), String(id)).toContain('"resumed":false');
    }
    expect(stream.readers()).toBe(0);
  });

  it('drop a reader that does not keep up, and no other', async () => {
    const stream = createEventStream('life', { replayEvents: 10, maxReaders: 10, maxWaitingBytes: 2000 });
    const dropped: string[] = [];
    stream.connect(null, () => dropped.push('slow'));
    const quick = stream.connect(null, () => dropped.push('quick'))?.getReader();
    for (let i = 0; i < 40; i++) {
      stream.broadcast({ event: 'n', data: 'x'.repeat(100) });
      await quick?.read();
    }
    expect(dropped).toEqual(['slow']);
    expect(stream.readers()).toBe(1);
    stream.keepAlive();
    stream.close();
    expect(stream.readers()).toBe(0);
  });

  it('close the connection of a reader that takes nothing, and of no other', async () => {
    const busy = await startNetwork();
    const port = Number(new URL(busy.server.url).port);
    const idle = connect(port, '127.0.0.1', () => idle.write('GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n'));
    idle.on('error', () => {});
    idle.pause();
    await expect.poll(() => busy.server.eventReaders()).toBe(1);
    const client = connectCoordinator({ url: busy.server.url, key: null });
    let count = 0;
    for await (const { event } of client.events(new AbortController().signal)) {
      // The idle reader's socket buffers fill first; how large they are is the system's affair.
      if (++count === 2000 || (event === 'big' && busy.server.eventReaders() === 1)) break;
      busy.server.broadcast({ event: 'big', data: 'x'.repeat(100_000) });
    }
    expect(count).toBeGreaterThan(10);
    expect(count).toBeLessThan(2000);
    idle.destroy();
    await busy.server.close();
  });

  it('are refused to more readers than allowed, and readers that leave are forgotten', async () => {
    const small = await startNetwork({ limits: { maxEventReaders: 1, keepAliveMs: 20 } });
    const abort = new AbortController();
    const held = await fetch(`${small.server.url}/v1/events`, { signal: abort.signal });
    expect(held.status).toBe(200);
    expect((await fetch(`${small.server.url}/v1/events`)).status).toBe(503);
    const reader = held.body?.getReader();
    let text = '';
    while (!text.includes(': keep-alive')) text += new TextDecoder().decode((await reader?.read())?.value);
    abort.abort();
    await expect.poll(() => small.server.eventReaders()).toBe(0);
    await small.server.close();
  });

  it('cannot carry a name that would break the stream', () => {
    expect(() => net.server.broadcast({ event: 'a\ndata: x', data: 1 })).toThrow(TypeError);
  });

  it('end when the reader aborts, and throw PEER_UNREACHABLE when patience ends', async () => {
    const abort = new AbortController();
    const client = connectCoordinator({ url, key: null });
    for await (const { event } of client.events(abort.signal)) {
      expect(event).toBe('hello');
      abort.abort();
    }
    const nowhere = connectCoordinator({ url: 'http://127.0.0.1:1', key: null, patienceMs: 50, backoffMs: 5 });
    await expect(take(nowhere.events(new AbortController().signal), 1)).rejects.toMatchObject({ code: 'PEER_UNREACHABLE' });
  });

  it('are read from a stream of any bytes without harm', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 4 }), async (chunks) => {
        const { origin, close } = await plain((_request, response) => {
          response.writeHead(200, { 'content-type': 'text/event-stream' });
          for (const chunk of chunks) response.write(chunk);
          response.end('\n\nid: end\nevent: end\ndata: {"a":1}\n\n');
        });
        const client = connectCoordinator({ url: origin, key: null, backoffMs: 1, patienceMs: 2000 });
        const abort = new AbortController();
        for await (const { event, data } of client.events(abort.signal)) {
          if (event !== 'end') continue;
          expect(data).toEqual({ a: 1 });
          abort.abort();
        }
        close();
      }),
      { numRuns: 25 },
    );
  });
});

/** A plain server with any behaviour. */
async function plain(listener: RequestListener): Promise<{ origin: string; close: () => void; server: Server }> {
  const server = createPlainServer(listener);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close, server };
}

/** A relay to `port` whose connections can be cut. */
async function proxy(port: number): Promise<{ origin: string; cut: () => void; close: () => void }> {
  const { createServer: createTcpServer } = await import('node:net');
  const open = new Set<{ destroy(): void }>();
  const server = createTcpServer((near) => {
    const far = connect(port, '127.0.0.1');
    for (const socket of [near, far]) {
      open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const cut = (): void => {
    for (const socket of open) socket.destroy();
  };
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut,
    close: () => {
      cut();
      server.close();
    },
  };
}

describe('client', () => {
  const opened: (() => void)[] = [];
  afterEach(() => {
    for (const close of opened.splice(0)) close();
  });
  async function serve(listener: RequestListener): Promise<string> {
    const { origin, close } = await plain(listener);
    opened.push(close);
    return origin;
  }
  const quick = { patienceMs: 2000, backoffMs: 2 };

  it('asks for the network once, and signs for it', async () => {
    const client = connectCoordinator({ url: `${url}/`, key });
    expect(client.url).toBe(url);
    expect(await client.message('echo', [1])).toEqual({ node: key.node, body: [1] });
    expect(await client.get('jobs/7?after=2')).toMatchObject({ job: '7', after: '2' });
  });

  it('throws the coordinator’s coded errors', async () => {
    const client = connectCoordinator({ url, key, network });
    await expect(client.get('missing')).rejects.toMatchObject({ code: 'JOB_UNKNOWN', message: 'no such job', details: { job: 'x' } });
    await expect(client.message('late', null)).rejects.toMatchObject({ code: 'SUBMISSION_LATE', details: { round: 3, weight: '10' } });
    await expect(client.message('broken', null)).rejects.toMatchObject({ code: 'INTERNAL' });
    await expect(connectCoordinator({ url, key, network: 'eip155:1:0x00' }).message('echo', 1)).rejects.toMatchObject({
      code: 'FIELD_INVALID',
    });
    const unsigned = connectCoordinator({ url, key: null });
    await expect(unsigned.message('echo', 1)).rejects.toMatchObject({ code: 'SIGNATURE_MISSING' });
    await expect(unsigned.blobs.put(Uint8Array.of(1), 'raw')).rejects.toMatchObject({ code: 'SIGNATURE_MISSING' });
    await expect(connectCoordinator({ url, key: stranger }).blobs.put(Uint8Array.of(1), 'raw')).rejects.toMatchObject({
      code: 'NODE_UNKNOWN',
    });
    for (const bad of ['', 'nonsense', 'ftp://x', 'file:///etc/passwd']) {
      expect(() => connectCoordinator({ url: bad, key })).toThrow(expect.objectContaining({ code: 'FIELD_INVALID' }));
    }
  });

  it('reads a block that lies as STORE_DAMAGED, and a missing one as null', async () => {
    const cid = cidOfBytes(Uint8Array.of(1, 2, 3), 'raw');
    const origin = await serve((_request, response) => response.end(Buffer.from([1, 2, 4])));
    await expect(connectCoordinator({ url: origin, key: null }).blobs.get(cid)).rejects.toMatchObject({
      code: 'STORE_DAMAGED',
      details: { cid },
    });
    expect(await connectCoordinator({ url, key: null }).blobs.get(cidOfBytes(Uint8Array.of(42), 'raw'))).toBeNull();
    await expect(connectCoordinator({ url, key: null }).blobs.get('../v1/network' as CidText)).rejects.toMatchObject({
      code: 'CID_INVALID',
    });
  });

  it('reads no more than a block may have, however much is sent', async () => {
    const origin = await serve((_request, response) => {
      const more = (): void => {
        while (response.write(new Uint8Array(100_000)));
      };
      response.on('drain', more);
      response.on('error', () => {});
      more();
    });
    const cid = cidOfBytes(Uint8Array.of(1), 'raw');
    await expect(connectCoordinator({ url: origin, key: null, ...quick }).blobs.get(cid)).rejects.toMatchObject({
      code: 'BYTES_TOO_LARGE',
    });
  });

  it('tries reads and uploads again after 503 and lost connections, and gives up with PEER_UNREACHABLE', async () => {
    let count = 0;
    const bytes = Uint8Array.of(1, 2, 3);
    const origin = await serve((request, response) => {
      count++;
      request.resume();
      if (count % 3 === 1) response.writeHead(503).end();
      else if (count % 3 === 2) request.socket.destroy();
      else response.end(request.method === 'PUT' ? '{}' : bytes);
    });
    const client = connectCoordinator({ url: origin, key, network, ...quick });
    const cid = cidOfBytes(bytes, 'raw');
    expect(await client.blobs.get(cid)).toEqual(bytes);
    expect(await client.blobs.put(bytes, 'raw')).toBe(cid);
    expect(count).toBe(6);
    const nowhere = connectCoordinator({ url: 'http://127.0.0.1:1', key, network, patienceMs: 40, backoffMs: 5 });
    for (const run of [
      () => nowhere.get('x'),
      () => nowhere.message('echo', 1),
      () => nowhere.blobs.has(cid),
      () => nowhere.blobs.put(bytes, 'raw'),
    ]) {
      await expect(run()).rejects.toMatchObject({ code: 'PEER_UNREACHABLE' });
    }
  });

  it('does not try a message again that was answered, and sends the same bytes when it may have arrived', async () => {
    const bodies: string[] = [];
    const answers: ((socket: { destroy(): void }) => string | null)[] = [
      (socket) => {
        socket.destroy();
        return null;
      },
      () => '{"done":true}',
    ];
    const origin = await serve((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        bodies.push(Buffer.concat(chunks).toString('hex'));
        const answer = answers[bodies.length - 1]?.(request.socket);
        if (typeof answer === 'string') response.end(answer);
      });
    });
    expect(await connectCoordinator({ url: origin, key, network, ...quick }).message('echo', 1)).toEqual({ done: true });
    expect(bodies.length).toBe(2);
    expect(bodies[0]).toBe(bodies[1]);
    let count = 0;
    const failing = await serve((request, response) => {
      count++;
      request.resume();
      response.writeHead(503).end(toJsonText({ error: { code: 'CHAIN_UNREACHABLE', message: 'down', details: {} } }));
    });
    await expect(connectCoordinator({ url: failing, key, network, ...quick }).message('echo', 1)).rejects.toMatchObject({
      code: 'CHAIN_UNREACHABLE',
    });
    expect(count).toBe(1);
  });

  /** A relay to `target` that delivers messages and loses the first answer, once `delivered` says that it was acted on. */
  async function losingRelay(target: () => string, delivered: (answer: Promise<unknown>) => Promise<unknown>): Promise<string> {
    let lose = true;
    return await serve((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      const relay = async (): Promise<void> => {
        const init = { method: 'POST', headers: { 'content-type': 'application/cbor' }, body: Buffer.concat(chunks) };
        const pending = fetch(target() + (request.url ?? ''), init);
        if (lose) {
          lose = false;
          await delivered(pending);
          request.socket.destroy();
        } else {
          const answer = await pending;
          response.writeHead(answer.status).end(await answer.text());
        }
      };
      request.on('end', () => void relay());
    });
  }

  it('counts a message as done whose answer was lost, once its handler has finished: the coordinator acts once', async () => {
    const started = Promise.withResolvers<void>();
    const finish = Promise.withResolvers<void>();
    let acted = 0;
    let replays = 0;
    const slow = await startNetwork({
      onRefused: ({ details }) => {
        // The retry arrives while the first is still at work.
        if (details['outcome'] === 'running' && ++replays === 2) finish.resolve();
      },
      signedRoutes: {
        pay: async () => {
          acted++;
          started.resolve();
          await finish.promise;
          return 'paid';
        },
      },
    });
    const origin = await losingRelay(
      () => slow.server.url,
      async () => await started.promise,
    );
    expect(await connectCoordinator({ url: origin, key, network, ...quick }).message('pay', 1)).toBeNull();
    expect([acted, replays]).toEqual([1, 2]);
    await slow.server.close();
  });

  it('throws the refusal of a message whose answer was lost', async () => {
    const origin = await losingRelay(
      () => url,
      async (answer) => await answer,
    );
    await expect(connectCoordinator({ url: origin, key, network, ...quick }).message('late', 1)).rejects.toMatchObject({
      code: 'SUBMISSION_LATE',
    });
  });

  it('throws REQUEST_REPLAYED where the coordinator restarted and cannot say what became of the message', async () => {
    const nonces = memoryNonceStore();
    const first = await startNetwork({ nonces });
    const second = await startNetwork({ nonces });
    const servers = [first.server.url, second.server.url];
    let count = 0;
    const origin = await losingRelay(
      () => servers[count++] ?? '',
      async (answer) => await answer,
    );
    const client = connectCoordinator({ url: origin, key, network, ...quick });
    await expect(client.message('echo', 1)).rejects.toMatchObject({ code: 'REQUEST_REPLAYED', details: { outcome: 'unknown' } });
    expect([first.handled.length, second.handled.length]).toEqual([1, 0]);
    await first.server.close();
    await second.server.close();
  });

  it('makes INTERNAL of codes it does not know and of answers that are none', async () => {
    const answers: readonly [number, string, string][] = [
      [400, '{"error":{"code":"NEW_CODE","message":"m","details":{}}}', 'INTERNAL'],
      [400, '{"error":{"code":"toString","message":"m","details":{}}}', 'INTERNAL'],
      [500, '<html>', 'INTERNAL'],
      [200, 'not json', 'INTERNAL'],
      [404, '{"error":null}', 'INTERNAL'],
      [404, '{"error":{"code":"JOB_UNKNOWN","message":"m","details":{"a":[1],"b":2}}}', 'JOB_UNKNOWN'],
    ];
    for (const [status, text, code] of answers) {
      const origin = await serve((_request, response) => response.writeHead(status).end(text));
      await expect(connectCoordinator({ url: origin, key: null }).get('x')).rejects.toMatchObject({ code });
    }
  });

  it('follows no redirect', async () => {
    const origin = await serve((_request, response) => response.writeHead(302, { location: `${url}/v1/network` }).end());
    await expect(connectCoordinator({ url: origin, key: null, patienceMs: 30, backoffMs: 5 }).get('network')).rejects.toMatchObject({
      code: 'PEER_UNREACHABLE',
    });
  });

  it('skips the upload of a large block that is there already', async () => {
    const bytes = new Uint8Array(100_000).fill(3);
    await net.store.put(bytes, 'raw');
    const uploads: unknown[] = [];
    const counting = await startNetwork({ store: net.store, admitUpload: (node) => void uploads.push(node) });
    const client = connectCoordinator({ url: counting.server.url, key });
    await client.blobs.put(bytes, 'raw');
    await client.blobs.put(Uint8Array.of(9), 'raw');
    expect(uploads.length).toBe(1);
    await counting.server.close();
  });
});

describe('base64url', () => {
  it('is what Buffer writes, there and back, and nothing else is read', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), fc.string({ maxLength: 20 }), (bytes, text) => {
        expect(toBase64Url(bytes)).toBe(Buffer.from(bytes).toString('base64url'));
        expect(fromBase64Url(toBase64Url(bytes))).toEqual(new Uint8Array(bytes));
        const read = fromBase64Url(text);
        if (read !== null) expect(toBase64Url(read)).toBe(text);
      }),
    );
  });
});
