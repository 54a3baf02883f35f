/** The audit finds any byte of the store that is not what was recorded, and names the object. */
import { mkdtemp, readdir, readFile, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openFolderStore } from '@muster/adapters';
import type { BlobStore, ChainReader, ListedBlobStore } from '@muster/ports';
import { type CidText, codecOf, type JobId } from '@muster/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { objectCid } from '../src/index.ts';
import { tinyOrder } from './support/order.ts';
import { holdRecord } from './support/record.ts';
import { World } from './support/world.ts';

let world: World;
let job: JobId;
let chain: ChainReader;
let folder: string;
let store: ListedBlobStore;
/** Content ids in the store and the files that hold them. */
const files = new Map<CidText, string>();

beforeAll(async () => {
  world = await World.open({ trainers: 5, liars: [4] });
  job = await world.submit(await tinyOrder({ rounds: 2, tasks: 2, slotState: 'carry', minimumNodes: 4 }));
  await world.finish(job);
  const record = await holdRecord(world.reader);
  chain = record.serving(record.events);
  folder = await mkdtemp(join(tmpdir(), 'muster-audit-'));
  store = await openFolderStore(folder);
  for (const cid of await world.blobs.list()) await store.put((await world.blobs.get(cid)) as Uint8Array, codecOf(cid));
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) files.set(entry.name as CidText, join(entry.parentPath, entry.name));
  }
});

afterAll(async () => {
  await world.close();
  await rm(folder, { recursive: true });
});

const audit = (blobs: BlobStore = store): ReturnType<World['audit']> => world.audit(job, { blobs, chain });

test('a finished job with a liar audits green from the folder alone, and every object of the store was read', async () => {
  const result = await audit();
  expect(result).toMatchObject({ ok: true, firstFault: null, tasks: 4, aggregations: 2 });
  expect(result.verdicts).toBeGreaterThan(0);
  expect(result.objects).toBe(files.size);
});

test('one flipped byte in any object makes the audit fail and name that object', async () => {
  for (const [index, [cid, file]] of [...files].entries()) {
    const bytes = await readFile(file);
    const at = (index * 7919) % bytes.length;
    const damaged = Uint8Array.from(bytes);
    damaged[at] = (bytes[at] ?? 0) ^ (1 << (index % 8));
    await writeFile(file, damaged);
    const { ok, firstFault } = await audit();
    await writeFile(file, bytes);
    expect({ ok, object: firstFault?.object }, `${cid}, byte ${at}`).toEqual({ ok: false, object: cid });
  }
  expect(await audit()).toMatchObject({ ok: true });
});

test('a missing object makes the audit fail and name it, unless it is what a node never handed in and was neither paid nor convicted for', async () => {
  const record = await world.record(job);
  const withheld = new Set<string>();
  for (const round of record.rounds.values()) {
    for (const task of round.tasks.values()) {
      for (const { revealed, rewarded, convicted } of task.slots.values()) {
        const needed = rewarded !== null || (convicted !== null && convicted.offence !== 'invalidProof');
        if (revealed !== null && !needed) withheld.add(objectCid(revealed.resultCid));
      }
    }
  }
  for (const [cid, file] of files) {
    const bytes = await readFile(file);
    await unlink(file);
    const { ok, firstFault } = await audit();
    await writeFile(file, bytes);
    if (withheld.has(cid)) expect({ ok }, cid).toEqual({ ok: true });
    else expect({ ok, object: firstFault?.object }, cid).toEqual({ ok: false, object: cid });
  }
});

test('an object of another job in place of the right one is named by its place', async () => {
  const other: BlobStore = {
    put: (bytes, codec) => store.put(bytes, codec),
    has: (cid) => store.has(cid),
    // A store that answers with whole, well-formed, wrong objects: what BlobStore rules out, should an implementation fail to.
    get: async (cid) => (cid === swapped?.wanted ? await store.get(swapped.given) : await store.get(cid)),
  };
  const record = await world.record(job);
  const [first, second] = [...record.rounds.values()].map(({ finalized }) => objectCid(finalized?.checkpointCid as never)) as [
    CidText,
    CidText,
  ];
  const swapped: { readonly wanted: CidText; readonly given: CidText } = { wanted: second, given: first };
  const { ok, firstFault } = await audit(other);
  expect({ ok, object: firstFault?.object }).toEqual({ ok: false, object: second });
});
