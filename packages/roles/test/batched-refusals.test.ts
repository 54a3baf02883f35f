/** Every way in which a commitment or an opening of a batched job is turned away: with a code, without effect. */
import { nodeKeyFromSeed } from '@muster/adapters';
import type { JobId, Root } from '@muster/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CoordinatorLink } from '../src/index.ts';
import { Life } from './support/life.ts';
import { tinyOrder } from './support/order.ts';
import { batchedPolicy, type Participant, World } from './support/world.ts';

type Body = Readonly<Record<string, unknown>>;

let world: World;
let job: JobId;
let direct: JobId;
let victim: Participant;
let link: CoordinatorLink;
/** What nodes wanted to send last, by node and kind. */
const wanted = new Map<string, Body>();
/** Kinds of messages of the victim that do not arrive. */
const garbled = new Set<string>(['commitment', 'opening']);
const other = `0x${'ab'.repeat(16)}${'00'.repeat(16)}` as Root;

beforeAll(async () => {
  world = await World.open({ trainers: 3 });
  victim = world.trainers[0] as Participant;
  const seal = world.seal.bind(world);
  world.seal = (key, kind, body) => {
    wanted.set(`${key.node} ${kind}`, body as Body);
    return victim.atWork && key.node === victim.key.node && garbled.has(kind) ? new Uint8Array(8) : seal(key, kind, body);
  };
  link = world.link(victim.key, new Life());
  job = await world.submit(await tinyOrder({ rounds: 1, tasks: 1 }), 10n ** 15n, batchedPolicy);
  direct = await world.submit(await tinyOrder({ rounds: 1, tasks: 1, name: 'direct', minimumNodes: 9 }));
});

afterAll(() => world.close());

/** Waits until the victim wants to send a message of `kind`, stops it, and returns what it wanted to send. */
async function stopBefore(kind: string): Promise<Body> {
  wanted.delete(`${victim.key.node} ${kind}`);
  victim.atWork = true;
  await world.until(() => wanted.has(`${victim.key.node} ${kind}`));
  victim.atWork = false;
  return wanted.get(`${victim.key.node} ${kind}`) as Body;
}

async function refusesAll(kind: string, cases: readonly (readonly [Body, string])[]): Promise<void> {
  for (const [body, code] of cases) await expect(link.message(kind, body), `${kind}: ${code}`).rejects.toMatchObject({ code });
}

test('commitments and openings that do not fit are refused, those that fit are taken once', async () => {
  const commitment = await stopBefore('commitment');
  const slots = [0, 1, 2].filter((slot) => slot !== commitment['slot']);
  const proof = {
    step: 6,
    lossDigest: other,
    gradientDigest: other,
    weightsDigest: other,
    timestamp: 1,
    signature: `0x${'00'.repeat(64)}`,
  };
  const { job: id, round, task, slot } = commitment;
  const early = { job: id, round, task, slot, salt: other, resultCid: (await tinyOrder()).dataset.cid, proof };
  await refusesAll('opening', [[early, 'COMMITMENT_MISSING']]);
  await refusesAll('commitment', [
    [{ ...commitment, job: direct }, 'STATE_CONFLICT'],
    [{ ...commitment, job: other }, 'JOB_UNKNOWN'],
    [{ ...commitment, round: 1 }, 'SUBMISSION_LATE'],
    [{ ...commitment, task: 1 }, 'TASK_UNKNOWN'],
    [{ ...commitment, slot: slots[0] }, 'TASK_NOT_ASSIGNED'],
    [{ ...commitment, slot: 3 }, 'TASK_NOT_ASSIGNED'],
    [{ ...commitment, commitment: other }, 'SIGNATURE_INVALID'],
    [{ ...commitment, signature: `0x${'00'.repeat(65)}` }, 'SIGNATURE_INVALID'],
    [{ ...commitment, signature: '0x00' }, 'FIELD_INVALID'],
  ]);
  const stranger = world.link(nodeKeyFromSeed(new Uint8Array(32).fill(9)), new Life());
  await expect(stranger.message('commitment', commitment)).rejects.toMatchObject({ code: 'NODE_UNKNOWN' });
  expect(await link.message('commitment', commitment)).toEqual({ accepted: true });
  await refusesAll('commitment', [
    [commitment, 'SUBMISSION_DUPLICATE'],
    [{ ...commitment, commitment: other }, 'SUBMISSION_DUPLICATE'],
  ]);
  await refusesAll('opening', [[early, 'STATE_CONFLICT']]);

  const opening = await stopBefore('opening');
  const signed = opening['proof'] as Body;
  const neighbour = world.trainers.find(({ key }) => key.node !== victim.key.node) as Participant;
  const foreign = wanted.get(`${neighbour.key.node} opening`) as Body;
  await refusesAll('opening', [
    [{ ...opening, salt: other }, 'COMMITMENT_MISMATCH'],
    [{ ...opening, salt: `0x${'ab'.repeat(32)}` }, 'COMMITMENT_MISMATCH'],
    [{ ...opening, proof: { ...signed, timestamp: 1 } }, 'SIGNATURE_INVALID'],
    [{ ...opening, proof: { ...signed, step: 7 } }, 'SIGNATURE_INVALID'],
    [{ ...opening, proof: { ...signed, weightsDigest: other } }, 'SIGNATURE_INVALID'],
    [{ ...opening, resultCid: foreign['resultCid'] }, 'RESULT_ROOT_MISMATCH'],
    [{ ...opening, slot: slots[0] }, 'TASK_NOT_ASSIGNED'],
    [{ ...opening, job: direct }, 'STATE_CONFLICT'],
  ]);
  expect(await link.message('opening', opening)).toEqual({ accepted: true });
  await refusesAll('opening', [[opening, 'SUBMISSION_DUPLICATE']]);

  // What was taken is what is settled.
  victim.atWork = true;
  const record = await world.finish(job);
  const { batch } = record.rounds.get(0) ?? {};
  expect(batch?.finalized?.paid).toBe(3);
  expect((batch?.forcedCommits.size ?? 0) + (batch?.forcedReveals.size ?? 0)).toBe(0);
  expect(await world.audit(job)).toMatchObject({ ok: true });
});
