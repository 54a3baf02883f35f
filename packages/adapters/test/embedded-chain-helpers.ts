/** What the embedded chain's tests share: a tiny contract, accounts with ether, a hand-moved clock. */
import { createRequire } from 'node:module';
import { createPublicClient, createWalletClient, custom, defineChain, type Abi, type Hex } from 'viem';
import { privateKeyToAccount, type PrivateKeyAccount } from 'viem/accounts';
import { openEmbeddedChain, type EmbeddedChain, type EmbeddedChainOptions } from '../src/evm/embedded/index.ts';

export const CHAIN_ID = 24_242;

export const testAccount = (index: number): PrivateKeyAccount => privateKeyToAccount(`0x${(index + 1).toString(16).padStart(64, '0')}`);

export const ETHER = 10n ** 18n;
export const RICH = [0, 1, 2, 3].map(testAccount);

export const viemChain = (url = 'http://127.0.0.1:1') =>
  defineChain({
    id: CHAIN_ID,
    name: 'test',
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [url] } },
  });

export const movableClock = (startMs = 1_700_000_000_000) => {
  let time = startMs;
  return { now: () => time, advance: (ms: number) => (time += ms) };
};

export const openTestChain = (options: Partial<EmbeddedChainOptions> = {}): Promise<EmbeddedChain> =>
  openEmbeddedChain({
    path: ':memory:',
    chainId: CHAIN_ID,
    genesis: { accounts: RICH.map(({ address }) => ({ address, balanceWei: 1000n * ETHER })) },
    clock: { now: () => Date.now() },
    followMs: null,
    ...options,
  });

export const publicClient = (chain: EmbeddedChain) =>
  createPublicClient({ chain: viemChain(), transport: custom(chain, { retryCount: 0 }), pollingInterval: 20, cacheTime: 0 });
export const walletClient = (chain: EmbeddedChain, account: PrivateKeyAccount) =>
  createWalletClient({ chain: viemChain(), transport: custom(chain, { retryCount: 0 }), account });

const SOURCE = `
// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;
contract Probe {
  error Refused(uint256 asked, address by);
  event Stored(address indexed by, uint256 indexed key, uint256 value, string note);
  event Plain(uint256 value) anonymous;
  mapping(uint256 => uint256) public values;
  uint256 public last;
  bytes32 public seen;
  constructor() payable {}
  function store(uint256 key, uint256 value, string calldata note) external {
    values[key] = value; last = value; emit Stored(msg.sender, key, value, note);
  }
  function refuse(uint256 asked) external view { revert Refused(asked, msg.sender); }
  function refuseWithReason() external pure { require(false, "not today"); }
  function hashOf(uint256 number) external view returns (bytes32) { return blockhash(number); }
  function rememberHash(uint256 number) external { seen = blockhash(number); }
  function surroundings() external view returns (uint256, uint256, uint256, uint256, uint256) {
    return (block.number, block.timestamp, block.prevrandao, block.basefee, block.chainid);
  }
  function pay(address payable to, uint256 amount) external { to.transfer(amount); }
  function spin() external view { while (true) { last; } }
  function clear(uint256 key) external { delete values[key]; }
  function make() external returns (address) { return address(new Child()); }
}
contract Child { uint256 public x = 7; function end(address payable to) external { selfdestruct(to); } }
`;

interface Compiled {
  readonly abi: Abi;
  readonly bytecode: Hex;
}

let compiled: Compiled | null = null;

/** The probe contract, compiled by npm's solc. */
export function probeContract(): Compiled {
  if (compiled !== null) return compiled;
  const require = createRequire(import.meta.url);
  const solc = require('solc') as { compile(input: string): string };
  const input = {
    language: 'Solidity',
    sources: { 'Probe.sol': { content: SOURCE } },
    settings: { evmVersion: 'prague', optimizer: { enabled: true }, outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object'] } } },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input))) as {
    contracts?: Record<string, Record<string, { abi: Abi; evm: { bytecode: { object: string } } }>>;
    errors?: { formattedMessage: string; severity: string }[];
  };
  const contract = output.contracts?.['Probe.sol']?.['Probe'];
  if (contract === undefined) throw new Error(output.errors?.map((error) => error.formattedMessage).join('\n') ?? 'solc gave nothing');
  compiled = { abi: contract.abi, bytecode: `0x${contract.evm.bytecode.object}` };
  return compiled;
}
