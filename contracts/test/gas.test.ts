/**
 * What each call costs, as a committed snapshot: a change of price shows in review. Update with `vitest run contracts -u`.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { JobDriver, nodeOf, register, rootOf, startTestChain, type TestChain } from './harness.ts';

let chain: TestChain;
beforeAll(async () => {
  chain = await startTestChain();
});
afterAll(() => chain.close());

test('the gas of every call is as recorded', async () => {
  const right = rootOf('right');
  const driver = await JobDriver.submit(chain, { rounds: 2, tasks: 8, redundancy: 3, budgetWei: 48_000n }, 'gas');
  const { owner, coordinator, job, modelId } = driver;
  const gas: Record<string, number> = {};
  const measure = async (name: string, sent: Promise<{ readonly gasUsed: number }>): Promise<void> => {
    gas[name] = (await sent).gasUsed;
  };
  const node = nodeOf('gas extra');
  await measure('registerNode', register(await chain.actor(10), node));
  await measure('heartbeat', (await chain.actor(10)).send({ call: 'heartbeat', node }));
  const terms = { specCid: right, modelId, rounds: 1, tasks: 1, redundancy: 3, coordinator: owner.account, validator: owner.account };
  await measure('submitJob', owner.send({ call: 'submitJob', budgetWei: 1n, ...terms }));
  await measure('closeNodes', driver.closeNodes(0));
  await chain.mine();
  await measure('assign', driver.assign(0));
  await measure('reassign', coordinator.send({ call: 'reassign', job, round: 0, task: 7, slot: 2, node }));
  for (let task = 0; task < 7; task++) {
    for (let slot = 0; slot < 3; slot++)
      await measure(slot === 2 ? 'commit, last of its task' : 'commit', driver.commit(0, task, slot, right));
  }
  await measure('closeCommits', driver.closeCommits(0, 7));
  for (let task = 0; task < 7; task++) for (let slot = 0; slot < 3; slot++) await measure('reveal', driver.reveal(0, task, slot, right));
  await measure('convict', driver.convict(0, 0, 0, rootOf('other')));
  const accepted = [1, 2, 3, 4, 5, 6].map((task) => [task, right] as const);
  await chain.reverting(() => measure('finalize, no task', driver.finalize(0, [])));
  await measure('finalize, 6 tasks of 3 slots', driver.finalize(0, accepted));
  await measure('withdraw', driver.seat(1, 0).operator.send({ call: 'withdraw' }));
  await measure('registerModel', owner.send({ call: 'registerModel', modelId, modelCid: right, datasetCid: right }));
  await measure('addCheckpoint', owner.send({ call: 'addCheckpoint', modelId, job, round: 0, checkpointCid: right }));
  await measure('publishModel', owner.send({ call: 'publishModel', modelId, checkpointCid: right }));
  await measure('pauseJob', owner.send({ call: 'pauseJob', job }));
  await measure('resumeJob', owner.send({ call: 'resumeJob', job }));
  await measure('cancelJob', owner.send({ call: 'cancelJob', job }));
  expect(gas).toMatchSnapshot();
});
