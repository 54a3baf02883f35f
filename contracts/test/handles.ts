/**
 * Contracts of one's own on a test chain, by name: create, call, read, and be refused. For contracts that the chain port does not
 * speak to. Not for the core, which tests reach through the adapter.
 */
import {
  type Abi,
  createPublicClient,
  createWalletClient,
  decodeErrorResult,
  decodeEventLog,
  defineChain,
  encodeFunctionData,
  type Hex,
  type TransactionReceipt,
} from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import type { Address } from '@muster/protocol';
import { revertDataOf } from '../../packages/adapters/src/evm/contracts/errors.ts';
import { forwardTypes } from '../../packages/adapters/src/evm/contracts/relay.ts';
import * as bindings from '../../packages/adapters/src/evm/generated/index.ts';
import { type CompiledContract, compile } from '../build.ts';
import { create, type TestChain } from './harness.ts';

let sources: Map<string, CompiledContract> | undefined;
let helpers: Map<string, CompiledContract> | undefined;

/** A contract by name, from its bindings; one without them is compiled, once per test file, from contracts/test/helpers or contracts/src. */
export function compiled(name: string): CompiledContract {
  const exported = name.charAt(0).toLowerCase() + name.slice(1);
  const all: Readonly<Record<string, unknown>> = bindings;
  const [abi, bytecode] = [all[`${exported}Abi`], all[`${exported}Bytecode`]];
  if (abi !== undefined) return { abi: abi as Abi, bytecode: bytecode as Hex };
  const found = (helpers ??= compile('test/helpers')).get(name) ?? (sources ??= compile('src')).get(name);
  if (found === undefined) throw new Error(`no contract ${name}`);
  return found;
}

/** The errors of all contracts: one call may revert in another contract than the one called. */
const knownErrors = (): Abi => {
  const bound = Object.values<unknown>(bindings).filter((value): value is Abi => Array.isArray(value));
  const own = [...(sources?.values() ?? []), ...(helpers?.values() ?? [])].map(({ abi }) => abi);
  return [...bound, ...own].flatMap((abi) => abi.filter((entry) => entry.type === 'error'));
};

/** An event, with its arguments. */
export type Told = { readonly event: string } & Record<string, unknown>;

/** A contract on the chain. Actors are numbers, as in the harness. */
export interface Handle {
  readonly address: Address;
  readonly abi: Abi;
  /** Gas used and this contract's events; refused calls throw, see `refused`. */
  call(actor: number, functionName: string, args?: readonly unknown[], valueWei?: bigint): Promise<{ gas: bigint; events: Told[] }>;
  /** A plain transfer, without a call. */
  transfer(actor: number, valueWei: bigint): Promise<{ gas: bigint; events: Told[] }>;
  read(functionName: string, args?: readonly unknown[]): Promise<unknown>;
  /** The custom error that the call is refused with, and its arguments; fails where it succeeds. */
  refused(actor: number, functionName: string, args?: readonly unknown[], valueWei?: bigint): Promise<unknown>;
}

/** Creates the contract `name` as `actor`. */
export async function deploy(chain: TestChain, actor: number, name: string, args: readonly unknown[]): Promise<Handle> {
  const contract = compiled(name);
  return handleAt(chain, await create(chain, actor, contract, args), contract.abi);
}

export function handleAt(chain: TestChain, address: Address, abi: Abi): Handle {
  const definition = defineChain({
    id: chain.info.chainId,
    name: 'test',
    nativeCurrency: { name: 'ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [] } },
  });
  const client = createPublicClient({ transport: chain.transport, chain: definition, pollingInterval: 1, cacheTime: 0 });
  const post = async (actor: number, data: Hex | undefined, value: bigint): Promise<TransactionReceipt> => {
    const account = privateKeyToAccount(chain.keyOf(actor));
    const wallet = createWalletClient({ transport: chain.transport, chain: definition, account });
    const hash = await wallet.sendTransaction({ to: address, value, ...(data === undefined ? {} : { data }) });
    const receipt = await client.getTransactionReceipt({ hash });
    if (receipt.status !== 'success') throw new Error(`a call by actor ${actor} failed`);
    return receipt;
  };
  const told = (receipt: TransactionReceipt): { gas: bigint; events: Told[] } => ({
    gas: receipt.gasUsed,
    events: receipt.logs
      .filter((log) => log.address.toLowerCase() === address)
      .map((log) => {
        const { eventName, args } = decodeEventLog({ abi, data: log.data, topics: log.topics });
        return { event: String(eventName), ...(args as unknown as Record<string, unknown>) };
      }),
  });
  return {
    address,
    abi,
    call: async (actor, functionName, args = [], valueWei = 0n) =>
      told(await post(actor, encodeFunctionData({ abi, functionName, args }), valueWei)),
    transfer: async (actor, valueWei) => told(await post(actor, undefined, valueWei)),
    read: (functionName, args = []) => client.readContract({ address, abi, functionName, args }),
    async refused(actor, functionName, args = [], valueWei = 0n) {
      try {
        await post(actor, encodeFunctionData({ abi, functionName, args }), valueWei);
      } catch (error) {
        const data: Hex | null = revertDataOf(error);
        if (data === null) throw error;
        if (data === '0x') return 'reverted without a reason';
        const { errorName, args: values = [] } = decodeErrorResult({ abi: [...abi, ...knownErrors()], data });
        return [errorName, ...values];
      }
      throw new Error(`${functionName} was not refused`);
    },
  };
}

/** The account of an actor, in the spelling of viem. */
export const accountOf = (chain: TestChain, actor: number): Hex => privateKeyToAccount(chain.keyOf(actor)).address;

/** `actor` signs a call of `target`, and `relayer` submits it through the forwarder and pays for it. */
export async function relayedBy(
  chain: TestChain,
  forwarder: Handle,
  relayer: number,
  actor: number,
  target: Handle,
  functionName: string,
  args: readonly unknown[],
  valueWei = 0n,
): Promise<void> {
  const signer = privateKeyToAccount(chain.keyOf(actor));
  const data = encodeFunctionData({ abi: target.abi, functionName, args });
  const nonce = (await forwarder.read('nonces', [signer.address])) as bigint;
  const request = { from: signer.address, to: target.address, value: valueWei, gas: 1_000_000n, deadline: 2 ** 47, data };
  const signature = await signer.signTypedData({
    domain: { name: 'Muster', version: '1', chainId: chain.info.chainId, verifyingContract: forwarder.address },
    types: forwardTypes,
    primaryType: 'ForwardRequest',
    message: { ...request, nonce },
  });
  await forwarder.call(relayer, 'execute', [{ ...request, signature }], valueWei);
}
