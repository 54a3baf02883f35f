/**
 * A node registry and a job manager on a test chain whose neighbours are actors, so that a test can knock at every door with any value.
 *
 * Money goes where it really goes: the registry credits in the chain's job manager and deposits in its insurance fund.
 */
import { type Address } from '@muster/protocol';
import { type Abi, getContractAddress, type Hex } from 'viem';
import { catalogue } from '../../packages/adapters/src/evm/contracts/catalogue.ts';
import { accountOf, type Handle, handleAt } from './handles.ts';
import { create, type TestChain } from './harness.ts';

/** Actors that stand for the contracts around. Actor 0 owns the registry. */
export const doors = { settlement: 6, batched: 7, trainRequest: 8, emissionPool: 9 } as const;

export interface LoneSettings {
  readonly tiers: { readonly basic: bigint; readonly gpu: bigint; readonly tee: bigint; readonly priority: bigint };
  readonly times: { readonly heartbeat: number; readonly challenge: number; readonly unbonding: number };
  readonly shares: { readonly challenger: number; readonly insurance: number; readonly burn: number };
}

export const loneSettings: LoneSettings = {
  tiers: { basic: 1_003n, gpu: 5_007n, tee: 20_011n, priority: 50_021n },
  times: { heartbeat: 100, challenge: 1_000, unbonding: 2_500 },
  shares: { challenger: 4_000, insurance: 4_000, burn: 2_000 },
};

export const burnAddress = '0x000000000000000000000000000000000000dEaD' as Address;

/** A contract of the catalogue, created anew as actor 0; its bindings are used, so nothing is compiled. */
async function deploy(
  chain: TestChain,
  contract: { readonly abi: Abi; readonly bytecode: Hex },
  args: readonly unknown[],
): Promise<Handle> {
  return handleAt(chain, await create(chain, 0, contract, args), contract.abi);
}

/** The chain's own contract `name`. */
export const deployed = (chain: TestChain, name: keyof typeof catalogue): Handle =>
  handleAt(chain, chain.info.contracts[name], catalogue[name].abi);

/** The registry and the reputation registry that it writes to. */
export async function loneRegistry(
  chain: TestChain,
  settings: LoneSettings = loneSettings,
): Promise<{ readonly registry: Handle; readonly reputation: Handle }> {
  const { forwarder, jobManager, insuranceFund } = chain.info.contracts;
  const nonce = BigInt((await chain.request('eth_getTransactionCount', [accountOf(chain, 0), 'latest'])) as Hex);
  const expected = getContractAddress({ from: accountOf(chain, 0), nonce: nonce + 1n });
  const reputation = await deploy(chain, catalogue.reputationRegistry, [[expected], expected]);
  const registry = await deploy(chain, catalogue.nodeCertRegistry, [
    forwarder,
    accountOf(chain, 0),
    {
      proofOfCompute: accountOf(chain, doors.settlement),
      batchedProofOfCompute: accountOf(chain, doors.batched),
      credits: jobManager,
      insuranceFund,
      reputation: reputation.address,
    },
    { teeVerifier: `0x${'0'.repeat(40)}`, ...settings },
  ]);
  return { registry, reputation };
}

/** A job manager. Only jobs settled in batches can be assigned, because the contract for the others is an account without code. */
export function loneManager(chain: TestChain): Promise<Handle> {
  const { forwarder, nodeCertRegistry } = chain.info.contracts;
  return deploy(chain, catalogue.jobManager, [
    forwarder,
    {
      registry: nodeCertRegistry,
      proofOfCompute: accountOf(chain, doors.settlement),
      batchedProofOfCompute: accountOf(chain, doors.batched),
      trainRequest: accountOf(chain, doors.trainRequest),
      emissionPool: accountOf(chain, doors.emissionPool),
    },
  ]);
}

/** Time of the newest block, seconds. */
export async function timeOf(chain: TestChain): Promise<number> {
  const { timestamp } = (await chain.request('eth_getBlockByNumber', ['latest', false])) as { timestamp: Hex };
  return Number(timestamp);
}

/** Makes the next block's time exactly `time`. */
export async function nextTime(chain: TestChain, time: number): Promise<void> {
  await chain.request('evm_setNextBlockTimestamp', [time]);
}
