/**
 * eth_call and eth_estimateGas: runs that leave nothing behind.
 *
 * Each runs on its own machine over stored nodes, so calls neither see a block in the making nor each other. Gas bounds the work of one,
 * about 60 ns per gas at worst; `inTurn` lets others have the thread between two.
 */
import type { Block } from '@ethereumjs/block';
import type { Common } from '@ethereumjs/common';
import type { EVMError } from '@ethereumjs/evm';
import { BLOCK_GAS_LIMIT, createMachine, runMessage, runTrial, type BlockHash } from './machine.ts';
import type { CallRequest } from './params.ts';
import { limitExceeded, refused, reverted, type RpcError } from './rpc-error.ts';
import type { ReadNode } from './trie-nodes.ts';

/** Most gas of one call or estimate; half a block. */
export const CALL_GAS_LIMIT = BLOCK_GAS_LIMIT / 2n;
const MAX_WAITING = 2000;

/** Runs bodies one after the other, each in a turn of its own of the event loop. Refuses with −32005 when too many wait. */
export function inTurn(): <T>(body: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  let waiting = 0;
  return <T>(body: () => Promise<T>): Promise<T> => {
    if (waiting >= MAX_WAITING) return Promise.reject(limitExceeded('too many calls are waiting'));
    waiting++;
    const run = last
      .then(() => new Promise<void>((resolve) => setImmediate(resolve)))
      .then(body)
      .finally(() => waiting--);
    last = run.catch(() => undefined);
    return run;
  };
}

export interface CallContext {
  readonly common: Common;
  readonly read: ReadNode;
  readonly blockHash: BlockHash;
  /** State to run on. */
  readonly stateRoot: Uint8Array;
  /** Block whose number, time and randomness the run sees. */
  readonly environment: Block;
}

/** Returned bytes. Throws code 3 with the revert bytes, −32000 for any other failure. */
export async function call(context: CallContext, request: CallRequest): Promise<Uint8Array> {
  const machine = await createMachine(context.common, context.read, context.stateRoot, context.blockHash);
  const gas = request.gas === null || request.gas > CALL_GAS_LIMIT ? CALL_GAS_LIMIT : request.gas;
  const { exceptionError, returnValue } = await runMessage(machine, context.environment, request, gas);
  if (exceptionError !== undefined) throw failure(exceptionError, returnValue);
  return returnValue;
}

/** A gas limit that suffices for `request` as a transaction: found by runs, at most 1.5 % above the least one. */
export async function estimateGas(context: CallContext, request: CallRequest): Promise<bigint> {
  const highest = request.gas === null || request.gas > CALL_GAS_LIMIT ? CALL_GAS_LIMIT : request.gas;
  const first = await attempt(context, request, highest);
  if (first.error !== null) throw first.error;
  // Used gas suffices unless refunds or a call's reserved 1/64 ask for more at the start.
  let low = first.used - 1n;
  let high = highest;
  const guesses = [first.used, ((first.used + first.refund) * 64n) / 63n + 2300n];
  while (high - low > 1n && (high - low) * 1000n > high * 15n) {
    let middle = guesses.shift() ?? (high + low) / 2n;
    if (middle <= low || middle >= high) middle = (high + low) / 2n;
    if (middle > low * 2n && low > 0n) middle = low * 2n;
    if ((await attempt(context, request, middle)).error === null) high = middle;
    else low = middle;
    if (high === first.used) break;
  }
  return high;
}

async function attempt(context: CallContext, request: CallRequest, gas: bigint) {
  const machine = await createMachine(context.common, context.read, context.stateRoot, context.blockHash);
  try {
    const { execResult, totalGasSpent, gasRefund } = await runTrial(machine, context.environment, request, gas);
    const { exceptionError, returnValue } = execResult;
    const error = exceptionError === undefined ? null : failure(exceptionError, returnValue);
    return { used: totalGasSpent, refund: gasRefund ?? 0n, error };
  } catch (thrown) {
    const text = thrown instanceof Error ? thrown.message : String(thrown);
    return { used: gas, refund: 0n, error: refusal(text, gas) };
  }
}

function refusal(text: string, gas: bigint): RpcError {
  if (/enough funds/.test(text)) return refused('insufficient funds for gas * price + value');
  if (/gas_too_low|intrinsic|gasLimit/i.test(text)) return refused(`intrinsic gas too low: gas ${gas}`);
  if (/EIP-3607/.test(text)) return refused('sender not an eoa');
  return refused(text.slice(0, 200));
}

function failure(error: EVMError, returned: Uint8Array): RpcError {
  const text: string = error.error;
  if (text === 'revert') return reverted(returned);
  return refused(text === 'insufficient balance' ? 'insufficient funds for transfer' : text);
}
