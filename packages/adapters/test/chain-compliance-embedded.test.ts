import { custom } from 'viem';
import { chainCompliance } from '../../ports/compliance/chain.ts';
import { openEmbeddedChain, serveChain, type EmbeddedChain } from '../src/evm/embedded/index.ts';
import { ACCOUNTS, addressOf, COMPLIANCE_CHAIN_ID, ETHER, underTest } from './chain-compliance-setup.ts';

const open = (): Promise<EmbeddedChain> =>
  openEmbeddedChain({
    path: ':memory:',
    chainId: COMPLIANCE_CHAIN_ID,
    genesis: { accounts: Array.from({ length: ACCOUNTS }, (_, index) => ({ address: addressOf(index), balanceWei: 1000n * ETHER })) },
    clock: { now: () => Date.now() },
    followMs: 10,
  });

/** The chain makes the block after by itself. */
async function follower(chain: EmbeddedChain): Promise<void> {
  const isEmpty = async (): Promise<boolean> => {
    const block = (await chain.request({ method: 'eth_getBlockByNumber', params: ['latest', false] })) as { transactions: string[] };
    return block.transactions.length === 0;
  };
  while (!(await isEmpty())) await new Promise((resolve) => setImmediate(resolve));
}

chainCompliance('the embedded chain in process', async () => {
  const chain = await open();
  return underTest({ transport: custom(chain) }, { nextBlock: () => follower(chain), close: () => chain.close() });
});

chainCompliance('the embedded chain over HTTP', async () => {
  const chain = await open();
  const server = await serveChain(chain, { host: '127.0.0.1', port: 0 });
  const close = async (): Promise<void> => {
    await server.close();
    await chain.close();
  };
  return underTest({ rpcUrl: server.url }, { nextBlock: () => follower(chain), close });
});
