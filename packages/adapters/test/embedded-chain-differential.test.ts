import { createHardhatRuntimeEnvironment } from 'hardhat/hre';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodeFunctionData, getContractAddress, type Hex, keccak256, toHex } from 'viem';
import type { EmbeddedChain } from '../src/evm/embedded/index.ts';
import { CHAIN_ID, ETHER, openTestChain, probeContract, RICH, testAccount } from './embedded-chain-helpers.ts';

type Request = (call: { method: string; params?: unknown[] }) => Promise<unknown>;

let ours: EmbeddedChain;
let other: { request: Request; close(): Promise<void> };
beforeAll(async () => {
  ours = await openTestChain();
  const environment = await createHardhatRuntimeEnvironment({
    networks: {
      default: {
        type: 'edr-simulated',
        chainId: CHAIN_ID,
        hardfork: 'prague',
        blockGasLimit: 60_000_000n,
        initialBaseFeePerGas: 0n,
        minGasPrice: 0n,
        throwOnTransactionFailures: false,
        accounts: RICH.map((_, index) => ({ privateKey: toHex(index + 1, { size: 32 }), balance: 1000n * ETHER })),
      },
    },
  });
  const connection = await environment.network.connect();
  other = {
    request: ({ method, params }) => connection.provider.request({ method, params: params ?? [] }),
    close: () => connection.close(),
  };
});
afterAll(async () => {
  await ours.close();
  await other.close();
});

test('transactions have the same results, gas, logs and receipt roots as on another EVM', async () => {
  const { abi, bytecode } = probeContract();
  const [alice] = RICH;
  const address = getContractAddress({ from: alice!.address, nonce: 0n });
  const fresh = testAccount(90).address;
  const call = (functionName: string, ...args: unknown[]): { to: Hex; data: Hex } => ({
    to: address,
    data: encodeFunctionData({ abi, functionName, args }),
  });
  const steps: { to?: Hex; data?: Hex; value?: bigint; gas?: bigint; type?: 'legacy' | 'eip2930' | 'eip1559'; gasPrice?: bigint }[] = [
    { data: bytecode, value: 5n * ETHER },
    call('store', 1n, 2n, 'a note'),
    call('store', 1n, 0n, ''),
    { ...call('clear', 1n), type: 'legacy' },
    { ...call('store', 9n, 9n, 'listed'), type: 'eip2930' },
    { to: fresh, value: 3n },
    { to: fresh, value: 3n, type: 'legacy', gasPrice: 7n },
    call('pay', fresh, 11n),
    call('pay', fresh, 100n * ETHER),
    call('refuse', 4n),
    call('make'),
    { ...call('spin'), gas: 200_000n },
    { ...call('store', 3n, 3n, 'too little gas'), gas: 30_000n },
    { to: fresh, data: '0x00112233445566778899', value: 1n },
    { to: '0x0000000000000000000000000000000000000002', data: '0x1234' },
  ];
  for (const [nonce, { gas = 3_000_000n, type = 'eip1559', gasPrice = 0n, ...fields }] of steps.entries()) {
    const fees = type === 'eip1559' ? { maxFeePerGas: gasPrice, maxPriorityFeePerGas: gasPrice } : { gasPrice };
    const raw = await alice!.signTransaction({ chainId: CHAIN_ID, nonce, gas, type, ...fees, ...fields } as Parameters<
      (typeof RICH)[0]['signTransaction']
    >[0]);
    const results = [];
    for (const request of [ours.request.bind(ours), other.request] as Request[]) {
      const hash = await request({ method: 'eth_sendRawTransaction', params: [raw] });
      expect(hash).toBe(keccak256(raw));
      const receipt = (await request({ method: 'eth_getTransactionReceipt', params: [hash] })) as Record<string, unknown>;
      const block = (await request({ method: 'eth_getBlockByNumber', params: ['latest', false] })) as Record<string, unknown>;
      const logs = (receipt['logs'] as Record<string, unknown>[]).map(({ address: from, topics, data }) => ({ from, topics, data }));
      const { status, gasUsed, contractAddress, effectiveGasPrice, type: kind } = receipt;
      const { receiptsRoot, transactionsRoot, logsBloom, baseFeePerGas } = block;
      const balance = await request({ method: 'eth_getBalance', params: [alice!.address, 'latest'] });
      results.push({
        status,
        gasUsed,
        contractAddress,
        effectiveGasPrice,
        kind,
        logs,
        receiptsRoot,
        transactionsRoot,
        logsBloom,
        baseFeePerGas,
        balance,
      });
    }
    expect(results[0], `step ${nonce}`).toEqual(results[1]);
  }
  for (const method of ['eth_getCode', 'eth_getBalance']) {
    const params = [address, 'latest'];
    expect(await ours.request({ method, params })).toBe(await other.request({ method, params }));
  }
  for (const functionName of ['last', 'seen']) {
    const params = [call(functionName), 'latest'];
    expect(await ours.request({ method: 'eth_call', params })).toBe(await other.request({ method: 'eth_call', params }));
  }
});
