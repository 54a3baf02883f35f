/** The audit finds a record that is not what happened: every kind of event left out or changed in one field. */
import type { ChainEvent, ChainReader } from '@muster/ports';
import type { JobId } from '@muster/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { tinyOrder } from './support/order.ts';
import { type HeldRecord, holdRecord } from './support/record.ts';
import { World } from './support/world.ts';

let world: World;
let job: JobId;
let record: HeldRecord;

beforeAll(async () => {
  world = await World.open({ trainers: 6, liars: [5] });
  world.onReport = ({ event, fields }) => {
    if (event === 'round.assigned' && fields['round'] === 1) world.trainers[0]?.vanish();
  };
  job = await world.submit(await tinyOrder({ rounds: 2, tasks: 2, slotState: 'carry', minimumNodes: 4 }));
  await world.until(() => world.reported('task.committed').length > 0);
  await world.organizer.send({ call: 'pauseJob', job });
  await world.turn();
  await world.organizer.send({ call: 'resumeJob', job });
  await world.finish(job);
  await world.organizer.send({ call: 'withdraw' });
  record = await holdRecord(world.reader);
});

afterAll(async () => await world.close());

const holds = async (chain: ChainReader): Promise<boolean> => {
  try {
    return (await world.audit(job, { chain })).ok;
  } catch {
    return false;
  }
};

/** `value` as a forger would change it: still of the same form. */
function other(value: unknown): unknown {
  if (typeof value === 'bigint') return value + 1n;
  if (typeof value === 'number') return value + 1;
  if (typeof value === 'boolean') return !value;
  if (value === null) return `0x${'1'.repeat(40)}`;
  if (typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, key === 'scoreTotal' ? other(inner) : inner]));
  if (typeof value !== 'string') throw new Error(`cannot change ${typeof value}`);
  if (value === 'trainer') return 'validator';
  if (value === 'validator') return 'trainer';
  const last = value.at(-1) === '0' ? '1' : '0';
  return value.slice(0, -1) + last;
}

interface Forgery {
  readonly what: string;
  readonly events: readonly ChainEvent[];
}

const places = new Set(['block', 'index', 'time', 'transaction', 'event']);

/** Every field of one event of every kind, changed in turn. */
function* forgeries(): Generator<Forgery> {
  const seen = new Set<string>();
  for (const [at, event] of record.events.entries()) {
    for (const [field, value] of Object.entries(event)) {
      if (places.has(field)) continue;
      const inner = value !== null && typeof value === 'object' ? Object.entries(value as Record<string, unknown>) : null;
      for (const [part, partValue] of inner ?? [[null, value] as const]) {
        const what = `${event.event}.${field}${part === null ? '' : `.${part}`}`;
        if (seen.has(what)) continue;
        seen.add(what);
        const changed = part === null ? other(partValue) : { ...(value as object), [part]: other(partValue) };
        yield { what, events: record.events.with(at, { ...event, [field]: changed }) };
      }
    }
    if (seen.has(event.event)) continue;
    seen.add(event.event);
    yield { what: `${event.event}-`, events: record.events.toSpliced(at, 1) };
  }
}

/**
 * What no replay of the job can know, because nothing in job or store follows from it. The chain's own record (blocks, receipts)
 * has to be checked for these; the replay need not notice them, but may.
 */
const leftToTheChain = new Set(
  `NodeRegistered.node NodeRegistered.operator NodeRegistered.role NodeRegistered.caps NodeRegistered.stakeWei NodeRegistered-
  ModelRegistered.modelId ModelRegistered.modelCid ModelRegistered.datasetCid ModelRegistered.owner ModelRegistered-
  JobSubmitted.owner JobSubmitted.modelId JobSubmitted.coordinator JobSubmitted.validator
  RoundAssigned.commitDeadline
  CommitsClosed.job CommitsClosed.round CommitsClosed.task CommitsClosed.commits CommitsClosed-
  JobPaused.job JobPaused- JobResumed.job JobResumed- RewardCredited.operator
  CheckpointAdded.modelId CheckpointAdded.job CheckpointAdded.round CheckpointAdded-
  Convicted.job Convicted.round Convicted- NodeSlashed.active NodeSlashed.offence
  SlashDivided.challenger InsuranceDeposited.from InsuranceDeposited.amountWei InsuranceDeposited-
  JobTermsSet.job JobTermsSet.policy.kind JobTermsSet.policy.settlement JobTermsSet.policy.minParticipants
  JobTermsSet.policy.roundTimeout JobTermsSet-
  NodeCredited.job NodeCredited.round NodeCredited.task NodeCredited.slot NodeCredited.node NodeCredited-
  ModelPublished.modelId ModelPublished- JobCompleted.job JobCompleted- Withdrawn.operator Withdrawn.amountWei Withdrawn-`.split(/\s+/),
);

test('the record as it is holds, and has events of every kind that a job can leave but its cancellation', async () => {
  expect(await holds(record.serving(record.events))).toBe(true);
  expect(new Set(record.events.map(({ event }) => event)).size).toBe(23);
});

test('an event that is left out or changed in any one field that the job or the store speaks of makes the audit fail', async () => {
  const unnoticed: string[] = [];
  let tried = 0;
  for (const { what, events } of forgeries()) {
    tried++;
    if (await holds(record.serving(events))) unnoticed.push(what);
  }
  expect(tried).toBeGreaterThan(100);
  expect(unnoticed.filter((what) => !leftToTheChain.has(what))).toEqual([]);
});
