/** Nodes without gas: everything they do, through a coordinator's relay; and requests that are refused. */
import type { ChainWriter } from '@muster/ports';
import { type Address, MusterError } from '@muster/protocol';
import * as fc from 'fast-check';
import { custom, type Hex, toHex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  JobDriver,
  minStakeWei,
  nodeOf,
  refusal,
  rootOf,
  startTestChain,
  type TestChain,
  zeroRoot,
} from '../../../contracts/test/harness.ts';
import { encodeCall } from '../src/evm/contracts/calls.ts';
import { openConnection } from '../src/evm/contracts/connection.ts';
import { forwardNonce, type ForwardRequest, signForwardRequest, submitForwardRequest } from '../src/evm/contracts/relay.ts';
import { type HandOver, RelayedSender } from '../src/evm/contracts/relayed-sender.ts';
import { AccountSender } from '../src/evm/contracts/transactions.ts';
import { createRelay, type Relay, type RelayOptions } from '../src/http/relay.ts';
import { relayOverHttp } from '../src/http/relay-client.ts';
import { nodeFunctions } from '../src/http/relayed-functions.ts';
import { toJsonText } from '../src/http/json.ts';
import { connectRelayedAccount } from '../src/evm/contracts/chain.ts';
import { inProcessTransport, openEmbeddedChain, systemClock, deployContracts, addressOfKey } from '../src/index.ts';
import { startNetwork, type TestNetwork } from './http-network.ts';

const relayerKey = rootOf('account 9');
const noKey = (label: string): Hex => rootOf(`penniless ${label}`);

let chain: TestChain;
let relay: Relay;
let network: TestNetwork;
/** By how much the chain's time is ahead of the clock, and what a test adds to it. */
let aheadMs = 0;
let skewMs: number;

const nowMs = (): number => Date.now() + aheadMs + skewMs;
const inSeconds = (seconds: number): number => Math.floor(nowMs() / 1000) + seconds;

const connectionTo = (transport = chain.transport) => openConnection({ transport, pollMs: 1, timeoutMs: 20_000 });
const placeOf = () => ({ chainId: chain.info.chainId, forwarder: chain.info.contracts.forwarder });
const relayerOf = () => new AccountSender(connectionTo(), chain.info.chainId, privateKeyToAccount(relayerKey));

function relayWith(options: Partial<RelayOptions> = {}): Relay {
  return createRelay({
    info: chain.info,
    connection: connectionTo(),
    relayer: relayerOf(),
    functions: nodeFunctions,
    sponsorship: { functions: { nodeCertRegistry: ['registerNode', 'topUp'] }, maxWei: 2n * minStakeWei, totalWei: 100n * minStakeWei },
    now: nowMs,
    ...options,
  });
}

beforeAll(async () => {
  chain = await startTestChain();
  network = await startNetwork({ fallback: (request) => relay.answer(request) });
});
afterAll(async () => {
  await network.server.close();
  await chain.close();
});
beforeEach(() => {
  skewMs = 0;
  relay = relayWith();
});

/** A chain whose actors from number 4 on have no ether and speak through `handOver`. */
function gasless(handOver: HandOver): TestChain {
  const writers = new Map<number, Promise<ChainWriter>>();
  return {
    ...chain,
    actor(index) {
      if (index < 4) return chain.actor(index);
      const options = { transport: chain.transport, info: chain.info, privateKey: noKey(`actor ${index}`), pollMs: 1, handOver };
      const writer = writers.get(index) ?? connectRelayedAccount(options);
      writers.set(index, writer);
      return writer;
    },
  };
}

const writerOf = (label: string, handOver: HandOver = (request) => relay.carry(request), transport = chain.transport) =>
  connectRelayedAccount({ transport, info: chain.info, privateKey: noKey(label), pollMs: 1, timeoutMs: 5000, handOver });

/** A signed request of the account `label` for what `call` does. */
async function requestOf(
  label: string,
  call: Parameters<typeof encodeCall>[0],
  changed: Partial<ForwardRequest> = {},
): Promise<ForwardRequest> {
  const account = privateKeyToAccount(noKey(label));
  const from = account.address.toLowerCase() as Address;
  const nonce = await forwardNonce(connectionTo(), placeOf().forwarder, from);
  const terms = { nonce, deadline: inSeconds(300), gas: 500_000n, ...changed };
  return await signForwardRequest(account, placeOf(), encodeCall(call, chain.info.contracts), terms);
}

const registration = (label: string, stakeWei = minStakeWei) =>
  ({ call: 'registerNode', node: nodeOf(label), role: 'trainer', region: 'eu', caps: zeroRoot, slaId: zeroRoot, stakeWei }) as const;

const lost = (): MusterError => new MusterError('PEER_UNREACHABLE', 'the answer was lost');
const silent: HandOver = () => Promise.reject(lost());

const post = (body: string): Promise<Response> =>
  fetch(`${network.server.url}/relay`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });

async function refusedWith(
  body: string,
): Promise<{ readonly status: number; readonly code: string; readonly details: Record<string, unknown> }> {
  const response = await post(body);
  const { error } = (await response.json()) as { error: { code: string; details: Record<string, unknown> } };
  return { status: response.status, ...error };
}

describe('a node without gas', () => {
  it('registers, commits, reveals, is paid, leaves and withdraws over HTTP; the relayer pays for all of it', async () => {
    const world = gasless(relayOverHttp(network.server.url));
    const job = await JobDriver.submit(world, { rounds: 1, tasks: 1, redundancy: 3, budgetWei: 3_000n }, 'gasless');
    const { operator, node } = job.seat(0, 0);
    expect(await chain.reader.balance(operator.account)).toBe(0n);
    expect((await chain.reader.node(node))?.operator).toBe(operator.account);
    await operator.send({ call: 'heartbeat', node });
    await job.honestRound(0, () => rootOf('result'));
    const credit = await chain.reader.credit(operator.account);
    expect(credit).toBeGreaterThan(0n);
    const withdrawn = await operator.send({ call: 'withdraw' });
    expect(withdrawn.events).toMatchObject([{ event: 'Withdrawn', operator: operator.account, amountWei: credit }]);
    expect(await chain.reader.balance(operator.account)).toBe(credit);

    await operator.send({ call: 'topUp', node, amountWei: minStakeWei });
    await operator.send({ call: 'startUnbonding', node });
    await operator.send({ call: 'cancelUnbonding', node });
    await operator.send({ call: 'startUnbonding', node });
    await chain.elapse(72 * 3600);
    aheadMs += 72 * 3600 * 1000;
    await operator.send({ call: 'withdrawStake', node });
    await operator.send({ call: 'withdraw' });
    expect(await chain.reader.balance(operator.account)).toBe(credit + 2n * minStakeWei);
  });

  it('is told the contract’s own error', async () => {
    const writer = await writerOf('told');
    const before = await chain.reader.balance(privateKeyToAccount(relayerKey).address.toLowerCase() as Address);
    expect(await refusal(writer.send({ call: 'heartbeat', node: nodeOf('not registered') }))).toMatchObject({
      error: expect.stringMatching(/^N/),
    });
    expect(await refusal(writer.send({ call: 'withdraw' }))).toMatchObject({ error: 'NothingToWithdraw', account: writer.account });
    // With money along nothing can be estimated by the signer: here the relay finds out.
    expect(await refusal(writer.send({ ...registration('told'), stakeWei: 1n }))).toMatchObject({ error: 'StakeTooLow' });
    expect(await chain.reader.balance(privateKeyToAccount(relayerKey).address.toLowerCase() as Address)).toBe(before);
  });

  it('gets through once where answers are lost and where the relayer forgets', async () => {
    let losses = 0;
    const lossy: HandOver = async (request) => {
      losses++;
      if (losses % 3 === 1) throw lost();
      const included = await relay.carry(request);
      if (losses % 3 === 2) throw lost();
      return included;
    };
    const writer = await writerOf('lossy', lossy);
    await writer.send(registration('lossy'));
    await writer.send({ call: 'heartbeat', node: nodeOf('lossy') });
    expect(await forwardNonce(connectionTo(), placeOf().forwarder, writer.account)).toBe(2n);
    // A relayer that names transactions that are not this request's, or none at all, is not believed.
    const other = (await relay.carry(await requestOf('other', registration('other')))).transaction;
    let lies = 0;
    const liar: HandOver = async (request) => {
      if (lies++ < 2) return { transaction: lies === 1 ? other : toHex(7, { size: 32 }) };
      return relay.carry(request);
    };
    const doubting = await writerOf('lossy', liar);
    await doubting.send({ call: 'heartbeat', node: nodeOf('lossy') });
    expect(lies).toBe(3);
  });

  it('shares its account with another process', async () => {
    const writers = [await writerOf('shared'), await writerOf('shared')];
    await Promise.all(writers.map((writer, index) => writer.send(registration(`shared ${index}`))));
    await Promise.all(
      writers.flatMap((writer, index) => [0, 1, 2].map(() => writer.send({ call: 'heartbeat', node: nodeOf(`shared ${index}`) }))),
    );
    expect(await forwardNonce(connectionTo(), placeOf().forwarder, writers[0]?.account ?? ('0x' as Address))).toBe(8n);
  });

  it('hands over again what a re-organisation took back', async () => {
    let drop: (() => Promise<unknown>) | null = null;
    const request = async ({ method, params }: { method: string; params?: unknown[] }): Promise<unknown> => {
      if (method === 'eth_blockNumber') await chain.mine();
      const found = await chain.request(method, params ?? []);
      if (method === 'eth_getTransactionReceipt' && found !== null && drop !== null) {
        const back = drop;
        drop = null;
        await back();
      }
      return found;
    };
    const connection = openConnection({
      transport: custom({ request }, { retryCount: 0 }),
      pollMs: 1,
      timeoutMs: 20_000,
      confirmations: 2,
    });
    let handed = 0;
    const account = privateKeyToAccount(noKey('reorganised'));
    const sender = new RelayedSender(connection, placeOf(), account, async (signed) => {
      handed++;
      const snapshot = await chain.request('evm_snapshot');
      const included = await relay.carry(signed);
      if (handed === 1) drop = () => chain.request('evm_revert', [snapshot]);
      return included;
    });
    await sender.send('registering', encodeCall(registration('reorganised'), chain.info.contracts));
    expect(handed).toBe(2);
    expect((await chain.reader.node(nodeOf('reorganised')))?.operator).toBe(account.address.toLowerCase());
    expect(await forwardNonce(connectionTo(), placeOf().forwarder, account.address.toLowerCase() as Address)).toBe(1n);
  });

  it('waits no longer than its timeout for a relayer that does nothing', async () => {
    const writer = await connectRelayedAccount({
      transport: chain.transport,
      info: chain.info,
      privateKey: noKey('silent'),
      pollMs: 1,
      timeoutMs: 100,
      handOver: silent,
    });
    await expect(writer.send(registration('silent'))).rejects.toMatchObject({ code: 'CHAIN_UNREACHABLE' });
    await expect(relayOverHttp('http://127.0.0.1:1')(await requestOf('silent', registration('silent')))).rejects.toMatchObject({
      code: 'PEER_UNREACHABLE',
    });
  });
});

const submit = async (request: ForwardRequest): Promise<Record<string, unknown>> =>
  refusal(submitForwardRequest(relayerOf(), connectionTo(), placeOf().forwarder, request));

describe('the forwarder', () => {
  it('refuses a request made twice, late, changed, or signed for another chain or forwarder', async () => {
    const request = await requestOf('strict', registration('strict'));
    const { from } = request;
    for (const changed of [
      { ...request, gas: request.gas + 1n },
      { ...request, deadline: request.deadline + 1 },
      { ...request, valueWei: request.valueWei + 1n },
      { ...request, data: encodeFunctionDataOf('stolen') },
      { ...request, from: (await chain.actor(5)).account },
    ]) {
      expect(await submit(changed)).toMatchObject({ error: 'ERC2771ForwarderInvalidSigner' });
    }
    const account = privateKeyToAccount(noKey('strict'));
    const call = encodeCall(registration('strict'), chain.info.contracts);
    const terms = { nonce: request.nonce, deadline: request.deadline, gas: request.gas };
    for (const place of [
      { ...placeOf(), chainId: 1 },
      { ...placeOf(), forwarder: chain.info.contracts.jobManager },
    ]) {
      expect(await submit(await signForwardRequest(account, place, call, terms))).toMatchObject({ error: 'ERC2771ForwarderInvalidSigner' });
    }
    const { time } = await chain.reader.head();
    expect(await submit(await signForwardRequest(account, placeOf(), call, { ...terms, deadline: time - 1 }))).toMatchObject({
      error: 'ERC2771ForwarderExpiredRequest',
    });
    const outside = { ...call, to: chain.info.contracts.forwarder };
    expect(await submit(await signForwardRequest(account, placeOf(), outside, terms))).toMatchObject({ error: 'ERC2771UntrustfulTarget' });
    await submitForwardRequest(relayerOf(), connectionTo(), placeOf().forwarder, request);
    expect(await submit(request)).toMatchObject({ error: 'ERC2771ForwarderInvalidSigner', from });
    expect((await chain.reader.node(nodeOf('strict')))?.operator).toBe(from);
  });

  it('makes a call with too little gas as little as any other that fails', async () => {
    const request = await requestOf('starved', registration('starved'), { gas: 20_000n });
    expect(await submit(request)).toMatchObject({ error: 'FailedCall' });
    expect(await forwardNonce(connectionTo(), placeOf().forwarder, request.from)).toBe(0n);
  });

  it('lets nobody else speak for an account: appended bytes of a direct call mean nothing', async () => {
    const victim = await requestOf('victim', registration('victim'));
    await submitForwardRequest(relayerOf(), connectionTo(), placeOf().forwarder, victim);
    const { data, to } = encodeCall({ call: 'heartbeat', node: nodeOf('victim') }, chain.info.contracts);
    const direct = relayerOf().send('heartbeat', { to, data: `${data}${victim.from.slice(2)}`, valueWei: 0n });
    expect(await refusal(direct)).toMatchObject({ error: expect.stringMatching(/^Not/) });
  });
});

function encodeFunctionDataOf(label: string): Hex {
  return encodeCall(registration(label), chain.info.contracts).data;
}

describe('POST /relay', () => {
  it('answers with the transaction, the same for the same request', async () => {
    const body = toJsonText(await requestOf('same', registration('same')));
    const [first, second] = await Promise.all([post(body), post(body)]);
    expect(first.status).toBe(200);
    const answer: unknown = await first.json();
    expect(answer).toMatchObject({ transaction: expect.stringMatching(/^0x[0-9a-f]{64}$/), block: expect.any(Number) });
    expect(await second.json()).toEqual(answer);
    expect(await (await post(body)).json()).toEqual(answer);
    // Another relay has no memory of it.
    relay = relayWith();
    expect(await refusedWith(body)).toMatchObject({ status: 409, code: 'REQUEST_REPLAYED', details: { nonce: '0', expected: '1' } });
  });

  it('refuses what is not a request, whatever it is, and goes on', async () => {
    const good = JSON.parse(toJsonText(await requestOf('bad', registration('bad')))) as Record<string, unknown>;
    const bodies = [
      '',
      '{',
      '[]',
      'null',
      '"0x"',
      '{"from":1}',
      ...Object.keys(good).flatMap((field) =>
        [undefined, null, -1, {}, [], '', '0x', `0x${'f'.repeat(129)}`, '9'.repeat(78), 'ÿ', true].map((value) =>
          JSON.stringify({ ...good, [field]: value }),
        ),
      ),
      JSON.stringify({ ...good, extra: 1 }),
    ];
    for (const body of bodies) {
      const { status } = await post(body);
      expect(status, body.slice(0, 100)).toBeGreaterThanOrEqual(400);
      expect(status, body.slice(0, 100)).toBeLessThan(500);
    }
    expect(await refusedWith(`{"data":"${'0'.repeat(100_000)}"}`)).toMatchObject({ status: 413, code: 'BYTES_TOO_LARGE' });
    expect((await fetch(`${network.server.url}/relay`)).status).toBe(405);
    expect(network.faults).toEqual([]);
    expect((await post(JSON.stringify(good))).status).toBe(200);
  });

  it('never fails by what it is sent', async () => {
    const good = JSON.parse(toJsonText(await requestOf('fuzzed', registration('fuzzed')))) as Record<string, unknown>;
    const bodies = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.json(),
      fc.record({ field: fc.constantFrom(...Object.keys(good)), value: fc.jsonValue() }).map(({ field, value }) => {
        return JSON.stringify({ ...good, [field]: value });
      }),
    );
    await fc.assert(
      fc.asyncProperty(bodies, async (body) => {
        const answer = await relay.answer(new Request('http://relay/relay', { method: 'POST', body }));
        expect(answer?.status).toBeGreaterThanOrEqual(400);
        expect(answer?.status).toBeLessThan(500);
      }),
      { numRuns: 300 },
    );
    expect(await relay.answer(new Request('http://relay/other', { method: 'POST', body: '{}' }))).toBeNull();
  });

  it('carries only what a node needs, of this network’s contracts', async () => {
    const { contracts } = chain.info;
    const account = privateKeyToAccount(noKey('narrow'));
    const terms = { nonce: 0n, deadline: inSeconds(300), gas: 100_000n };
    const pause = encodeCall({ call: 'pauseJob', job: rootOf('job') as never }, contracts);
    const elsewhere = { ...encodeCall({ call: 'withdraw' }, contracts), to: contracts.modelRegistry };
    const transfer = encodeCall({ call: 'transfer', to: contracts.jobManager, amountWei: 0n }, contracts);
    for (const call of [pause, elsewhere, transfer]) {
      const request = await signForwardRequest(account, placeOf(), call, terms);
      expect(await refusedWith(toJsonText(request))).toMatchObject({ status: 400, code: 'FIELD_INVALID' });
    }
  });

  it('refuses too much gas, wrong deadlines, foreign signatures and nonces out of turn', async () => {
    const call = { call: 'withdraw' } as const;
    const cases = [
      [{ gas: 10_000_000n }, 'QUOTA_EXCEEDED'],
      [{ deadline: inSeconds(-10) }, 'REQUEST_EXPIRED'],
      [{ deadline: inSeconds(100_000) }, 'FIELD_INVALID'],
      [{ nonce: 5n }, 'STATE_CONFLICT'],
    ] as const;
    for (const [changed, code] of cases)
      expect(await refusedWith(toJsonText(await requestOf('limits', call, changed)))).toMatchObject({ code });
    const tampered = { ...(await requestOf('limits', call)), gas: 400_000n };
    expect(await refusedWith(toJsonText(tampered))).toMatchObject({ status: 401, code: 'SIGNATURE_INVALID' });
    expect(await refusedWith(toJsonText({ ...tampered, signature: `0x${'00'.repeat(65)}` }))).toMatchObject({ code: 'SIGNATURE_INVALID' });
    expect(await refusedWith(toJsonText(await requestOf('limits', call)))).toMatchObject({
      status: 409,
      code: 'CHAIN_REVERTED',
      details: { error: 'NothingToWithdraw' },
    });
  });

  it('gives stakes away only as far as it was told', async () => {
    relay = relayWith({
      sponsorship: { functions: { nodeCertRegistry: ['registerNode'] }, maxWei: minStakeWei, totalWei: 2n * minStakeWei },
    });
    const refusedStake = async (label: string, stakeWei: bigint) =>
      refusedWith(toJsonText(await requestOf(label, registration(label, stakeWei))));
    expect(await refusedStake('greedy', minStakeWei + 1n)).toMatchObject({ status: 429, code: 'QUOTA_EXCEEDED' });
    // What fails was not given away.
    await relay.carry(await requestOf('first', registration('first')));
    const taken = await requestOf('thief', registration('first'));
    expect(await refusal(relay.carry(taken))).toMatchObject({ error: 'NodeAlreadyRegistered' });
    await relay.carry(await requestOf('second', registration('second')));
    expect(await refusedStake('third', minStakeWei)).toMatchObject({ code: 'QUOTA_EXCEEDED', details: { leftWei: '0' } });
    const { contracts } = chain.info;
    const topUp = encodeCall({ call: 'topUp', node: nodeOf('first'), amountWei: 1n }, contracts);
    const signed = await signForwardRequest(privateKeyToAccount(noKey('first')), placeOf(), topUp, {
      nonce: 1n,
      deadline: inSeconds(300),
      gas: 100_000n,
    });
    expect(await refusedWith(toJsonText(signed))).toMatchObject({ code: 'QUOTA_EXCEEDED', details: { maxWei: '0' } });
    relay = createRelay({ ...relayOptions(), functions: nodeFunctions });
    expect(await refusedStake('fourth', minStakeWei)).toMatchObject({ code: 'QUOTA_EXCEEDED', details: { maxWei: '0' } });
  });

  it('bounds requests per signer, gas per hour and what waits; a minute later it goes on', async () => {
    // At the beginning of an hour, so that no window ends in between.
    const hour = 3_600_000;
    skewMs = hour - ((Date.now() + aheadMs) % hour);
    const heartbeat = async (): Promise<ForwardRequest> => requestOf('busy', { call: 'heartbeat', node: nodeOf('busy') });
    await relay.carry(await requestOf('busy', registration('busy')));
    relay = relayWith({ limits: { maxPerSignerPerMinute: 2 } });
    await relay.carry(await heartbeat());
    await relay.carry(await heartbeat());
    await expect(relay.carry(await heartbeat())).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED' });
    skewMs += 60_000;
    await relay.carry(await heartbeat());
    relay = relayWith({ limits: { maxGasPerHour: 900_000n } });
    await relay.carry(await heartbeat());
    await expect(relay.carry(await heartbeat())).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED' });
    relay = relayWith({ limits: { maxWaiting: 0 } });
    await expect(relay.carry(await heartbeat())).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED', details: { waiting: 0 } });
  });

  it('asks the coordinator, and keeps its own failures to itself', async () => {
    const faults: unknown[] = [];
    const refuse = new Error('secret of the inside');
    relay = relayWith({
      admit: () => {
        throw refuse;
      },
      onFault: (error) => faults.push(error),
    });
    const answer = await post(toJsonText(await requestOf('asked', registration('asked'))));
    expect(answer.status).toBe(500);
    expect(await answer.text()).not.toContain('secret');
    expect(faults).toEqual([refuse]);
    expect(() => relayWith({ functions: { jobManager: ['noSuchFunction'] } })).toThrow(/no function noSuchFunction/);
  });
});

function relayOptions(): RelayOptions {
  return { info: chain.info, connection: connectionTo(), relayer: relayerOf(), functions: nodeFunctions, now: nowMs };
}

describe('on the embedded chain, where gas is free and calls take no overrides', () => {
  it('a node without ether registers with a sponsored stake and is told why not', async () => {
    const accounts = [{ address: addressOfKey(relayerKey), balanceWei: 1000n * minStakeWei }];
    const embedded = await openEmbeddedChain({
      path: ':memory:',
      chainId: 4244,
      genesis: { accounts },
      clock: systemClock,
      followMs: null,
    });
    const transport = inProcessTransport(embedded);
    const info = await deployContracts({ transport, privateKey: relayerKey });
    const connection = openConnection({ transport });
    const relayer = new AccountSender(connection, info.chainId, privateKeyToAccount(relayerKey));
    const sponsorship = { functions: { nodeCertRegistry: ['registerNode'] }, maxWei: 2n * minStakeWei, totalWei: 2n * minStakeWei };
    const embeddedRelay = createRelay({ info, connection, relayer, functions: nodeFunctions, sponsorship });
    const node = await connectRelayedAccount({
      transport,
      info,
      privateKey: noKey('embedded'),
      handOver: (request) => embeddedRelay.carry(request),
    });
    expect(await refusal(node.send(registration('embedded', 1n)))).toMatchObject({ error: 'StakeTooLow' });
    const { events } = await node.send(registration('embedded'));
    expect(events).toMatchObject([{ event: 'NodeRegistered', node: nodeOf('embedded'), operator: node.account, stakeWei: minStakeWei }]);
    await node.send({ call: 'heartbeat', node: nodeOf('embedded') });
    expect(await refusal(node.send({ call: 'withdraw' }))).toMatchObject({ error: 'NothingToWithdraw', account: node.account });
    expect(await node.balance(node.account)).toBe(0n);
    await embedded.close();
  });
});
