/** The coordinator is killed again and again, and rebuilt from its event log and the chain. */
import { expect, test } from 'vitest';
import type { Death } from './support/life.ts';
import { tinyOrder } from './support/order.ts';
import { inWorld, type World } from './support/world.ts';

const small = { rounds: 2, tasks: 2 } as const;

/** Runs a job whose coordinator dies `death` in every life; the model it ends with. */
async function modelOf(
  death: Death | null,
  liars: readonly number[] = [],
): Promise<{ readonly model: string | null; readonly lives: number; readonly slashed: readonly string[] }> {
  return await inWorld({ trainers: 4, liars }, async (world: World) => {
    const job = await world.submit(await tinyOrder(small));
    await world.startCoordinator(death);
    await world.until(async () => {
      if (world.coordinatorLife.dead) await world.startCoordinator(death);
      return (await world.reader.job(job))?.status === 'completed';
    });
    await world.startCoordinator();
    await world.turn();
    expect(await world.audit(job)).toMatchObject({ ok: true });
    const { model, slashed, state } = await world.shown(job);
    expect(state).toBe('completed');
    return { model, lives: world.lives, slashed };
  });
}

let undisturbed: Promise<string | null> | null = null;
const expected = (): Promise<string | null> => (undisturbed ??= modelOf(null).then(({ model }) => model));

test.each([
  ['after everything it records', { method: 'append', count: 1 }, 50],
  ['before every second thing it would record', { method: 'append', count: 2, before: true }, 25],
  ['after every transaction, before it knows of it', { method: 'send', count: 1 }, 12],
  ['before every second transaction', { method: 'send', count: 2, before: true }, 8],
  ['after every second object it stores', { method: 'put', count: 2 }, 4],
] as const)('a coordinator that is killed %s ends the job with the same model', async (_, death, leastLives) => {
  const { model, lives } = await modelOf(death);
  expect(model).toBe(await expected());
  expect(lives).toBeGreaterThanOrEqual(leastLives);
});

test('a coordinator that is killed after every record still convicts a liar exactly once', async () => {
  const { model, slashed } = await modelOf({ method: 'append', count: 1 }, [3]);
  expect(model).toBe(await expected());
  expect(slashed).toHaveLength(1);
});
