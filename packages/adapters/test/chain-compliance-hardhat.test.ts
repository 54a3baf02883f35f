import { createHardhatRuntimeEnvironment } from 'hardhat/hre';
import { custom } from 'viem';
import { chainCompliance } from '../../ports/compliance/chain.ts';
import { ACCOUNTS, COMPLIANCE_CHAIN_ID, ETHER, keyOf, underTest } from './chain-compliance-setup.ts';

chainCompliance('Hardhat in process', async () => {
  const accounts = Array.from({ length: ACCOUNTS }, (_, index) => ({ privateKey: keyOf(index), balance: 1000n * ETHER }));
  const environment = await createHardhatRuntimeEnvironment({
    networks: { default: { type: 'edr-simulated', chainId: COMPLIANCE_CHAIN_ID, accounts } },
  });
  const { provider, close } = await environment.network.connect().then((connection) => ({
    provider: connection.provider,
    close: () => connection.close(),
  }));
  const request = ({ method, params }: { method: string; params?: unknown[] }): Promise<unknown> =>
    provider.request({ method, params: params ?? [] });
  const nextBlock = async (): Promise<void> => {
    await request({ method: 'evm_mine' });
  };
  return underTest({ transport: custom({ request }) }, { nextBlock, close });
});
