/**
 * Contracts that a chain of ours starts with: today TRAIN_REQUEST at address 0x14 (docs/spec/26-train-request.md).
 *
 * The account is what the contract's own constructor would have left: its code comes from running the creation code, so that the code at
 * 0x14 and at an ordinary address elsewhere is the same. Not for contracts with immutables.
 */
import type { Address } from '@muster/protocol';
import { MusterError } from '@muster/protocol';
import { encodeDeployData, pad } from 'viem';
import { trainRequestAbi, trainRequestBytecode } from '../generated/index.ts';
import type { GenesisAccount, StorageWord } from './genesis.ts';
import { blockEnvironment, chainRules, createMachine, openHeader, runMessage } from './machine.ts';
import { bytesOf, type Hex, hexOf } from './params.ts';

/** Where TRAIN_REQUEST stands on chains whose genesis is Muster's. */
export const trainRequestAddress = '0x0000000000000000000000000000000000000014' as Address;

/** What TRAIN_REQUEST knows, in the order of its storage slots and of its constructor's arguments. */
export interface TrainRequestConfiguration {
  readonly jobManager: Address;
  readonly forwarder: Address;
  /** May change coordinator and validator; the zero address: nobody may. */
  readonly owner: Address;
  readonly coordinator: Address;
  readonly validator: Address;
}

/** TRAIN_REQUEST as a genesis account at `trainRequestAddress`. */
export async function trainRequestGenesis(configuration: TrainRequestConfiguration): Promise<GenesisAccount> {
  const { jobManager, forwarder, owner, coordinator, validator } = configuration;
  const args = [jobManager, forwarder, owner, coordinator, validator] as const;
  const code = await codeLeftBy(encodeDeployData({ abi: trainRequestAbi, bytecode: trainRequestBytecode, args }));
  const storage = args.map((value, slot): StorageWord => [wordOf(slot), pad(value, { size: 32 })]);
  return { address: trainRequestAddress, balanceWei: 0n, code, storage };
}

/** Code that the creation code `data` returns. Throws INTERNAL where it fails. */
async function codeLeftBy(data: Hex): Promise<Hex> {
  const common = chainRules(1);
  const machine = await createMachine(
    common,
    () => undefined,
    null,
    () => null,
  );
  const request = { from: new Uint8Array(20), to: null, data: bytesOf(data), value: 0n, gas: null, gasPrice: 0n };
  const block = blockEnvironment(openHeader(null, 0, new Uint8Array(32)), common);
  const { exceptionError, returnValue } = await runMessage(machine, block, request, 30_000_000n);
  if (exceptionError !== undefined)
    throw new MusterError('INTERNAL', `a predeployed contract's constructor fails: ${exceptionError.error}`);
  return hexOf(returnValue);
}

const wordOf = (value: number): Hex => pad(`0x${value.toString(16)}`, { size: 32 });
