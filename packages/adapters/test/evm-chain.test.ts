/** The EVM adapter where the chain is not well: answers lost, nonces taken, another chain, nobody there. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Address, MusterError, plainPolicy } from '@muster/protocol';
import { custom, type Hex, keccak256, toHex } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { nodeOf, refusal, register, rootOf, startTestChain, type TestChain } from '../../../contracts/test/harness.ts';
import { connectAccount, connectChain, deployContracts } from '../src/index.ts';

let chain: TestChain;
beforeAll(async () => {
  chain = await startTestChain();
});
afterAll(() => chain.close());

interface RpcRequest {
  readonly method: string;
  readonly params?: unknown;
}
type Answer = (request: RpcRequest, forward: () => Promise<unknown>) => Promise<unknown>;

/** A writer for account `index` whose requests go through `answer`. */
function writerThrough(answer: Answer, index = 4, timeoutMs = 5000) {
  const forward = ({ method, params }: RpcRequest) => chain.request(method, (params ?? []) as unknown[]);
  const transport = custom({ request: (request: RpcRequest) => answer(request, () => forward(request)) }, { retryCount: 0 });
  return connectAccount({ transport, info: chain.info, privateKey: chain.keyOf(index), pollMs: 1, timeoutMs });
}

const lost = (): Promise<never> => Promise.reject(new TypeError('fetch failed: connection reset'));
const nobody = `0x${'12'.repeat(20)}` as Address;

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'fulfilled',
    (error: unknown) => (error instanceof MusterError ? error.code : String(error)),
  );
}

test('a transaction whose answer is lost happens once', async () => {
  for (const when of ['before', 'after'] as const) {
    let losses = 0;
    const sent: unknown[] = [];
    const writer = await writerThrough(async ({ method, params }, forward) => {
      if (method !== 'eth_sendRawTransaction') return forward();
      sent.push(params);
      if (losses++ > 1) return forward();
      if (when === 'after') await forward().catch(() => undefined);
      return lost();
    });
    const before = await chain.reader.balance(nobody);
    await writer.send({ call: 'transfer', to: nobody, amountWei: 5n });
    expect((await chain.reader.balance(nobody)) - before).toBe(5n);
    // The same bytes each time.
    expect(new Set(sent.map((params) => JSON.stringify(params))).size).toBe(1);
    expect(sent.length).toBeGreaterThan(1);
  }
});

test('a chain that goes away while a transaction waits is waited for', async () => {
  let down = 0;
  const writer = await writerThrough((request, forward) => {
    if (request.method === 'eth_getTransactionReceipt' && down < 3) {
      down++;
      return lost();
    }
    return forward();
  });
  const { events } = await register(writer, nodeOf('patient'));
  expect(events).toMatchObject([{ event: 'NodeRegistered', node: nodeOf('patient') }]);
  expect(down).toBe(3);
});

test('a transaction that the chain forgot is sent again', async () => {
  let first = true;
  const writer = await writerThrough(({ method, params }, forward) => {
    if (method === 'eth_sendRawTransaction' && first) {
      first = false;
      return Promise.resolve(keccak256((params as [Hex])[0]));
    }
    return forward();
  });
  const { transaction } = await writer.send({ call: 'transfer', to: nobody, amountWei: 1n });
  expect(transaction).toMatch(/^0x/);
  expect(first).toBe(false);
});

test('a chain that stays away is CHAIN_UNREACHABLE, at once for a read and after the timeout for a transaction on its way', async () => {
  let down = false;
  const writer = await writerThrough(({ method }, forward) => (down || method === 'eth_sendRawTransaction' ? lost() : forward()), 4, 300);
  expect(await codeOf(writer.send({ call: 'transfer', to: nobody, amountWei: 1n }))).toBe('CHAIN_UNREACHABLE');
  down = true;
  for (const read of [writer.head(), writer.node(nodeOf('x')), writer.events(0), writer.balance(nobody), writer.credit(nobody)]) {
    expect(await codeOf(read)).toBe('CHAIN_UNREACHABLE');
  }
  expect(await codeOf(writer.send({ call: 'withdraw' }))).toBe('CHAIN_UNREACHABLE');
  down = false;
  expect((await writer.head()).block).toBeGreaterThan(0);
});

test('nobody listening is CHAIN_UNREACHABLE', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  expect(await codeOf(connectChain({ rpcUrl: `http://127.0.0.1:${port}`, info: chain.info }))).toBe('CHAIN_UNREACHABLE');
});

test('an endpoint of another chain is refused', async () => {
  const info = { ...chain.info, chainId: 5 };
  expect(await refusal(connectChain({ transport: chain.transport, info }))).toEqual({ error: 'WrongChain', expected: 5, actual: 31337 });
});

test('two writers of one account, as in two processes, both get through', async () => {
  const writers = await Promise.all([writerThrough((_, forward) => forward(), 5), writerThrough((_, forward) => forward(), 5)]);
  const before = await chain.reader.balance(nobody);
  await Promise.all(
    writers.flatMap((writer) => Array.from({ length: 5 }, () => writer.send({ call: 'transfer', to: nobody, amountWei: 1n }))),
  );
  expect((await chain.reader.balance(nobody)) - before).toBe(10n);
});

test('a transaction that only fails in its block says why', async () => {
  // Both estimates see a free key; one of the two registrations comes second.
  const node = nodeOf('race');
  let estimates = 0;
  const gates: (() => void)[] = [];
  const together: Answer = async (request, forward) => {
    if (request.method !== 'eth_estimateGas') return forward();
    const estimate = await forward();
    if (++estimates === 2) for (const open of gates) open();
    else if (estimates < 2) await new Promise<void>((resolve) => gates.push(resolve));
    return estimate;
  };
  const [one, two] = [await writerThrough(together, 6), await writerThrough(together, 7)];
  const outcomes = await Promise.allSettled([register(one, node), register(two, node)]);
  expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  expect(failed?.reason).toMatchObject({ code: 'CHAIN_REVERTED', details: { error: 'NodeAlreadyRegistered', node } });
});

test('a refused transaction leaves the account usable', async () => {
  const writer = await chain.actor(8);
  const refused = refusal(writer.send({ call: 'withdraw' }));
  const transferred = writer.send({ call: 'transfer', to: nobody, amountWei: 1n });
  expect(await refused).toEqual({ error: 'NothingToWithdraw', account: writer.account });
  expect((await transferred).events).toEqual([]);
});

test('logs of a chain that gives no block times get them from the blocks', async () => {
  const writer = await writerThrough(async ({ method }, forward) => {
    const answer = await forward();
    if (method !== 'eth_getLogs' && method !== 'eth_getTransactionReceipt') return answer;
    return JSON.parse(JSON.stringify(answer, (key, value: unknown) => (key === 'blockTimestamp' ? undefined : value))) as unknown;
  });
  const { events, block } = await register(writer, nodeOf('untimed'));
  expect(await writer.events(block, block)).toEqual(events);
  expect(await chain.reader.events(block, block)).toEqual(events);
  expect(events[0]?.time).toBeGreaterThan(1_600_000_000);
});

test('long histories are fetched in pieces', async () => {
  const ranges: string[] = [];
  const forward = ({ method, params }: RpcRequest) => {
    if (method === 'eth_getLogs') ranges.push(JSON.stringify((params as [{ fromBlock: Hex; toBlock: Hex }])[0]));
    return chain.request(method, (params ?? []) as unknown[]);
  };
  const reader = await connectChain({ transport: custom({ request: forward }), info: chain.info, logsBlocks: 3 });
  const { block } = await reader.head();
  expect(await reader.events(0)).toEqual(await chain.reader.events(0, block));
  expect(ranges.length).toBe(Math.ceil((block + 1) / 3));
  expect(ranges[0]).toContain(`"fromBlock":"${toHex(0)}","toBlock":"${toHex(2)}"`);
});

test('watching starts with the present head and ends with the signal', async () => {
  const controller = new AbortController();
  const seen: number[] = [];
  const { block } = await chain.reader.head();
  await new Promise<void>((resolve) => {
    chain.reader.watch((head) => {
      seen.push(head);
      if (seen.length === 1) void chain.mine();
      else resolve();
    }, controller.signal);
  });
  controller.abort();
  expect(seen).toEqual([block, block + 1]);
});

test('a deployment that is disturbed says so instead of wiring strangers together', async () => {
  let creations = 0;
  const rival = await chain.actor(9);
  const forward = async ({ method, params }: RpcRequest) => {
    if (method === 'eth_sendRawTransaction' && ++creations === 2) await rival.send({ call: 'transfer', to: nobody, amountWei: 1n });
    return chain.request(method, (params ?? []) as unknown[]);
  };
  const deploying = deployContracts({ transport: custom({ request: forward }, { retryCount: 0 }), privateKey: chain.keyOf(9), pollMs: 1 });
  await expect(deploying).rejects.toMatchObject({ code: 'DEPLOYMENT_REFUSED', details: { error: 'DeploymentDisturbed' } });
});

test('the job’s own ids travel through the chain unchanged', async () => {
  const owner = await chain.actor(1);
  const terms = { specCid: rootOf('spec'), modelId: rootOf('model'), rounds: 4_000_000_000, tasks: 4_000_000_000, redundancy: 64 };
  const people = { coordinator: owner.account, validator: owner.account, budgetWei: 0n };
  const { events } = await owner.send({ call: 'submitJob', ...terms, ...people, policy: plainPolicy(terms.tasks) });
  expect(events[0]).toMatchObject({ event: 'JobSubmitted', ...terms, ...people });
});
