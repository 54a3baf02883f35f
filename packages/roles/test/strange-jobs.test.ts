/** Jobs that anybody may put on the chain: one that leads nowhere costs the others nothing. */
import { keccakOfWords, plainPolicy, type Root } from '@muster/protocol';
import { expect, test } from 'vitest';
import { tinyOrder } from './support/order.ts';
import { inWorld } from './support/world.ts';

const root = (word: number): Root => keccakOfWords([word]);

test('a job whose specification is nowhere is reported once by every trainer, and holds up nobody', async () => {
  await inWorld({ trainers: 4 }, async (world) => {
    // An account of no node, which coordinates a job of its own.
    const stranger = await world.writer('trainer 9');
    const coordinator = stranger.account;
    const shape = {
      specCid: root(1),
      modelId: root(2),
      rounds: 1,
      tasks: 1,
      redundancy: 1,
      coordinator,
      validator: coordinator,
    };
    const { events } = await stranger.send({ call: 'submitJob', ...shape, budgetWei: 1n, policy: plainPolicy(1) });
    const submitted = events.find((event) => event.event === 'JobSubmitted');
    if (submitted === undefined) throw new Error('no JobSubmitted event');
    const { job } = submitted;
    await stranger.send({ call: 'closeNodes', job, round: 0, nodeSetRoot: root(3), nodeCount: 1 });
    await stranger.send({ call: 'transfer', to: coordinator, amountWei: 0n });
    const commitDeadline = (await world.reader.head()).time + 1000;
    await stranger.send({ call: 'assign', job, round: 0, assignmentRoot: root(4), assignmentCid: root(5), commitDeadline });

    const own = await world.submit(await tinyOrder({ rounds: 2 }));
    await world.finish(own);
    expect(await world.audit(own)).toMatchObject({ ok: true, firstFault: null });
    const told = world.reported('job.refused').filter(({ fields }) => fields['job'] === job);
    expect(told.map(({ by }) => by).toSorted()).toEqual(['trainer 0', 'trainer 1', 'trainer 2', 'trainer 3']);
    expect(told[0]?.fields['reason']).toMatch(/^OBJECT_MISSING/);
  });
});
