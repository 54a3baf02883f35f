/**
 * The EVM on the chain's state: one machine that builds blocks, and throw-away machines for calls.
 *
 * Rules: Prague, base fee 0. Execution, tries and encodings are ethereumjs'; this file sets them up. Blob and set-code transactions are not
 * taken by this chain.
 */
import { createBlock, type Block, type HeaderData } from '@ethereumjs/block';
import { createCustomCommon, Hardfork, Mainnet, type Common } from '@ethereumjs/common';
import type { EVMMockBlockchainInterface, ExecResult } from '@ethereumjs/evm';
import { MerklePatriciaTrie } from '@ethereumjs/mpt';
import { RLP } from '@ethereumjs/rlp';
import { Caches, MerkleStateManager } from '@ethereumjs/statemanager';
import { createTx, type TypedTransaction } from '@ethereumjs/tx';
import { Address, createAccountFromRLP, hexToBytes, KECCAK256_RLP, setLengthLeft, ValueEncoding, type Account } from '@ethereumjs/util';
import { Bloom, createVM, encodeReceipt, runTx, type RunTxResult, type VM } from '@ethereumjs/vm';
import type { CallRequest } from './params.ts';
import { CODE_PREFIX, TrieNodes, type ReadNode } from './trie-nodes.ts';

export const BLOCK_GAS_LIMIT = 60_000_000n;

/** SHA-256 of nothing: the requests root of a block without requests (EIP-7685). */
const NO_REQUESTS = hexToBytes('0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');

export function chainRules(chainId: number): Common {
  return createCustomCommon({ chainId, name: 'muster' }, Mainnet, { hardfork: Hardfork.Prague });
}

/** Hash of a block by number, for BLOCKHASH; null where there is none. */
export type BlockHash = (number: number) => Uint8Array | null;

export interface Machine {
  readonly vm: VM;
  readonly nodes: TrieNodes;
  readonly state: MerkleStateManager;
}

/** A machine on the state `root` (null: the empty state). Its writes stay in `nodes` until somebody takes them. */
export async function createMachine(common: Common, read: ReadNode, root: Uint8Array | null, blockHash: BlockHash): Promise<Machine> {
  const nodes = new TrieNodes(read);
  const trie = new MerklePatriciaTrie({ db: nodes, useKeyHashing: true, valueEncoding: ValueEncoding.Bytes, common });
  const state = new MerkleStateManager({ common, trie, caches: new Caches() });
  if (root !== null) await state.setStateRoot(root);
  const blockchain: EVMMockBlockchainInterface = {
    getBlock: (number) => {
      const hash = blockHash(number) ?? new Uint8Array(32);
      return Promise.resolve({ hash: () => hash });
    },
    putBlock: () => Promise.resolve(),
    shallowCopy: () => blockchain,
  };
  const vm = await createVM({ common, stateManager: state, blockchain });
  return { vm, nodes, state };
}

function trieAt(common: Common, read: ReadNode, root: Uint8Array): MerklePatriciaTrie {
  return new MerklePatriciaTrie({ db: new TrieNodes(read), useKeyHashing: true, valueEncoding: ValueEncoding.Bytes, common, root });
}

/** The account in the state `root`, or null. */
export async function readAccount(common: Common, read: ReadNode, root: Uint8Array, address: Uint8Array): Promise<Account | null> {
  const rlp = await trieAt(common, read, root).get(address);
  return rlp === null ? null : createAccountFromRLP(rlp);
}

export async function readCode(common: Common, read: ReadNode, root: Uint8Array, address: Uint8Array): Promise<Uint8Array> {
  const account = await readAccount(common, read, root, address);
  if (account === null || !account.isContract()) return new Uint8Array();
  return read(CODE_PREFIX + Buffer.from(account.codeHash).toString('hex')) ?? new Uint8Array();
}

/** The 32-byte word at the 32-byte key `slot`. */
export async function readStorage(
  common: Common,
  read: ReadNode,
  root: Uint8Array,
  address: Uint8Array,
  slot: Uint8Array,
): Promise<Uint8Array> {
  const account = await readAccount(common, read, root, address);
  if (account === null) return new Uint8Array(32);
  const value = await trieAt(common, read, account.storageRoot).get(slot);
  return value === null ? new Uint8Array(32) : setLengthLeft(RLP.decode(value) as Uint8Array, 32);
}

/** What a header says before its transactions are run. */
export function openHeader(parent: Block | null, timestamp: number, prevRandao: Uint8Array): HeaderData {
  return {
    ...(parent === null ? {} : { parentHash: parent.hash() }),
    number: parent === null ? 0n : parent.header.number + 1n,
    timestamp: BigInt(timestamp),
    mixHash: prevRandao,
    gasLimit: BLOCK_GAS_LIMIT,
    baseFeePerGas: 0n,
    withdrawalsRoot: KECCAK256_RLP,
    blobGasUsed: 0n,
    excessBlobGas: 0n,
    parentBeaconBlockRoot: new Uint8Array(32),
    requestsHash: NO_REQUESTS,
    extraData: Buffer.from('muster'),
  };
}

export const blockOptions = (common: Common) => ({ common, skipConsensusFormatValidation: true }) as const;

/** The environment that transactions of a block see. */
export const blockEnvironment = (header: HeaderData, common: Common): Block =>
  createBlock({ header, withdrawals: [] }, blockOptions(common));

export interface Executed {
  readonly tx: TypedTransaction;
  readonly result: RunTxResult;
}

/** The finished block over executed transactions, with its roots and bloom. */
export async function sealBlock(header: HeaderData, executed: readonly Executed[], stateRoot: Uint8Array, common: Common): Promise<Block> {
  const transactionsTrie = new MerklePatriciaTrie({ common });
  const receiptTrie = new MerklePatriciaTrie({ common });
  const bloom = new Bloom(undefined, common);
  let gasUsed = 0n;
  for (const [position, { tx, result }] of executed.entries()) {
    const key = RLP.encode(position);
    await transactionsTrie.put(key, tx.serialize());
    await receiptTrie.put(key, encodeReceipt(result.receipt, tx.type));
    bloom.or(result.bloom);
    gasUsed += result.totalGasSpent;
  }
  const sealed: HeaderData = {
    ...header,
    stateRoot,
    transactionsTrie: transactionsTrie.root(),
    receiptTrie: receiptTrie.root(),
    logsBloom: bloom.bitvector,
    gasUsed,
  };
  return createBlock({ header: sealed, transactions: executed.map(({ tx }) => tx), withdrawals: [] }, blockOptions(common));
}

/** Runs `request` as a message with `gas`, free of charge; the machine must be thrown away afterwards. */
export async function runMessage(machine: Machine, block: Block, request: CallRequest, gas: bigint): Promise<ExecResult> {
  const caller = new Address(request.from);
  const { journal } = machine.vm.evm;
  journal.addAlwaysWarmAddress(hexKey(request.from));
  if (request.to !== null) journal.addAlwaysWarmAddress(hexKey(request.to));
  const result = await machine.vm.evm.runCall({
    block,
    caller,
    origin: caller,
    gasPrice: request.gasPrice,
    gasLimit: gas,
    value: request.value,
    data: request.data,
    ...(request.to === null ? {} : { to: new Address(request.to) }),
  });
  return result.execResult;
}

/** Runs `request` as a transaction with the gas limit `gas`, to learn its cost; the machine must be thrown away afterwards. */
export async function runTrial(machine: Machine, block: Block, request: CallRequest, gas: bigint): Promise<RunTxResult> {
  const sender = new Address(request.from);
  const { common } = machine.vm;
  const account = await machine.state.getAccount(sender);
  const tx = createTx(
    {
      type: 2,
      chainId: common.chainId(),
      nonce: account?.nonce ?? 0n,
      gasLimit: gas,
      maxFeePerGas: request.gasPrice,
      maxPriorityFeePerGas: request.gasPrice,
      ...(request.to === null ? {} : { to: new Address(request.to) }),
      value: request.value,
      data: request.data,
    },
    { common, freeze: false },
  );
  tx.getSenderAddress = () => sender;
  return runTx(machine.vm, { tx, block, skipHardForkValidation: true });
}

const hexKey = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** `runTx` of a block's next transaction after `gasUsed` gas in that block. */
export const runNext = (machine: Machine, block: Block, tx: TypedTransaction, gasUsed: bigint): Promise<RunTxResult> =>
  runTx(machine.vm, { tx, block, blockGasUsed: gasUsed, skipHardForkValidation: true });
