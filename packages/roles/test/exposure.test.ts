/** Work that is worth more than the stake behind it: trainers say so and leave it, and take it up once the stake is topped up. */
import { expect, test } from 'vitest';
import { tinyOrder } from './support/order.ts';
import { inWorld, type Participant, stakeWei } from './support/world.ts';

test('a trainer says once what its stake is short of, begins nothing the chain would refuse, and works after a top-up', async () => {
  await inWorld({ trainers: 4 }, async (world) => {
    const order = await tinyOrder({ rounds: 1, tasks: 2, redundancy: 3 });
    // Each of the six results is worth a stake and a half.
    const exposureWei = (stakeWei * 3n) / 2n;
    const job = await world.submit(order, 6n * exposureWei);
    const short = () => world.reported('stake.short').map(({ by, fields }) => ({ by, ...fields }));
    await world.until(() => new Set(short().map(({ by }) => by)).size >= 3);
    for (let turns = 0; turns < 20; turns++) await world.turn();
    expect(world.reported('task.committed')).toEqual([]);
    expect(world.reported('trainer.trouble')).toEqual([]);
    expect(new Set(short().map(({ by }) => by)).size).toBe(short().length);
    const [first] = short();
    expect(first).toMatchObject({ job, exposureWei, freeWei: stakeWei, missingWei: exposureWei - stakeWei });

    for (const { name, key } of world.trainers) {
      const operator = await world.writer(name);
      await operator.send({ call: 'topUp', node: key.node, amountWei: 10n * stakeWei });
    }
    await world.finish(job);
    expect(await world.audit(job)).toMatchObject({ ok: true, firstFault: null });
    expect(await world.reader.freeStake((world.trainers[0] as Participant).key.node)).toBe(11n * stakeWei);
  });
});
