/**
 * All that the chain says about one node, for its operator: stake and what holds it, reputation, credit. Read-only.
 */
import type { ChainInfo, ChainNodeStatus, NodeRole } from '@muster/ports';
import type { Address, NodeId, Root } from '@muster/protocol';
import { insuranceFundAbi, nodeCertRegistryAbi, reputationRegistryAbi, aiJobManagerAbi } from '../generated/index.ts';
import { nodeRoles } from './calls.ts';
import { type NodeCaps, unpackCapabilities } from './capabilities.ts';
import { nodeStatuses } from './chain.ts';
import { ask, type ChainEndpoint, type ConnectionOptions, openConnection } from './connection.ts';
import { lowerAddress } from './events.ts';

/** Names in the order of the contract's `StakeTier`. */
export const stakeTiers = ['none', 'basic', 'gpu', 'tee', 'priority'] as const;
export type StakeTierName = (typeof stakeTiers)[number];

export interface NodeStanding {
  readonly node: NodeId;
  readonly operator: Address;
  readonly role: NodeRole;
  readonly status: ChainNodeStatus;
  readonly region: string;
  readonly caps: NodeCaps;
  readonly hardwareVerified: boolean;
  readonly offences: number;
  readonly stakeWei: bigint;
  /** What its role and capabilities ask for. */
  readonly requiredWei: bigint;
  readonly tier: StakeTierName;
  /** What it may still be exposed to. */
  readonly freeWei: bigint;
  /** Seconds since 1970, as all times here. Work done until now can be challenged until then; 0 where there is none. */
  readonly lockedUntil: number;
  /** From when the stake can be taken; null where the node does not unbond. */
  readonly withdrawableAt: number | null;
  readonly registeredAt: number;
  readonly lastHeartbeat: number;
  /** Seconds within which the next one must come. */
  readonly heartbeatSeconds: number;
  /** 0 … 1 000 000. */
  readonly score: number;
  /** What the score is made of, basis points. */
  readonly metrics: Readonly<Record<'uptime' | 'penalty' | 'proofSuccess' | 'bandwidth' | 'lineage' | 'slashFree' | 'completion', number>>;
  readonly tasks: { readonly accepted: number; readonly rejected: number; readonly missed: number };
  /** Of the operator's account: what it can withdraw, what the insurance owes it, and what it holds. */
  readonly creditWei: bigint;
  readonly insuredWei: bigint;
  readonly balanceWei: bigint;
}

/** The standing of `node`, or null where it is not registered. Throws CHAIN_UNREACHABLE. */
export async function readNodeStanding(
  endpoint: ChainEndpoint & ConnectionOptions,
  { contracts }: ChainInfo,
  node: NodeId,
): Promise<NodeStanding | null> {
  const { client } = openConnection(endpoint);
  const registry = { address: contracts.nodeCertRegistry, abi: nodeCertRegistryAbi } as const;
  const reputation = { address: contracts.reputationRegistry, abi: reputationRegistryAbi, args: [node] } as const;
  return await ask('node', async () => {
    // One block for everything, so that the parts fit each other.
    const blockNumber = await client.getBlockNumber();
    const at = { blockNumber };
    const cert = await client.readContract({ ...registry, ...at, functionName: 'nodeCert', args: [node] });
    const status = nodeStatuses[cert.status];
    if (status === null || status === undefined) return null;
    const account = { args: [cert.operator], ...at } as const;
    const [requiredWei, tier, freeWei, withdrawableAt, times, score, metrics, counters, creditWei, insuredWei, balanceWei] =
      await Promise.all([
        client.readContract({ ...registry, ...at, functionName: 'requiredStake', args: [cert.role, cert.caps] }),
        client.readContract({ ...registry, ...at, functionName: 'tierOf', args: [node] }),
        client.readContract({ ...registry, ...at, functionName: 'freeStake', args: [node] }),
        client.readContract({ ...registry, ...at, functionName: 'withdrawableAt', args: [node] }),
        client.readContract({ ...registry, ...at, functionName: 'times' }),
        client.readContract({ ...reputation, ...at, functionName: 'scoreOf' }),
        client.readContract({ ...reputation, ...at, functionName: 'metricsOf' }),
        client.readContract({ ...reputation, ...at, functionName: 'countersOf' }),
        client.readContract({ address: contracts.jobManager, abi: aiJobManagerAbi, functionName: 'credits', ...account }),
        client.readContract({ address: contracts.insuranceFund, abi: insuranceFundAbi, functionName: 'owed', ...account }),
        client.getBalance({ address: cert.operator, ...at }),
      ]);
    const { accepted, rejected, missed } = counters;
    return {
      node,
      operator: lowerAddress(cert.operator),
      role: nodeRoles[cert.role] ?? 'trainer',
      status,
      region: cert.region,
      caps: unpackCapabilities(cert.caps as Root),
      hardwareVerified: cert.hardwareVerified,
      offences: cert.offences,
      stakeWei: cert.stake,
      requiredWei,
      tier: stakeTiers[tier] ?? 'none',
      freeWei,
      lockedUntil: cert.lockedUntil,
      withdrawableAt: status === 'unbonding' ? Number(withdrawableAt) : null,
      registeredAt: cert.registeredAt,
      lastHeartbeat: cert.lastHeartbeat,
      heartbeatSeconds: times.heartbeat,
      score,
      metrics: { ...metrics },
      tasks: { accepted, rejected, missed },
      creditWei,
      insuredWei,
      balanceWei,
    };
  });
}
