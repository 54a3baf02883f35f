/**
 * `muster node …`: what an operator does with its node's stake, and what the chain says about it.
 *
 * The node is the one whose keys are in a home: that of `muster join`, or with --validator that of `muster up`. It may be running meanwhile.
 */
import { access } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import {
  connectAccount,
  connectRelayedAccount,
  loadOrCreateAccountKey,
  loadOrCreateNodeKey,
  type NodeStanding,
  readNodeStanding,
  relayOverHttp,
} from '@muster/adapters';
import type { ChainEvent, ChainReceipt, ChainWriter } from '@muster/ports';
import { MusterError, type NodeId, parseNodeId } from '@muster/protocol';
import type { Command } from 'commander';
import { type Membership, readMembership } from '../membership.ts';
import { ether, percent } from '../output.ts';
import { type Context, contextOf } from './context.ts';
import { weiOf } from './jobs.ts';

export interface NodeFlags {
  readonly validator?: boolean;
}

/** A node of this machine and the way to its network's chain. */
export interface LocalNode {
  readonly node: NodeId;
  readonly chain: ChainWriter;
  readonly membership: Membership;
}

/** The node whose keys are in the home. Throws USAGE where there is none, CHAIN_UNREACHABLE. */
export async function localNode({ paths }: Context, { validator = false }: NodeFlags): Promise<LocalNode> {
  const home = resolve(paths.root, validator ? 'validator' : 'trainer');
  const [nodeKey, accountKey] = [join(home, 'node.key'), validator ? paths.key('validator.account') : join(home, 'operator.account')];
  const membership = await readMembership(home);
  // Keys are made when a node joins, never by looking at it.
  if (membership === null || !(await exists(nodeKey)) || !(await exists(accountKey))) {
    const how = validator ? '`muster up` starts one' : 'become one with `muster join <url>`, or name its --home';
    throw new MusterError('USAGE', `there is no ${validator ? 'validator' : 'node'} in ${home}: ${how}`, { home });
  }
  const { rpcUrl, chainId, contracts, url, relay } = membership;
  const account = { rpcUrl, info: { chainId, contracts }, privateKey: await loadOrCreateAccountKey(accountKey) };
  const chain = relay ? await connectRelayedAccount({ ...account, handOver: relayOverHttp(url) }) : await connectAccount(account);
  return { node: (await loadOrCreateNodeKey(nodeKey)).node, chain, membership };
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

async function standingOf({ node, chain, membership: { rpcUrl } }: LocalNode): Promise<NodeStanding> {
  const standing = await readNodeStanding({ rpcUrl }, chain.info, node);
  if (standing === null) throw new MusterError('NODE_UNKNOWN', `node ${node} is not registered on chain`, { node });
  return standing;
}

const timeOf = (seconds: number): string => (seconds === 0 ? 'never' : new Date(1000 * seconds).toISOString());

const share = (basisPoints: number): string => percent(basisPoints / 10_000);

/** `muster node show`. */
export async function nodeShow(context: Context, flags: NodeFlags): Promise<void> {
  const standing = await standingOf(await localNode(context, flags));
  const { stakeWei, requiredWei, freeWei, tier, status, withdrawableAt, lockedUntil, metrics, tasks } = standing;
  const lines: (readonly [string, string])[] = [
    ['operator', standing.operator],
    ['state', `${standing.role}, ${status}${standing.offences === 0 ? '' : `, ${standing.offences} offences`}`],
    ['stake', `${ether(stakeWei)} ether, tier ${tier}, at least ${ether(requiredWei)} needed`],
    ['free', `${ether(freeWei)} ether: what further results may be worth before those under way are paid`],
    ['locked', lockedUntil === 0 ? 'not by any work' : `by work that can be challenged until ${timeOf(lockedUntil)}`],
    ['withdrawable', withdrawableAt === null ? 'after `muster node unbond`' : `from ${timeOf(withdrawableAt)}`],
    ['heartbeat', `${timeOf(standing.lastHeartbeat)}, one every ${standing.heartbeatSeconds} s`],
    ['reputation', `${standing.score} of 1000000`],
    [
      'metrics',
      Object.entries(metrics)
        .map(([name, value]) => `${name} ${share(value)}`)
        .join(', '),
    ],
    ['tasks', `${tasks.accepted} accepted, ${tasks.rejected} rejected, ${tasks.missed} missed`],
    ['credit', `${ether(standing.creditWei)} ether, and ${ether(standing.insuredWei)} owed by the insurance`],
    ['account', `${ether(standing.balanceWei)} ether`],
  ];
  const text = [`node ${standing.node}`, ...lines.map(([name, value]) => `  ${name.padEnd(12)} ${value}`)].join('\n');
  context.output.event('node.shown', { ...standing }, text);
}

/** `muster node top-up <ether>`. */
export async function nodeTopUp(context: Context, flags: NodeFlags, amount: string): Promise<void> {
  if (!/^\d+(\.\d{1,18})?$/.test(amount) || weiOf(amount) === 0n)
    throw new MusterError('USAGE', `not an amount of ether: ${amount}`, { amount });
  const local = await localNode(context, flags);
  const amountWei = weiOf(amount);
  await local.chain.send({ call: 'topUp', node: local.node, amountWei });
  const { stakeWei, status } = await standingOf(local);
  const said = `${ether(amountWei)} ether added: the stake is ${ether(stakeWei)}, the node ${status}`;
  context.output.event('node.topped-up', { node: local.node, amountWei, stakeWei, status }, said);
}

/** `muster node unbond`, `cancel-unbond`, `withdraw-stake`, `heartbeat`. */
export async function nodeStake(
  context: Context,
  flags: NodeFlags,
  call: 'startUnbonding' | 'cancelUnbonding' | 'withdrawStake' | 'heartbeat',
): Promise<void> {
  const { output } = context;
  const local = await localNode(context, flags);
  const { node } = local;
  const { events } = await sendOrExplain(local, call);
  const { status, stakeWei, withdrawableAt, lastHeartbeat } = await standingOf(local);
  switch (call) {
    case 'startUnbonding': {
      const from = timeOf(withdrawableAt ?? 0);
      const said = `the node works no more; \`muster node withdraw-stake\` credits ${ether(stakeWei)} ether from ${from} on`;
      return output.event('node.unbonding', { node, status, stakeWei, withdrawableAt }, said);
    }
    case 'cancelUnbonding':
      return output.event('node.bonded', { node, status, stakeWei }, `the node is ${status} again with ${ether(stakeWei)} ether`);
    case 'withdrawStake': {
      const amountWei = found(events, 'StakeWithdrawn')?.amountWei ?? 0n;
      const said = `${ether(amountWei)} ether credited to the operator: \`muster node withdraw\` pays them out`;
      return output.event('node.left', { node, status, amountWei }, said);
    }
    case 'heartbeat':
      return output.event('node.heartbeat', { node, lastHeartbeat }, `the node was alive at ${timeOf(lastHeartbeat)}`);
    default:
      return call satisfies never;
  }
}

/** `muster node report <node>`: says that another node is silent. */
export async function nodeReport(context: Context, flags: NodeFlags, text: string): Promise<void> {
  const reported = parseNodeId(text.toLowerCase());
  const local = await localNode(context, flags);
  if ((await local.chain.node(reported)) === null)
    throw new MusterError('NODE_UNKNOWN', `node ${reported} is not registered on chain`, { node: reported });
  const { events } = await sendOrExplain({ ...local, node: reported }, 'reportMissedHeartbeats');
  const missed = found(events, 'HeartbeatsMissed')?.missed ?? 0;
  const slashedWei = found(events, 'NodeSlashed')?.amountWei ?? 0n;
  const shareWei = found(events, 'SlashDivided')?.challengerWei ?? 0n;
  const cost = slashedWei === 0n ? 'a warning' : `${ether(slashedWei)} ether of its stake, ${ether(shareWei)} of them credited to you`;
  const said = `node ${reported} has missed ${missed} heartbeats: ${cost}`;
  context.output.event('node.reported', { node: reported, missed, slashedWei, shareWei }, said);
}

/** `muster node withdraw` and `claim`: what the operator's account has earned, or is owed by the insurance. */
export async function nodePayOut(context: Context, flags: NodeFlags, call: 'withdraw' | 'claimInsurance'): Promise<void> {
  const { chain, node } = await localNode(context, flags);
  const dueWei = call === 'withdraw' ? await chain.credit(chain.account) : await chain.insured(chain.account);
  if (dueWei === 0n) {
    const nothing = call === 'withdraw' ? 'has no credit' : 'is owed nothing by the insurance';
    throw new MusterError('STATE_CONFLICT', `the account ${chain.account} ${nothing}`, { account: chain.account });
  }
  const { events } = await chain.send({ call });
  const amountWei = (call === 'withdraw' ? found(events, 'Withdrawn') : found(events, 'CoverPaid'))?.amountWei ?? 0n;
  const balanceWei = await chain.balance(chain.account);
  const name = call === 'withdraw' ? 'node.withdrawn' : 'node.claimed';
  const said = `${ether(amountWei)} ether paid to ${chain.account}, which holds ${ether(balanceWei)}`;
  context.output.event(name, { node, account: chain.account, amountWei, balanceWei }, said);
}

function found<N extends ChainEvent['event']>(
  events: readonly ChainEvent[],
  name: N,
): Extract<ChainEvent, { readonly event: N }> | undefined {
  return events.find((event): event is Extract<ChainEvent, { readonly event: N }> => event.event === name);
}

/** What the registry's refusals mean to an operator. */
const explanations: Readonly<Record<string, string>> = {
  AlreadyUnbonding: 'the node is leaving already',
  NotUnbonding: 'the node is not leaving: begin with `muster node unbond`',
  NodeHasLeft: 'the node has left and taken its stake; it can join again',
  NodeDeactivated: 'the node was convicted of cheating and can never work again',
  NodeNotActive: 'the node is not at work, so it owes no heartbeats',
  NotOperator: 'the node belongs to another account',
};

type RegistryCall = 'startUnbonding' | 'cancelUnbonding' | 'withdrawStake' | 'heartbeat' | 'reportMissedHeartbeats';

async function sendOrExplain({ chain, node }: LocalNode, call: RegistryCall): Promise<ChainReceipt> {
  try {
    return await chain.send({ call, node });
  } catch (error) {
    if (!(error instanceof MusterError) || error.code !== 'CHAIN_REVERTED') throw error;
    const { error: name, until, lastHeartbeat } = error.details;
    let message = explanations[String(name)];
    if (name === 'StakeLocked') message = `the stake is held until ${timeOf(Number(until))}`;
    if (name === 'NoHeartbeatMissed') message = `the node has missed none: its last heartbeat was at ${timeOf(Number(lastHeartbeat))}`;
    if (message === undefined) throw error;
    throw new MusterError('STATE_CONFLICT', message, { node }, { cause: error });
  }
}

/** Adds `muster node`. */
export function addNode(program: Command): void {
  const node = program.command('node').description('your node: stake, reputation, rewards');
  const add = (name: string, what: string, act: (context: Context, flags: NodeFlags, argument: string) => Promise<void>): void => {
    const takesArgument = name.includes('<');
    node
      .command(name)
      .description(what)
      .option('--validator', 'the validator of a home of `muster up`, instead of the trainer of `muster join`')
      .action(async (...given: unknown[]) => {
        const command = given.at(-1) as Command;
        await act(contextOf(command), command.opts<NodeFlags>(), takesArgument ? String(given[0]) : '');
      });
  };
  add('show', 'stake and what holds it, reputation, credit', nodeShow);
  add('top-up <ether>', 'add to the stake; a suspended node works again once it suffices', nodeTopUp);
  add('unbond', 'leave: no more work, and the stake free after the unbonding time', (context, flags) =>
    nodeStake(context, flags, 'startUnbonding'),
  );
  add('cancel-unbond', 'stay after all', (context, flags) => nodeStake(context, flags, 'cancelUnbonding'));
  add('withdraw-stake', 'credit the stake to the operator once it is free', (context, flags) => nodeStake(context, flags, 'withdrawStake'));
  add('heartbeat', 'say on chain that the node is alive, as it does by itself while it runs', (context, flags) =>
    nodeStake(context, flags, 'heartbeat'),
  );
  add('report <node>', 'say that another node is silent; three missed heartbeats cost it stake', nodeReport);
  add('withdraw', 'pay out what the operator was credited', (context, flags) => nodePayOut(context, flags, 'withdraw'));
  add('claim', 'pay out what the insurance owes the operator', (context, flags) => nodePayOut(context, flags, 'claimInsurance'));
}
