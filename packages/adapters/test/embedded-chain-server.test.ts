import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as fc from 'fast-check';
import { createPublicClient, createWalletClient, http } from 'viem';
import { serveChain, type ChainServer, type EmbeddedChain } from '../src/evm/embedded/index.ts';
import { ETHER, openTestChain, probeContract, RICH, viemChain } from './embedded-chain-helpers.ts';

let chain: EmbeddedChain;
let server: ChainServer;
beforeAll(async () => {
  chain = await openTestChain();
  server = await serveChain(chain, { host: '127.0.0.1', port: 0 });
});
afterAll(async () => {
  await server.close();
  await chain.close();
});

const post = async (body: string): Promise<unknown> => {
  const response = await fetch(server.url, { method: 'POST', body, headers: { 'content-type': 'application/json' } });
  const text = await response.text();
  return text === '' ? null : JSON.parse(text);
};
const rpc = (method: string, params: unknown = [], id: unknown = 1): Promise<unknown> =>
  post(JSON.stringify({ jsonrpc: '2.0', id, method, params }));

const hex = (bytes: number): fc.Arbitrary<string> =>
  fc.uint8Array({ minLength: 0, maxLength: bytes }).map((value) => `0x${Buffer.from(value).toString('hex')}`);

describe('JSON-RPC over HTTP', () => {
  test('viem deploys and reads over HTTP, with batches', async () => {
    const transport = http(server.url, { batch: true });
    const wallet = createWalletClient({ chain: viemChain(server.url), transport, account: RICH[0]! });
    const reader = createPublicClient({ chain: viemChain(server.url), transport, pollingInterval: 20 });
    const { abi, bytecode } = probeContract();
    const { contractAddress } = await reader.waitForTransactionReceipt({ hash: await wallet.deployContract({ abi, bytecode }) });
    const balances = await Promise.all(RICH.map(({ address }) => reader.getBalance({ address })));
    expect(balances).toEqual(RICH.map(() => 1000n * ETHER));
    const history = await reader.getFeeHistory({ blockCount: 4, rewardPercentiles: [50] });
    expect(history.baseFeePerGas).toEqual([0n, 0n, 0n]);
    expect((await reader.estimateFeesPerGas()).maxFeePerGas).toBe(0n);
    const { request } = await reader.simulateContract({
      abi,
      address: contractAddress!,
      functionName: 'store',
      args: [1n, 2n, 'x'],
      account: RICH[0]!,
    });
    const receipt = await reader.waitForTransactionReceipt({ hash: await wallet.writeContract(request) });
    const logs = await reader.getLogs({ blockHash: receipt.blockHash });
    expect(logs).toEqual(receipt.logs.map((log) => expect.objectContaining({ data: log.data, topics: log.topics }) as unknown));
  });

  test('answers the identity methods that wallets ask first', async () => {
    expect(await rpc('eth_chainId')).toEqual({ jsonrpc: '2.0', id: 1, result: '0x5eb2' });
    expect(await rpc('net_version')).toMatchObject({ result: '24242' });
    expect(await rpc('web3_clientVersion')).toMatchObject({ result: expect.stringContaining('muster') as string });
    expect(await rpc('eth_syncing')).toMatchObject({ result: false });
    expect(await rpc('eth_accounts')).toMatchObject({ result: [] });
    expect(await rpc('eth_getBlockByHash', [`0x${'11'.repeat(32)}`, false])).toMatchObject({ result: null });
  });

  test('finds logs by address, topic alternatives and position', async () => {
    const all = (await rpc('eth_getLogs', [{ fromBlock: 'earliest' }])) as { result: { topics: string[]; address: string }[] };
    const log = all.result[0]!;
    const found = async (filter: object): Promise<number> =>
      ((await rpc('eth_getLogs', [{ fromBlock: 'earliest', ...filter }])) as { result: unknown[] }).result.length;
    const other = `0x${'22'.repeat(32)}`;
    expect(await found({ address: log.address })).toBe(1);
    expect(await found({ address: [`0x${'33'.repeat(20)}`] })).toBe(0);
    expect(await found({ topics: [[other, log.topics[0]], null, log.topics[2]] })).toBe(1);
    expect(await found({ topics: [null, other] })).toBe(0);
    expect(await found({ topics: [null, null, null, null] })).toBe(0);
    expect(await rpc('eth_getLogs', [{ fromBlock: '0x5', toBlock: '0x1' }])).toMatchObject({ error: { code: -32602 } });
  });

  test('faults have their JSON-RPC codes', async () => {
    expect(await post('{')).toMatchObject({ id: null, error: { code: -32700 } });
    expect(await post('[]')).toMatchObject({ error: { code: -32600 } });
    expect(await post('7')).toMatchObject({ error: { code: -32600 } });
    expect(await post('{"id":1,"method":7}')).toMatchObject({ id: 1, error: { code: -32600 } });
    expect(await rpc('eth_mystery')).toMatchObject({ error: { code: -32601 } });
    expect(await rpc('constructor')).toMatchObject({ error: { code: -32601 } });
    expect(await rpc('eth_getBalance', ['0x12'])).toMatchObject({ error: { code: -32602 } });
    expect(await rpc('eth_call', { to: 1 })).toMatchObject({ error: { code: -32600 } });
    expect(await rpc('eth_getBalance', [`0x${'11'.repeat(20)}`, '0xffffff'])).toMatchObject({ error: { code: -32000 } });
    expect(
      await post(JSON.stringify(Array.from({ length: 1001 }, () => ({ jsonrpc: '2.0', id: 1, method: 'eth_chainId' })))),
    ).toMatchObject({
      error: { code: -32600 },
    });
    expect(await post('[{"jsonrpc":"2.0","method":"eth_chainId"}]')).toBeNull();
  });

  test('a body over the limit is refused with 413 and the server stays up', async () => {
    const status = await new Promise<number>((resolve) => {
      const request = httpRequest(server.url, { method: 'POST' }, (response) => resolve(response.statusCode ?? 0));
      request.on('error', () => resolve(413));
      request.end(Buffer.alloc(5 * 1024 * 1024, 32));
    });
    expect(status).toBe(413);
    expect(await rpc('eth_chainId')).toMatchObject({ result: '0x5eb2' });
  });

  test('browsers may ask from any page', async () => {
    const preflight = await fetch(server.url, {
      method: 'OPTIONS',
      headers: { origin: 'http://localhost:5173', 'access-control-request-method': 'POST' },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-origin')).toBe('*');
    expect((await fetch(server.url)).status).toBe(405);
  });

  test('any body gives a JSON-RPC answer or none, never an internal error', async () => {
    const methods =
      'eth_getBlockByNumber eth_getBlockByHash eth_getTransactionByHash eth_getTransactionReceipt eth_getTransactionCount eth_getBalance ' +
      'eth_getCode eth_getStorageAt eth_call eth_estimateGas eth_feeHistory eth_sendRawTransaction eth_getLogs eth_getBlockReceipts ' +
      'debug_getRawBlock __proto__';
    const address = fc.constantFrom(RICH[0]!.address, `0x${'00'.repeat(20)}`, '0x0000000000000000000000000000000000000008');
    const leaf = fc.oneof(fc.jsonValue(), hex(40), address, fc.constantFrom('latest', 'pending', 'earliest', '0x0', '0x1', true, null));
    const object = fc.record(
      {
        from: fc.oneof(address, leaf),
        to: fc.oneof(address, leaf),
        data: fc.oneof(hex(300), leaf),
        value: leaf,
        gas: fc.constantFrom('0x5208', '0x20000', '0x1'),
        gasPrice: leaf,
        fromBlock: leaf,
        toBlock: leaf,
        address: fc.oneof(address, fc.array(leaf, { maxLength: 3 })),
        topics: fc.array(fc.oneof(leaf, fc.array(leaf, { maxLength: 3 })), { maxLength: 6 }),
        blockHash: leaf,
      },
      { requiredKeys: [] },
    );
    const single = fc.record({
      jsonrpc: fc.constant('2.0'),
      id: fc.oneof(fc.integer(), fc.string(), fc.constant(null)),
      method: fc.constantFrom(...methods.split(' ')),
      params: fc.oneof(fc.array(fc.oneof(leaf, object), { maxLength: 4 }), fc.jsonValue()),
    });
    await fc.assert(
      fc.asyncProperty(fc.oneof({ weight: 5, arbitrary: single }, fc.jsonValue(), fc.array(single, { maxLength: 4 })), async (body) => {
        const answer = await post(JSON.stringify(body));
        for (const entry of Array.isArray(answer) ? (answer as unknown[]) : [answer]) {
          if (entry === null) continue;
          const { error, jsonrpc } = entry as { jsonrpc: string; error?: { code: number; message: string } };
          expect(jsonrpc).toBe('2.0');
          if (error !== undefined) expect(error.code, `${error.message} ${JSON.stringify(body)}`).not.toBe(-32603);
        }
      }),
      { numRuns: 600 },
    );
    expect(await rpc('eth_chainId')).toMatchObject({ result: '0x5eb2' });
  });
});
