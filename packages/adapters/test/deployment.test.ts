/** Contracts at a network's addresses are this repository's, or an audit says which is not. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ChainInfo } from '@muster/ports';
import type { Address } from '@muster/protocol';
import {
  addressOfKey,
  deployContracts,
  type EmbeddedChain,
  inProcessTransport,
  openEmbeddedChain,
  planContracts,
  systemClock,
  trainRequestAddress,
  trainRequestGenesis,
  verifyDeployment,
} from '../src/index.ts';

const privateKey = `0x${'11'.repeat(32)}` as const;

describe('verifyDeployment', () => {
  let chain: EmbeddedChain;
  let info: ChainInfo;

  beforeEach(async () => {
    const accounts = [{ address: addressOfKey(privateKey), balanceWei: 10n ** 20n }];
    chain = await openEmbeddedChain({ path: ':memory:', chainId: 4242, genesis: { accounts }, clock: systemClock, followMs: null });
    info = await deployContracts({ transport: inProcessTransport(chain), privateKey });
  });
  afterEach(async () => await chain.close());

  const verify = (contracts: Partial<ChainInfo['contracts']>): Promise<void> =>
    verifyDeployment({ transport: inProcessTransport(chain) }, { ...info, contracts: { ...info.contracts, ...contracts } });

  it('takes contracts that deployContracts made', async () => {
    await expect(verify({})).resolves.toBeUndefined();
  });

  it('names an address at which no contract was created', async () => {
    const nowhere = `0x${'77'.repeat(20)}` as Address;
    await expect(verify({ dataConsent: nowhere })).rejects.toMatchObject({
      code: 'AUDIT_FAILED',
      details: { object: `contract ${nowhere}` },
    });
  });

  it('names a contract with other code', async () => {
    const { faultVerifier, modelRegistry } = info.contracts;
    await expect(verify({ faultVerifier: modelRegistry, modelRegistry: faultVerifier })).rejects.toMatchObject({ code: 'AUDIT_FAILED' });
  });

  it('takes TRAIN_REQUEST from the genesis, and names one of other code or that works with others', async () => {
    const deployer = addressOfKey(privateKey);
    const existing = { trainRequest: trainRequestAddress };
    const { jobManager, forwarder } = planContracts(deployer, 0, existing);
    const people = { owner: deployer, coordinator: deployer, validator: deployer };
    const right = await trainRequestGenesis({ jobManager, forwarder, ...people });
    const stranger = `0x${'66'.repeat(20)}` as Address;
    for (const [account, problem] of [
      [right, null],
      [await trainRequestGenesis({ jobManager: stranger, forwarder, ...people }), 'jobManager instead of'],
      [await trainRequestGenesis({ jobManager, forwarder: stranger, ...people }), 'forwarder instead of'],
      [{ ...right, code: `${right.code ?? '0x'}00` }, 'bytes of code'],
    ] as const) {
      const accounts = [{ address: deployer, balanceWei: 10n ** 20n }, account];
      const other = await openEmbeddedChain({ path: ':memory:', chainId: 4245, genesis: { accounts }, clock: systemClock, followMs: null });
      const transport = inProcessTransport(other);
      const found = await deployContracts({ transport, privateKey, existing })
        .then(
          (made) => verifyDeployment({ transport }, made).then(() => null),
          (error: unknown) => error,
        )
        .catch((error: unknown) => error);
      if (problem === null) expect(found).toBeNull();
      else expect(found).toMatchObject({ details: { problem: expect.stringContaining(problem) } });
      await other.close();
    }
  });

  it('names a contract that works with others than the network’s', async () => {
    const second = await deployContracts({ transport: inProcessTransport(chain), privateKey });
    await expect(verify({ faultVerifier: second.contracts.faultVerifier })).rejects.toMatchObject({
      code: 'AUDIT_FAILED',
      details: { problem: expect.stringContaining('instead of') },
    });
  });
});
