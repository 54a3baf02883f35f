import { createTestClient, http } from 'viem';
import { chainCompliance } from '../../ports/compliance/chain.ts';
import { startAnvil } from './anvil.ts';
import { ACCOUNTS, addressOf, COMPLIANCE_CHAIN_ID, ETHER, underTest } from './chain-compliance-setup.ts';

chainCompliance('anvil', async () => {
  const anvil = await startAnvil(COMPLIANCE_CHAIN_ID);
  const client = createTestClient({ mode: 'anvil', transport: http(anvil.url) });
  for (let index = 0; index < ACCOUNTS; index++) await anvil.fund(addressOf(index), 1000n * ETHER);
  return underTest({ rpcUrl: anvil.url }, { nextBlock: () => client.mine({ blocks: 1 }), close: () => anvil.close() });
});
