/** Re-executes a chain from its genesis accounts with ethereumjs' own block processing: roots, receipts, bloom and gas are checked there. */
import { createBlockFromRLP } from '@ethereumjs/block';
import { createVM, runBlock } from '@ethereumjs/vm';
import { bytesToHex, createAccount, createAddressFromString, hexToBytes } from '@ethereumjs/util';
import { MerkleStateManager } from '@ethereumjs/statemanager';
import type { EmbeddedChain } from '../src/evm/embedded/index.ts';
import { chainRules } from '../src/evm/embedded/machine.ts';

/** Replays every block; throws where one does not follow from its parent. Returns the number of blocks after genesis. */
export async function replay(
  chain: EmbeddedChain,
  genesis: readonly { readonly address: string; readonly balanceWei: bigint }[],
): Promise<number> {
  const common = chainRules(chain.chainId);
  const stateManager = new MerkleStateManager({ common });
  for (const { address, balanceWei } of genesis) {
    await stateManager.putAccount(createAddressFromString(address), createAccount({ balance: balanceWei }));
  }
  const hashes: Uint8Array[] = [];
  const blockchain = {
    getBlock: (number: number) => Promise.resolve({ hash: () => hashes[number]! }),
    putBlock: () => Promise.resolve(),
    shallowCopy: () => blockchain,
  };
  const vm = await createVM({ common, stateManager, blockchain });
  const head = Number(await chain.request({ method: 'eth_blockNumber' }));
  for (let number = 0; number <= head; number++) {
    const raw = (await chain.request({ method: 'debug_getRawBlock', params: [`0x${number.toString(16)}`] })) as `0x${string}`;
    const block = createBlockFromRLP(hexToBytes(raw), { common, skipConsensusFormatValidation: true });
    if (number === 0) {
      if (bytesToHex(await stateManager.getStateRoot()) !== bytesToHex(block.header.stateRoot)) throw new Error('genesis state differs');
    } else {
      if (bytesToHex(block.header.parentHash) !== bytesToHex(hashes[number - 1]!)) throw new Error(`block ${number} has another parent`);
      // The base fee stays at zero by design, so header rules about it are not asked; everything executed is.
      await runBlock(vm, { block, skipHeaderValidation: true });
    }
    hashes.push(block.hash());
  }
  return head;
}
