/**
 * Trainer and validator processes: join a network, say hello, follow its events, work.
 */
import { join } from 'node:path';
import {
  connectAccount,
  connectCoordinator,
  connectRelayedAccount,
  type CoordinatorClient,
  installFastSha256,
  loadOrCreateAccountKey,
  loadOrCreateNodeKey,
  lockHome,
  packCapabilities,
  relayOverHttp,
} from '@muster/adapters';
import type { CompiledExecutor } from '@muster/engine';
import type { ChainInfo, ChainNodeStatus, ChainWriter, NodeKey } from '@muster/ports';
import { integer, MusterError, networkName, type Root, struct, text } from '@muster/protocol';
import { type CoordinatorLink, reasonOf, type Report, Trainer, Validator } from '@muster/roles';
import { contractsSchema } from '../home.ts';
import { writeMembership } from '../membership.ts';
import { costLimits } from '../machine.ts';
import { createScheduler, untilDone, type WakeableScheduler } from '../runtime.ts';

export interface NodeProcessOptions {
  /** Coordinator, `http://host:port`. */
  readonly url: string;
  /** Keys of this node. */
  readonly home: string;
  readonly role: 'trainer' | 'validator';
  readonly executor: CompiledExecutor;
  readonly dishonest: boolean;
  /** Account key file; null: one of the node's own. */
  readonly accountKey: string | null;
  /** The account has no gas: what it signs is paid for by the coordinator's relay, its stake too. */
  readonly relay: boolean;
  readonly report: Report;
  readonly signal: AbortSignal;
}

/** Answer of `GET /v1/chain`. */
const chainAnswer = struct({
  chainPort: integer(1, 65_535),
  chainId: integer(1),
  contracts: contractsSchema,
  grantWei: text(80, /^[0-9]+$/),
});

const stakeWei = 10n ** 18n;
const helloMs = 1000;
const pollMs = 1000;
const noSla = `0x${'0'.repeat(64)}` as Root;

/** Works until the signal aborts. Throws NODE_INACTIVE when the stake is gone. */
export async function runNodeProcess(options: NodeProcessOptions): Promise<void> {
  const { url, home, role, report, signal } = options;
  installFastSha256();
  const lock = await lockHome(home);
  try {
    const key = await loadOrCreateNodeKey(join(home, 'node.key'));
    const privateKey = await loadOrCreateAccountKey(options.accountKey ?? join(home, 'operator.account'));
    const asking = connectCoordinator({ url, key: null, network: '', patienceMs: 3000 });
    const unreachable = (error: unknown): void => report('coordinator.unreachable', { reason: reasonOf(error) });
    const answered = await untilDone(() => asking.get('chain'), signal, unreachable);
    if (answered === null) return;
    const answer = chainAnswer(answered, 'chain');
    const info: ChainInfo = { chainId: answer.chainId, contracts: answer.contracts };
    const rpc = new URL(url);
    rpc.port = String(answer.chainPort);
    const account = { rpcUrl: rpc.origin, info, privateKey };
    const chain = options.relay ? await connectRelayedAccount({ ...account, handOver: relayOverHttp(url) }) : await connectAccount(account);
    await writeMembership(home, {
      version: 1,
      url,
      rpcUrl: rpc.origin,
      relay: options.relay,
      chainId: info.chainId,
      contracts: info.contracts,
    });
    const network = networkName(info.chainId, info.contracts.proofOfCompute);
    const client = connectCoordinator({ url, key, network, patienceMs: 10_000 });
    await register(options, client, chain, key);
    report('node.ready', { node: key.node, role, operator: chain.account, coordinator: url, executor: options.executor.name });
    const scheduler = createScheduler();
    // Hello and events end with the signal; work may end earlier, by an error.
    const background = Promise.all([sayHello(options, client), followEvents(client, scheduler, signal)]);
    await Promise.race([work(options, client, chain, key, scheduler), background]);
  } finally {
    lock.release();
  }
}

const inactive = {
  suspended: 'the node was slashed below the stake it needs: `muster node top-up <ether>` puts it back to work',
  unbonding: 'the node is leaving: `muster node cancel-unbond` puts it back to work',
  deactivated: 'the node was convicted of cheating and can never work again',
} as const satisfies Partial<Record<ChainNodeStatus, string>>;

/** Registers the node with its stake, unless it is registered already. */
async function register(
  { role, report, signal, relay }: NodeProcessOptions,
  client: CoordinatorClient,
  chain: ChainWriter,
  key: NodeKey,
): Promise<void> {
  while (!signal.aborted) {
    const known = await chain.node(key.node);
    if (known !== null) {
      if (known.operator !== chain.account)
        throw new MusterError('NODE_UNKNOWN', `node ${key.node} is registered by another account, ${known.operator}`, { node: key.node });
      if (known.status === 'active') return;
      // Who has left and taken the stake may register again; everybody else says with a command what is to happen.
      if (known.status !== 'left') throw new MusterError('NODE_INACTIVE', inactive[known.status], { node: key.node, status: known.status });
    }
    if (!relay && (await chain.balance(chain.account)) < stakeWei) await client.message('fund', { account: chain.account });
    const caps = packCapabilities({ hasGPU: false, hasTEE: false, diskGB: 1, bandwidthMbps: 10, computeUnits: 1 });
    await chain.send({ call: 'registerNode', node: key.node, role, region: 'local', caps, slaId: noSla, stakeWei });
    report('node.registered', { node: key.node, role, operator: chain.account, stakeWei });
  }
}

async function sayHello({ role, report, signal }: NodeProcessOptions, client: CoordinatorClient): Promise<void> {
  const scheduler = createScheduler();
  let trouble = '';
  while (!signal.aborted) {
    try {
      await client.message('hello', { role });
      if (trouble !== '') report('coordinator.back', {});
      trouble = '';
    } catch (error) {
      const reason = reasonOf(error);
      if (reason !== trouble) report('coordinator.unreachable', { reason });
      trouble = reason;
    }
    await scheduler.sleep(helloMs, signal);
  }
}

/** Wakes the worker at every event; while the stream cannot be had, the worker polls. */
async function followEvents(client: CoordinatorClient, scheduler: WakeableScheduler, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      for await (const event of client.events(signal)) if (event.event !== '') scheduler.wake();
    } catch {
      await scheduler.sleep(pollMs, signal);
    }
  }
}

async function work(
  options: NodeProcessOptions,
  link: CoordinatorLink,
  chain: ChainWriter,
  key: NodeKey,
  scheduler: WakeableScheduler,
): Promise<void> {
  const { role, executor, report, signal, dishonest } = options;
  const common = { link, chain, key, executor, limits: costLimits(executor), scheduler, report, signal, pollMs };
  await (role === 'trainer' ? new Trainer({ ...common, dishonest }).run() : new Validator(common).run());
}
