/** The audit of a batched job finds whatever of list, openings and settlement is not what was recorded. */
import type { BlobStore, ChainEvent } from '@muster/ports';
import { type CidText, encodeLinked, type JobId, type Root } from '@muster/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { batchEvents } from '../src/batch-record.ts';
import { type CommitmentList, readCommitments, readOpenings } from '../src/batches.ts';
import { objectCid, reader, type RoundRecord } from '../src/index.ts';
import { tinyOrder } from './support/order.ts';
import { type HeldRecord, holdRecord } from './support/record.ts';
import { batchedPolicy, World } from './support/world.ts';

let world: World;
let job: JobId;
let record: HeldRecord;
let round: RoundRecord;
const slots = 6;

beforeAll(async () => {
  world = await World.open({ trainers: 5, liars: [4] });
  job = await world.submit(await tinyOrder({ rounds: 1, tasks: 2, minimumNodes: 5 }), 10n ** 15n, batchedPolicy);
  await world.finish(job);
  for (let turns = 0; turns < 4; turns++) await world.turn();
  record = await holdRecord(world.reader);
  round = (await world.record(job)).rounds.get(0) as RoundRecord;
});

afterAll(() => world.close());

/** The store with other bytes under one content id, or none. */
function storeWith(cid: CidText, bytes: Uint8Array | null): BlobStore {
  return new Proxy<BlobStore>(world.blobs, {
    get(target, name) {
      if (name === 'get') return async (asked: CidText) => (asked === cid ? bytes : target.get(asked));
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (...given: unknown[]): unknown => Reflect.apply(value, target, given) as unknown : value;
    },
  });
}

const listCid = (): CidText => objectCid(round.batch.committed?.contentCid as Root);
const openingsCid = (): CidText => objectCid(round.batch.proofs?.contentCid as Root);

/** The audit of the record with some events changed. */
function auditOf(change: (event: ChainEvent) => ChainEvent): ReturnType<World['audit']> {
  return world.audit(job, { chain: record.serving(record.events.map(change)) });
}

test('a batched job with a liar audits green: every opening, verdict and signature was looked at', async () => {
  const result = await world.audit(job, { chain: record.serving(record.events) });
  expect(result).toMatchObject({ ok: true, firstFault: null, tasks: 2, aggregations: 1, commitments: slots, signatures: slots });
  expect(result.verdicts).toBeGreaterThan(0);
  expect(result.verdicts).toBe(round.batch.convictions.size);
});

test('a list of commitments that is missing or changed in any entry is named', async () => {
  const list = await readCommitments(job, round, reader(world.blobs));
  const other = `0x${'ab'.repeat(32)}` as Root;
  const changed: (CommitmentList['commitments'] | null)[] = list.commitments.flatMap((entry, index) => [
    list.commitments.with(index, null),
    list.commitments.with(index, entry === null ? null : { ...entry, commitment: other }),
  ]);
  for (const commitments of [null, ...changed]) {
    const bytes = commitments === null ? null : encodeLinked({ ...list, commitments }).bytes;
    expect(await world.audit(job, { blobs: storeWith(listCid(), bytes) })).toMatchObject({ ok: false, firstFault: { object: listCid() } });
  }
});

test('a listed commitment with another signature is named', async () => {
  const list = await readCommitments(job, round, reader(world.blobs));
  const [first, second] = list.commitments;
  if (!first || !second) throw new Error('nobody committed');
  const { bytes } = encodeLinked({ ...list, commitments: list.commitments.with(0, { ...first, signature: second.signature }) });
  const { ok, firstFault } = await world.audit(job, { blobs: storeWith(listCid(), bytes) });
  expect({ ok, firstFault }).toMatchObject({ ok: false, firstFault: { object: listCid() } });
  expect(firstFault?.problem).toContain('not signed');
});

test('openings that are missing, left out or changed are named', async () => {
  const openings = await readOpenings(job, round, slots, reader(world.blobs));
  const salt = `0x${'cd'.repeat(16)}${'00'.repeat(16)}` as Root;
  const changed = openings.flatMap((entry, index) =>
    entry === null
      ? []
      : [
          openings.with(index, null),
          openings.with(index, { ...entry, salt }),
          openings.with(index, { ...entry, proof: { ...entry.proof, timestamp: entry.proof.timestamp + 1 } }),
        ],
  );
  for (const list of [null, ...changed]) {
    const bytes = list === null ? null : encodeLinked({ version: 1, job, round: 0, openings: list }).bytes;
    expect(await world.audit(job, { blobs: storeWith(openingsCid(), bytes) })).toMatchObject({
      ok: false,
      firstFault: { object: openingsCid() },
    });
  }
});

test('a chain that settled otherwise, paid otherwise or convicted otherwise is found out', async () => {
  const other = `0x${'ab'.repeat(32)}` as Root;
  const changes: ((event: ChainEvent) => ChainEvent)[] = [
    (event) => (event.event === 'BatchFinalized' ? { ...event, settlementRoot: other } : event),
    (event) => (event.event === 'BatchFinalized' ? { ...event, amountWei: event.amountWei + BigInt(event.paid) } : event),
    (event) => (event.event === 'BatchFinalized' ? { ...event, paid: event.paid - 1 } : event),
    (event) => (event.event === 'BatchFinalized' ? { ...event, checkpointCid: other } : event),
    (event) => (event.event === 'TasksSettled' ? { ...event, taskRoots: event.taskRoots.toReversed() } : event),
    (event) => (event.event === 'BatchRewardClaimed' ? { ...event, amountWei: event.amountWei + 1n } : event),
    (event) => (event.event === 'BatchConvicted' ? { ...event, revealedRoot: event.correctRoot } : event),
    (event) => (event.event === 'BatchConvicted' ? { ...event, correctRoot: other } : event),
    (event) => (event.event === 'TrainProofsRecorded' ? { ...event, root: other } : event),
  ];
  for (const [index, change] of changes.entries()) expect(await auditOf(change), `change ${index}`).toMatchObject({ ok: false });
});

/** `value` as a forger would change it: still of the same form. */
function other(value: unknown): unknown {
  if (typeof value === 'bigint') return value + 1n;
  if (typeof value === 'number') return value + 1;
  if (Array.isArray(value)) return value.toReversed();
  const text = String(value);
  return text.slice(0, -1) + (text.endsWith('0') ? '1' : '0');
}

/**
 * What nothing in job or store follows from: when commitments closed, which rewards have been claimed by now, and, as in direct
 * settlement, that a conviction belongs to another round. Noticing it does no harm.
 */
const leftToTheChain = new Set([
  'BatchCommitted.closesAt',
  'BatchRewardClaimed-',
  'BatchRewardClaimed.job',
  'BatchRewardClaimed.round',
  'BatchRewardClaimed.slotIndex',
  'BatchConvicted.job',
  'BatchConvicted.round',
]);

test('every field of every event of the batch is held against something, but for what is left to the chain', async () => {
  const places = new Set(['block', 'index', 'time', 'transaction', 'event']);
  const tried = new Set<string>();
  const unnoticed: string[] = [];
  const attempt = async (what: string, events: readonly ChainEvent[]): Promise<void> => {
    if (tried.has(what)) return;
    tried.add(what);
    const { ok } = await world.audit(job, { chain: record.serving(events) }).catch(() => ({ ok: false }));
    if (ok) unnoticed.push(what);
  };
  for (const [at, event] of record.events.entries()) {
    if (!batchEvents.some((name) => name === event.event)) continue;
    await attempt(`${event.event}-`, record.events.toSpliced(at, 1));
    for (const [field, value] of Object.entries(event)) {
      if (places.has(field)) continue;
      await attempt(`${event.event}.${field}`, record.events.with(at, { ...event, [field]: other(value) }));
    }
  }
  expect(new Set([...tried].map((what) => what.split(/[-.]/)[0]))).toEqual(
    new Set([
      'BatchCommitted',
      'TrainProofsRecorded',
      'TasksSettled',
      'BatchFinalized',
      'VerdictSettled',
      'BatchConvicted',
      'BatchRewardClaimed',
    ]),
  );
  expect(unnoticed.filter((what) => !leftToTheChain.has(what))).toEqual([]);
});
