import { afterEach, describe, expect, test } from 'vitest';
import { type BaseError, ContractFunctionRevertedError, getContract, keccak256, parseAbi } from 'viem';
import type { EmbeddedChain } from '../src/evm/embedded/index.ts';
import {
  ETHER,
  movableClock,
  openTestChain,
  probeContract,
  publicClient,
  RICH,
  testAccount,
  walletClient,
} from './embedded-chain-helpers.ts';

const open: EmbeddedChain[] = [];
afterEach(async () => {
  for (const chain of open.splice(0)) await chain.close();
});
async function started(options: Parameters<typeof openTestChain>[0] = {}) {
  const chain = await openTestChain(options);
  open.push(chain);
  const [alice, bob] = [RICH[0]!, RICH[1]!];
  return { chain, alice, bob, reader: publicClient(chain), wallet: walletClient(chain, alice) };
}

describe('embedded chain through viem', () => {
  test('deploys a contract, stores values, reads them back and finds the events', async () => {
    const { wallet, reader, alice } = await started();
    const { abi, bytecode } = probeContract();
    const deployed = await wallet.deployContract({ abi, bytecode });
    const receipt = await reader.waitForTransactionReceipt({ hash: deployed });
    expect(receipt.status).toBe('success');
    const address = receipt.contractAddress!;
    const probe = getContract({ abi, address, client: { public: reader, wallet } });
    const hash = await wallet.writeContract({ abi, address, functionName: 'store', args: [7n, 99n, 'first'] });
    const stored = await reader.waitForTransactionReceipt({ hash });
    expect(stored.logs).toHaveLength(1);
    expect(await reader.readContract({ abi, address, functionName: 'values', args: [7n] })).toBe(99n);
    expect(probe.address).toBe(address);
    const events = await reader.getContractEvents({ abi, address, fromBlock: 0n, eventName: 'Stored' });
    expect(events.map((event) => (event as unknown as { args: unknown }).args)).toEqual([
      { by: alice.address, key: 7n, value: 99n, note: 'first' },
    ]);
    expect(keccak256((await reader.getCode({ address }))!)).toMatch(/^0x/);
    expect(await reader.getTransactionCount({ address: alice.address })).toBe(2);
  });

  test('a revert carries the custom error, in a call, in an estimate and as a reason', async () => {
    const { wallet, reader, alice } = await started();
    const { abi, bytecode } = probeContract();
    const { contractAddress } = await reader.waitForTransactionReceipt({ hash: await wallet.deployContract({ abi, bytecode }) });
    const address = contractAddress!;
    const error = await reader
      .simulateContract({ abi, address, functionName: 'refuse', args: [5n], account: alice })
      .catch((e: unknown) => e);
    const revert = (error as BaseError).walk((e) => e instanceof ContractFunctionRevertedError) as ContractFunctionRevertedError;
    expect(revert.data?.errorName).toBe('Refused');
    expect(revert.data?.args).toEqual([5n, alice.address]);
    await expect(reader.estimateContractGas({ abi, address, functionName: 'refuse', args: [5n], account: alice })).rejects.toThrow(
      'Refused',
    );
    await expect(reader.readContract({ abi, address, functionName: 'refuseWithReason' })).rejects.toThrow('not today');
  });

  test('an account without ether can transact', async () => {
    const { chain, reader, wallet } = await started();
    const { abi, bytecode } = probeContract();
    const { contractAddress } = await reader.waitForTransactionReceipt({ hash: await wallet.deployContract({ abi, bytecode }) });
    const poor = testAccount(77);
    const hash = await walletClient(chain, poor).writeContract({
      abi,
      address: contractAddress!,
      functionName: 'store',
      args: [1n, 2n, ''],
    });
    expect((await reader.waitForTransactionReceipt({ hash })).status).toBe('success');
    expect(await reader.getBalance({ address: poor.address })).toBe(0n);
  });

  test('legacy, access-list and fee-market transactions all move ether', async () => {
    const { wallet, reader, bob } = await started();
    const before = await reader.getBalance({ address: bob.address });
    for (const type of ['legacy', 'eip2930', 'eip1559'] as const) {
      const hash = await wallet.sendTransaction({ to: bob.address, value: ETHER, type });
      const transaction = await reader.getTransaction({ hash });
      expect(transaction.type).toBe(type);
      expect(transaction.chainId).toBe(24_242);
    }
    expect((await reader.getBalance({ address: bob.address })) - before).toBe(3n * ETHER);
  });

  test('BLOCKHASH gives the real hash of the last 256 blocks and zero beyond', async () => {
    const { chain, wallet, reader, bob } = await started();
    const { abi, bytecode } = probeContract();
    const { contractAddress } = await reader.waitForTransactionReceipt({ hash: await wallet.deployContract({ abi, bytecode }) });
    const address = contractAddress!;
    const request = await wallet.prepareTransactionRequest({ to: bob.address, value: 1n, gas: 21_000n });
    for (let i = 0; i < 260; i++) {
      const raw = await wallet.signTransaction({ ...request, nonce: 1 + i });
      await chain.request({ method: 'eth_sendRawTransaction', params: [raw] });
    }
    const head = Number(await reader.getBlockNumber());
    expect(head).toBe(261);
    for (const back of [1, 2, 200, 256]) {
      const block = await reader.getBlock({ blockNumber: BigInt(head - back) });
      expect(await reader.readContract({ abi, address, functionName: 'hashOf', args: [BigInt(head - back)] })).toBe(block.hash);
    }
    for (const number of [head, head + 1, head - 257]) {
      expect(await reader.readContract({ abi, address, functionName: 'hashOf', args: [BigInt(number)] })).toBe(`0x${'0'.repeat(64)}`);
    }
    const parent = await reader.getBlock();
    await reader.waitForTransactionReceipt({
      hash: await wallet.writeContract({ abi, address, functionName: 'rememberHash', args: [BigInt(head)] }),
    });
    expect(await reader.readContract({ abi, address, functionName: 'seen' })).toBe(parent.hash);
  });

  test('block time follows the clock and never goes back', async () => {
    const clock = movableClock();
    const { wallet, reader, bob } = await started({ clock });
    const times: bigint[] = [];
    for (const step of [0, 5000, -60_000, 70_000]) {
      clock.advance(step);
      await wallet.sendTransaction({ to: bob.address, value: 1n });
      times.push((await reader.getBlock()).timestamp);
    }
    expect(times).toEqual([1_700_000_000n, 1_700_000_005n, 1_700_000_005n, 1_700_000_015n]);
  });

  test('PREVRANDAO is the block’s mix hash and differs from block to block', async () => {
    const { wallet, reader, bob } = await started();
    await wallet.sendTransaction({ to: bob.address, value: 1n });
    const { abi, bytecode } = probeContract();
    const { contractAddress } = await reader.waitForTransactionReceipt({ hash: await wallet.deployContract({ abi, bytecode }) });
    const [number, , random, baseFee, chainId] = (await reader.readContract({
      abi,
      address: contractAddress!,
      functionName: 'surroundings',
    })) as bigint[];
    const block = await reader.getBlock();
    expect([number, random, baseFee, chainId]).toEqual([block.number, BigInt(block.mixHash), 0n, 24_242n]);
    expect((await reader.getBlock({ blockNumber: 1n })).mixHash).not.toBe(block.mixHash);
  });

  test('historical state answers at its own block', async () => {
    const { wallet, reader, bob } = await started();
    const { abi, bytecode } = probeContract();
    const { contractAddress } = await reader.waitForTransactionReceipt({ hash: await wallet.deployContract({ abi, bytecode }) });
    const address = contractAddress!;
    for (const value of [1n, 2n, 3n]) await wallet.writeContract({ abi, address, functionName: 'store', args: [0n, value, ''] });
    for (const value of [1n, 2n, 3n]) {
      expect(await reader.readContract({ abi, address, functionName: 'last', blockNumber: 1n + value })).toBe(value);
      expect(BigInt((await reader.getStorageAt({ address, slot: '0x1', blockNumber: 1n + value }))!)).toBe(value);
    }
    expect(await reader.getCode({ address, blockNumber: 0n })).toBeUndefined();
    expect(await reader.getBalance({ address: bob.address, blockNumber: 0n })).toBe(1000n * ETHER);
  });

  test('an endless loop ends at the gas limit with an error and the chain goes on', async () => {
    const { wallet, reader, bob } = await started();
    const { abi, bytecode } = probeContract();
    const { contractAddress } = await reader.waitForTransactionReceipt({ hash: await wallet.deployContract({ abi, bytecode }) });
    const data = '0xf0acd7d5' as const;
    await expect(reader.call({ to: contractAddress!, data, gas: 300_000n })).rejects.toThrow();
    await expect(
      reader.readContract({
        abi: parseAbi(['function spin() view']),
        address: contractAddress!,
        functionName: 'spin',
        gas: 300_000n,
      } as never),
    ).rejects.toThrow('out of gas');
    expect(await wallet.sendTransaction({ to: bob.address, value: 1n })).toMatch(/^0x/);
  });
});
