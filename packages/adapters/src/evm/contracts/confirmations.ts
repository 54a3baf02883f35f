/**
 * How deep a block must lie before it counts, and the newest block that does.
 *
 * A re-organisation within that depth is invisible to whoever reads only settled blocks. A deeper one cannot be hidden: it is found by the
 * hash of the last settled block and reported. Not a consensus client: which chain is the right one is what the endpoint says.
 */
import { MusterError } from '@muster/protocol';
import { type Hex, toHex } from 'viem';
import { ask, type Connection } from './connection.ts';

/** Depth on chains that others make, unless another is given. */
export const DEFAULT_CONFIRMATIONS = 5;

/** Clients that make their chain alone and never take a block back on their own. */
const lonelyClients = /^(?:muster|anvil|hardhat)/i;

export interface SettledBlock {
  readonly block: number;
  readonly hash: Hex;
  /** Seconds since 1970. */
  readonly time: number;
}

const depths = new WeakMap<Connection, Promise<number>>();
const settled = new WeakMap<Connection, SettledBlock>();

/** Blocks that must follow on `connection`; asks the chain who makes it where none were given. Throws CHAIN_UNREACHABLE. */
export function confirmationsOf(connection: Connection): Promise<number> {
  if (connection.confirmations !== null) return Promise.resolve(connection.confirmations);
  const known = depths.get(connection);
  if (known !== undefined) return known;
  const asked = ask('client version', () => connection.client.request({ method: 'web3_clientVersion' })).then(
    (version) => (lonelyClients.test(version) ? 0 : DEFAULT_CONFIRMATIONS),
    (error: unknown) => {
      if (error instanceof MusterError && error.code === 'CHAIN_REVERTED') return DEFAULT_CONFIRMATIONS;
      depths.delete(connection);
      throw error;
    },
  );
  depths.set(connection, asked);
  return asked;
}

/**
 * The newest block that counts: the head less the confirmations, the first block on a shorter chain. Never lower than an earlier answer
 * as long as the endpoint is not behind. At depth 0 it is the head, and nothing is remembered: such a chain does not re-organise.
 *
 * Throws CHAIN_UNREACHABLE, and CHAIN_REORGANISED (`DeepReorganisation`) once a block that had settled is no longer part of the chain;
 * from then on always, since what was read may be wrong: a new connection starts afresh.
 */
export async function settledBlock(connection: Connection): Promise<SettledBlock> {
  const depth = await confirmationsOf(connection);
  const head = await blockAt(connection, 'latest');
  if (head === null) throw new MusterError('CHAIN_UNREACHABLE', 'settled block: the chain has no newest block');
  if (depth === 0) return head;
  const last = settled.get(connection);
  const number = Math.max(0, head.block - depth);
  const [target, same] = await Promise.all([
    number === head.block ? head : blockAt(connection, number),
    last === undefined || last.block > head.block ? null : blockAt(connection, last.block),
  ]);
  if (last !== undefined && same !== null && same.hash !== last.hash) {
    throw deepReorganisation(depth, last, same.hash);
  }
  // An endpoint of several machines may know the head and not the block below it yet.
  const found = target ?? last;
  if (found === undefined) throw new MusterError('CHAIN_UNREACHABLE', `settled block: the chain does not have block ${number} yet`);
  if (last === undefined || found.block > last.block) settled.set(connection, found);
  return found;
}

function deepReorganisation(depth: number, last: SettledBlock, now: Hex): MusterError {
  const details = { error: 'DeepReorganisation', block: last.block, expected: last.hash, actual: now, confirmations: depth };
  return new MusterError(
    'CHAIN_REORGANISED',
    `the chain took back block ${last.block}, which had ${depth} confirmations: read everything again, with more confirmations`,
    details,
  );
}

/** Number, hash and time of a block as the endpoint has it now; null where it has none. */
export async function blockAt(connection: Connection, place: number | 'latest'): Promise<SettledBlock | null> {
  const tag = place === 'latest' ? place : toHex(place);
  const found = await ask('block', () => connection.client.request({ method: 'eth_getBlockByNumber', params: [tag, false] }));
  if (found === null || found.hash === null || found.number === null) return null;
  return { block: Number(found.number), hash: found.hash, time: Number(found.timestamp) };
}
