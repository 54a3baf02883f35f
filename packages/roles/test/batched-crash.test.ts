/** Coordinator and trainers of a batched job are killed again and again; nothing that was answered is lost, and nobody is paid twice. */
import { expect, test } from 'vitest';
import { batchMoney } from '../src/index.ts';
import type { Death } from './support/life.ts';
import { tinyOrder } from './support/order.ts';
import { batchedPolicy, inWorld, type World } from './support/world.ts';

const small = { rounds: 2, tasks: 2 } as const;

interface Lived {
  readonly model: string | null;
  readonly lives: number;
}

/** Runs a batched job whose coordinator dies `death` in every life, and what `meanwhile` does to the trainers. */
async function modelOf(death: Death | null, meanwhile: (world: World) => void = () => undefined): Promise<Lived> {
  return await inWorld({ trainers: 4 }, async (world) => {
    const job = await world.submit(await tinyOrder(small), 10n ** 15n, batchedPolicy);
    meanwhile(world);
    if (death !== null) await world.startCoordinator(death);
    await world.until(async () => {
      if (world.coordinatorLife.dead) await world.startCoordinator(death);
      return (await world.reader.job(job))?.status === 'completed';
    });
    await world.startCoordinator();
    for (let turns = 0; turns < 4; turns++) await world.turn();
    expect(await world.audit(job)).toMatchObject({ ok: true, firstFault: null });
    for (const { batch } of (await world.record(job)).rounds.values()) {
      expect(batch.finalized?.paid).toBe(6);
      expect(batchMoney(batch)).toMatchObject({ claimedWei: batch.finalized?.amountWei, unclaimedWei: 0n });
    }
    return { model: (await world.shown(job)).model, lives: world.lives };
  });
}

let undisturbed: Promise<string | null> | null = null;
const expected = (): Promise<string | null> => (undisturbed ??= modelOf(null).then(({ model }) => model));

test.each([
  ['after everything it records', { method: 'append', count: 1 }, 30],
  ['after every transaction, before it knows of it', { method: 'send', count: 1 }, 10],
  ['before every second transaction', { method: 'send', count: 2, before: true }, 6],
] as const)('a coordinator that is killed %s settles every round once, with the same model', async (_, death, leastLives) => {
  const { model, lives } = await modelOf(death);
  expect(model).toBe(await expected());
  expect(lives).toBeGreaterThanOrEqual(leastLives);
});

test('trainers that are started anew after everything they do are paid for everything', async () => {
  let restarts = 0;
  const { model } = await modelOf(null, (world) => {
    world.onReport = ({ by, event }) => {
      if (event !== 'task.committed' && event !== 'task.revealed' && event !== 'reward.claimed') return;
      restarts++;
      world.participants.find(({ name }) => name === by)?.restart();
    };
  });
  expect(model).toBe(await expected());
  expect(restarts).toBeGreaterThanOrEqual(24);
});
