/**
 * Random histories over the whole economy: many actors make many calls, mostly sensible ones, and after each of them the books must
 * balance; in the end everything goes back to its owners. See support/: actions, invariants and the exit are lists.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestChain, type TestChain } from './harness.ts';
import { Economy } from './support/economy.ts';
import { exitEverything } from './support/exit.ts';
import { playHistories } from './support/history.ts';
import { economyInvariants } from './support/invariants.ts';
import { armHostiles, moneyActions, settleIn } from './support/money-actions.ts';
import { World } from './support/world.ts';
import { workActions } from './support/work-actions.ts';

let chain: TestChain;
let economy: Economy;
beforeAll(async () => {
  chain = await startTestChain();
  economy = await Economy.open(chain);
});
afterAll(() => chain.close());

const HISTORIES = 5;
const STEPS = 250;

test('money is conserved, only accepted work is paid and nothing is stuck, whatever anybody calls', async () => {
  const accepted = await playHistories<World>({
    actions: [...workActions, ...moneyActions],
    invariants: economyInvariants,
    inWorld: (body) =>
      chain.reverting(async () => {
        economy.events.length = 0;
        const world = new World(economy, await World.people(economy));
        await armHostiles(world);
        await settleIn(world);
        await body(world);
      }),
    exit: exitEverything,
    histories: HISTORIES,
    steps: STEPS,
  });
  const often = [
    'progress',
    'aftermath',
    'submitJob',
    'creditNodes',
    'withdraw',
    'leave',
    'startUnbonding',
    'time passes',
    'deposit',
    'topUp',
  ];
  for (const action of often) expect([action, accepted.get(action) ?? 0]).not.toEqual([action, 0]);
});
