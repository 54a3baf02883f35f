/**
 * What batches cost their coordinator, with calldata at the floor price of EIP-7623. About the code as it is deployed.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Address, holderOf } from '@muster/protocol';
import { batchProofHashes } from '@muster/round';
import {
  BatchDriver,
  type BatchShape,
  commitTime,
  coordinator,
  firstOperator,
  raiseStage,
  type Stage,
  submitBatched,
  withFloor,
} from './batch-stage.ts';
import { accountOf } from './handles.ts';
import { ether, nodeOf, rootOf } from './harness.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await raiseStage();
});
afterAll(() => stage.chain.close());

test('a round of a thousand nodes costs its coordinator at most three million gas', async () => {
  for (const [tasks, redundancy] of [
    [500, 2],
    [334, 3],
    [200, 5],
  ] as const) {
    const large: BatchShape = { rounds: 1, tasks, redundancy, budgetWei: ether };
    const nodes = Array.from({ length: tasks * redundancy }, (_, index) => {
      const node = nodeOf(`large ${index}`);
      return { node, actor: firstOperator, holder: holderOf(node, accountOf(stage.chain, firstOperator).toLowerCase() as Address) };
    });
    const plays = nodes.map((_, index) => ({ root: rootOf(`large ${Math.floor(index / redundancy)}`), opens: true }));
    const driver = new BatchDriver(stage, await submitBatched(stage, large), 0, large, nodes, plays);
    const opened = await driver.open();
    const { gas: commitBatch } = await driver.commitBatch();
    await stage.chain.elapse(2 * commitTime);
    const settled = driver.settled();
    const { gas } = await driver.finalize(settled);
    const finalizeBatch = withFloor(stage.batches, 'finalizeBatch', driver.resultArgs(settled), gas);
    expect(opened.closeNodes + opened.assign + commitBatch + finalizeBatch).toBeLessThanOrEqual(3_000_000n);
  }
});

test('a proof in a batch of a thousand costs at most a thousand gas, with and without its hash in the transaction', async () => {
  const job = await submitBatched(stage, { rounds: 1, tasks: 1, redundancy: 1, budgetWei: 10n });
  const many = Array.from({ length: 1_000 }, (_, index) => rootOf(`proof ${index}`));
  const byRoot = [job, 0n, batchProofHashes(many, false).root, 1_000, rootOf('content')];
  const withLeaves = [job, 0n, batchProofHashes(many, true).packedHashes, rootOf('content')];
  for (const [functionName, args, most] of [
    ['recordTrainProofs', byRoot, 200n],
    ['recordTrainProofsWithLeaves', withLeaves, 1_000n],
  ] as const) {
    const { gas } = await stage.log.call(coordinator, functionName, args);
    expect(withFloor(stage.log, functionName, args, gas) / 1_000n).toBeLessThanOrEqual(most);
  }
});
