/**
 * All contracts of a test chain seen from outside: who calls them, what they answer, what happened. Speaks to them by their ABIs and not
 * through the adapter, so that tests can also make calls which the adapter would never make.
 */
import {
  type Abi,
  decodeErrorResult,
  decodeEventLog,
  decodeFunctionResult,
  encodeAbiParameters,
  encodeDeployData,
  encodeFunctionData,
  type Hex,
  keccak256,
  toHex,
} from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import type { ChainInfo } from '@muster/ports';
import { contractNames, entryOf } from '../../../packages/adapters/src/evm/contracts/catalogue.ts';
import { revertDataOf } from '../../../packages/adapters/src/evm/contracts/errors.ts';
import { forwardTypes } from '../../../packages/adapters/src/evm/contracts/relay.ts';
import { compile, type CompiledContract } from '../../build.ts';
import type { TestChain } from '../harness.ts';

const GAS = 40_000_000n;
/** What a relayed call may use; the forwarder wants more than this to be left. */
const RELAYED_GAS = 20_000_000n;

export interface Contract {
  readonly address: Hex;
  readonly abi: Abi;
}

/** An event of one of the contracts. */
export interface Happening {
  readonly contract: string;
  readonly event: string;
  readonly args: Readonly<Record<string, unknown>>;
}

/** A call that was taken, with its events, or the name and arguments of the error it was refused with. */
export type Reply =
  | { readonly taken: true; readonly events: readonly Happening[]; readonly gas: bigint }
  | { readonly taken: false; readonly error: string; readonly args: readonly unknown[] };

/** Somebody who calls: an account, an account whose calls another one relays, or a contract that calls back while it is paid. */
export interface Actor {
  readonly kind: 'plain' | 'relayed' | 'hostile';
  readonly account: Hex;
  /** Key of the account, or of the one that drives the contract and pays for what it sends. */
  readonly key: Hex;
}

/** One read: contract, function, arguments; a balance where there is no function. The contract by name, or an address. */
export type Question = readonly [contract: string, functionName?: string, args?: readonly unknown[]];

let known: ReadonlyMap<string, CompiledContract> | undefined;

/** A helper contract of the tests by name, compiled once per test file. */
export function compiled(name: string): CompiledContract {
  known ??= compile('test/helpers');
  const found = known.get(name);
  if (found === undefined) throw new Error(`no contract ${name}`);
  return found;
}

export class Economy {
  readonly chain: TestChain;
  readonly contracts: ReadonlyMap<string, Contract>;
  /** Everything that happened through `call`, in order. */
  readonly events: Happening[] = [];
  private readonly byAddress: ReadonlyMap<string, string>;
  private readonly errors: Abi;
  private readonly lens: Hex;

  private constructor(chain: TestChain, contracts: ReadonlyMap<string, Contract>, lens: Hex) {
    this.chain = chain;
    this.contracts = contracts;
    this.lens = lens;
    this.byAddress = new Map([...contracts].map(([name, { address }]) => [address, name]));
    this.errors = [...contracts.values()].flatMap(({ abi }) => abi.filter((entry) => entry.type === 'error'));
  }

  /** The contracts at `addresses`, by default those of the chain. Makes a helper contract as account 0. */
  static async open(chain: TestChain, addresses: ChainInfo['contracts'] = chain.info.contracts): Promise<Economy> {
    const contracts = new Map(contractNames.map((name) => [name as string, { address: addresses[name], abi: entryOf(name).abi }]));
    return new Economy(chain, contracts, await createContract(chain, 'Lens', []));
  }

  contract(name: string): Contract {
    const found = this.contracts.get(name);
    if (found === undefined) throw new Error(`no contract ${name}`);
    return found;
  }

  /** The actor with the harness's account number `index`. */
  async actor(index: number, kind: Actor['kind'] = 'plain'): Promise<Actor> {
    const key = this.chain.keyOf(index);
    const account = kind === 'hostile' ? await createContract(this.chain, 'Hostile', []) : privateKeyToAccount(key).address;
    return { kind, account: account.toLowerCase() as Hex, key };
  }

  /** Calls a function as `actor` and keeps its events. A refusal by anything but a contract is thrown. */
  async call(actor: Actor, name: string, functionName: string, args: readonly unknown[] = [], valueWei = 0n): Promise<Reply> {
    const { address, abi } = this.contract(name);
    return this.send(actor, address, encodeFunctionData({ abi, functionName, args }), valueWei);
  }

  /** As `call`, for calls that must be taken. */
  async must(
    actor: Actor,
    name: string,
    functionName: string,
    args: readonly unknown[] = [],
    valueWei = 0n,
  ): Promise<readonly Happening[]> {
    const reply = await this.call(actor, name, functionName, args, valueWei);
    if (!reply.taken) throw new Error(`${functionName} was refused: ${reply.error}(${reply.args.map(String).join(', ')})`);
    return reply.events;
  }

  /** Makes the contract of a hostile actor call `target` whenever it is paid. */
  async arm(actor: Actor, target: Hex, data: Hex): Promise<void> {
    const { abi } = compiled('Hostile');
    await this.post(actor.key, actor.account, encodeFunctionData({ abi, functionName: 'arm', args: [target, data] }), 0n);
  }

  /** Sends `data` to `to` as `actor`. */
  async send(actor: Actor, to: Hex, data: Hex, valueWei: bigint): Promise<Reply> {
    const { key } = actor;
    if (actor.kind === 'relayed') {
      const signed = await this.forwardRequest(actor, to, data, valueWei);
      return this.forward(signed, valueWei);
    }
    if (actor.kind === 'plain') return this.post(key, to, data, valueWei);
    const { abi } = compiled('Hostile');
    return this.post(key, actor.account, encodeFunctionData({ abi, functionName: 'perform', args: [to, data] }), valueWei);
  }

  /** What the forwarder takes: the call signed by the actor's account, with its next nonce. `changes` are made before signing. */
  async forwardRequest(
    actor: Actor,
    to: Hex,
    data: Hex,
    value: bigint,
    changes: Partial<Record<'chainId' | 'deadline', number>> = {},
  ): Promise<object> {
    const { address } = this.contract('forwarder');
    const [nonce] = await this.read([['forwarder', 'nonces', [actor.account]]]);
    const request = { from: actor.account, to, value, gas: RELAYED_GAS, deadline: changes.deadline ?? 2 ** 47, data };
    const signature = await privateKeyToAccount(actor.key).signTypedData({
      domain: { name: 'Muster', version: '1', chainId: changes.chainId ?? this.chain.info.chainId, verifyingContract: address },
      types: forwardTypes,
      primaryType: 'ForwardRequest',
      message: { ...request, nonce: nonce as bigint },
    });
    return { ...request, signature };
  }

  /** Hands a signed request to the forwarder as account 0. */
  forward(request: object, valueWei: bigint): Promise<Reply> {
    const { address, abi } = this.contract('forwarder');
    return this.post(this.chain.keyOf(0), address, encodeFunctionData({ abi, functionName: 'execute', args: [request] }), valueWei);
  }

  /** Answers in order, all of the same moment. */
  async read(questions: readonly Question[]): Promise<unknown[]> {
    const readings = questions.map(([contract, functionName, args = []]) => {
      const target = this.contracts.get(contract)?.address ?? (contract as Hex);
      const data = functionName === undefined ? '0x' : encodeFunctionData({ abi: this.contract(contract).abi, functionName, args });
      return { target, data };
    });
    const { abi } = compiled('Lens');
    const data = encodeFunctionData({ abi, functionName: 'read', args: [readings] });
    const answer = (await this.chain.request('eth_call', [{ to: this.lens, data, gas: toHex(GAS) }, 'latest'])) as Hex;
    const answers = decodeFunctionResult({ abi, functionName: 'read', data: answer }) as readonly Hex[];
    return answers.map((raw, index) => {
      const [contract = '', functionName] = questions[index] ?? [];
      return functionName === undefined ? BigInt(raw) : decodeFunctionResult({ abi: this.contract(contract).abi, functionName, data: raw });
    });
  }

  private async post(key: Hex, to: Hex, data: Hex, valueWei: bigint): Promise<Reply> {
    const from = privateKeyToAccount(key).address;
    try {
      const transaction = { from, to, data, value: toHex(valueWei), gas: toHex(GAS), gasPrice: '0x0' };
      const hash = await this.chain.request('eth_sendTransaction', [transaction]);
      const receipt = (await this.chain.request('eth_getTransactionReceipt', [hash])) as {
        readonly gasUsed: Hex;
        readonly logs: readonly { readonly address: string; readonly data: Hex; readonly topics: [Hex, ...Hex[]] }[];
      };
      const events: Happening[] = [];
      for (const { address, data: words, topics } of receipt.logs) {
        const contract = this.byAddress.get(address.toLowerCase());
        if (contract === undefined) continue;
        const { eventName, args } = decodeEventLog({ abi: this.contract(contract).abi, data: words, topics });
        events.push({ contract, event: String(eventName), args: (args ?? {}) as unknown as Record<string, unknown> });
      }
      this.events.push(...events);
      return { taken: true, events, gas: BigInt(receipt.gasUsed) };
    } catch (error) {
      const reverted = revertDataOf(error);
      if (reverted === null) throw error;
      if (reverted === '0x') return { taken: false, error: '', args: [] };
      const { errorName, args } = decodeErrorResult({ abi: this.errors, data: reverted });
      return { taken: false, error: errorName, args: args ?? [] };
    }
  }
}

/** Creates a contract of the helpers as account 0. */
export async function createContract(chain: TestChain, name: string, args: readonly unknown[]): Promise<Hex> {
  const { abi, bytecode } = compiled(name);
  const from = privateKeyToAccount(chain.keyOf(0)).address;
  const transaction = { from, data: encodeDeployData({ abi, bytecode, args }), gas: toHex(GAS), gasPrice: '0x0' };
  const hash = await chain.request('eth_sendTransaction', [transaction]);
  const receipt = (await chain.request('eth_getTransactionReceipt', [hash])) as { readonly contractAddress: string };
  return receipt.contractAddress.toLowerCase() as Hex;
}

const words = (types: string, values: readonly unknown[]): Hex =>
  keccak256(
    encodeAbiParameters(
      types.split(' ').map((type) => ({ type })),
      values,
    ),
  );

/** The digests of contracts/src/libraries/Digests.sol, written anew from their description. */
export const digests = {
  roundKey: (job: Hex, round: number): Hex => words('bytes32 uint64', [job, BigInt(round)]),
  holder: (node: Hex, operator: Hex): Hex => `0x${words('bytes32 address', [node, operator]).slice(26)}`,
  leaf: (roundKey: Hex, task: number, slot: number, holder: Hex): Hex =>
    words('bytes32 uint32 uint32 address', [roundKey, task, slot, holder]),
  commitment: (roundKey: Hex, task: number, slot: number, holder: Hex, salt: Hex, resultRoot: Hex): Hex =>
    words('bytes32 uint32 uint32 address bytes32 bytes32', [roundKey, task, slot, holder, salt, resultRoot]),
} as const;
