/** Every way in which a submission is turned away, over the real HTTP server: answered with a code, recorded, without effect. */
import { connectCoordinator, createServer, nodeKeyFromSeed, type CoordinatorServer, verifySignature } from '@muster/adapters';
import { memoryNonceStore, type NodeKey } from '@muster/ports';
import {
  decodeCanonical,
  encodeCanonical,
  encodeLinked,
  type CidText,
  type JobId,
  objectKinds,
  decodeLinked,
  sealEnvelope,
  type TaskResult,
} from '@muster/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { objectCid } from '../src/index.ts';
import { tinyOrder } from './support/order.ts';
import { type Participant, World } from './support/world.ts';

let world: World;
let server: CoordinatorServer;
let job: JobId;
let nonces = 1000;
/** What must be on record in the end, in order. */
const expected: { readonly code: string; readonly node: string | null; readonly kind: string | null }[] = [];

const stranger = nodeKeyFromSeed(new Uint8Array(32).fill(9));
const trainer = (index: number): Participant => world.trainers[index] as Participant;

/** The trainers that hold a slot of the one task, by slot, and the one that holds none. */
async function places(): Promise<{ readonly holders: readonly Participant[]; readonly idle: Participant }> {
  const assigned = (await world.record(job)).rounds.get(0)?.assigned;
  const bytes = assigned && (await world.blobs.get(objectCid(assigned.assignmentCid)));
  if (!bytes) throw new Error('round 0 is not assigned');
  const [task] = decodeLinked(objectKinds.assignment, bytes).tasks;
  const holders = (task?.nodes ?? []).map((node) => world.trainers.find(({ key }) => key.node === node) as Participant);
  return { holders, idle: world.trainers.find((candidate) => !holders.includes(candidate)) as Participant };
}

async function post(bytes: Uint8Array, type = 'application/cbor'): Promise<{ readonly status: number; readonly code: string | null }> {
  const response = await fetch(`${server.url}/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': type },
    body: new Uint8Array(bytes),
  });
  const answer = (await response.json()) as { readonly error?: { readonly code: string } };
  return { status: response.status, code: answer.error?.code ?? null };
}

function sealed(
  key: NodeKey,
  kind: string,
  body: unknown,
  changes: { readonly network?: string; readonly issuedAtMs?: number } = {},
): Uint8Array {
  const nonce = new Uint8Array(16);
  new DataView(nonce.buffer).setUint32(4, ++nonces);
  return sealEnvelope(key, { kind, network: world.network, nonce, issuedAtMs: world.time.now(), body, ...changes });
}

const body = (changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => ({
  job,
  round: 0,
  task: 0,
  slot: 0,
  resultCid: anything,
  ...changes,
});
let anything: CidText;

async function refused(
  code: string,
  bytes: Uint8Array,
  blamed: { readonly key: NodeKey; readonly kind?: string } | null,
  type?: string,
): Promise<void> {
  expect(await post(bytes, type)).toMatchObject({ code });
  expected.push({ code, node: blamed?.key.node ?? null, kind: blamed === null ? null : (blamed.kind ?? 'result') });
}

const refusedResult = (code: string, who: Participant, changes: Readonly<Record<string, unknown>> = {}): Promise<void> =>
  refused(code, sealed(who.key, 'result', body(changes)), who);

beforeAll(async () => {
  world = await World.open({ trainers: 4 });
  for (const participant of world.trainers) participant.atWork = false;
  job = await world.submit(await tinyOrder({ rounds: 1, tasks: 1, minimumNodes: 4 }));
  anything = await world.blobs.put(encodeCanonical('something else'), 'dag-cbor');
  server = await createServer({
    network: world.network,
    store: world.blobs,
    nonces: memoryNonceStore(),
    clock: world.time,
    verify: verifySignature,
    authorize: (node) => world.coordinator.authorize(node),
    signedRoutes: world.coordinator.signedRoutes(),
    publicRoutes: world.coordinator.publicRoutes(),
    onRefused: (refusal) => void world.coordinator.recordRefusal(refusal),
  });
  await world.until(() => world.reported('round.assigned').length === 1);
});

afterAll(async () => {
  await server.close();
  await world.close();
});

test('a request that does not prove who speaks is refused, and nobody is blamed for it', async () => {
  const [key] = [trainer(0).key];
  const good = sealed(key, 'result', body());
  const { payload, signature } = decodeCanonical(good) as { payload: Uint8Array; signature: Uint8Array };
  await refused('SIGNATURE_MISSING', encodeCanonical({ payload }), null);
  await refused('SIGNATURE_MISSING', new TextEncoder().encode(JSON.stringify(body())), null, 'application/json');
  await refused(
    'SIGNATURE_INVALID',
    encodeCanonical({ payload, signature: signature.map((byte, index) => (index === 5 ? byte ^ 1 : byte)) }),
    null,
  );
  // The payload of one node under the signature of another.
  const other = decodeCanonical(sealed(trainer(1).key, 'result', body())) as { signature: Uint8Array };
  await refused('SIGNATURE_INVALID', encodeCanonical({ payload, signature: other.signature }), null);
  await refused('BYTES_MALFORMED', Uint8Array.of(0xff, 0x00, 0x13), null);
});

test('a request that is old, for another network, or seen before is refused', async () => {
  const { key } = trainer(0);
  await refused('REQUEST_EXPIRED', sealed(key, 'result', body(), { issuedAtMs: world.time.now() - 10 * 60_000 }), { key });
  await refused('REQUEST_EXPIRED', sealed(key, 'result', body(), { issuedAtMs: world.time.now() + 10 * 60_000 }), { key });
  await refused('FIELD_INVALID', sealed(key, 'result', body(), { network: 'eip155:1:0xabababababababababababababababababababab' }), {
    key,
  });
  const hello = sealed(key, 'hello', { role: 'trainer' });
  expect(await post(hello)).toMatchObject({ status: 200 });
  await refused('REQUEST_REPLAYED', hello, { key, kind: 'hello' });
});

test('a node without a stake, or in another role than it is registered for, is refused', async () => {
  await refused('NODE_UNKNOWN', sealed(stranger, 'hello', { role: 'trainer' }), { key: stranger, kind: 'hello' });
  await refused('NODE_UNKNOWN', sealed(stranger, 'result', body()), { key: stranger });
  const client = connectCoordinator({ url: server.url, key: stranger, network: world.network, clock: world.time, patienceMs: 2000 });
  await expect(client.blobs.put(new Uint8Array([1, 2, 3]), 'raw')).rejects.toMatchObject({ code: 'NODE_UNKNOWN' });
  expected.push({ code: 'NODE_UNKNOWN', node: stranger.node, kind: 'put' });
  await refused('FIELD_INVALID', sealed(trainer(0).key, 'hello', { role: 'validator' }), { key: trainer(0).key, kind: 'hello' });
});

test('a submission for no job, no task or no slot of the node is refused', async () => {
  const { holders, idle } = await places();
  const [first, second] = holders as [Participant, Participant];
  await refusedResult('JOB_UNKNOWN', first, { job: `0x${'12'.repeat(32)}` });
  await refusedResult('TASK_UNKNOWN', first, { task: 9 });
  await refusedResult('SUBMISSION_LATE', first, { round: 7 });
  await refusedResult('TASK_NOT_ASSIGNED', idle);
  await refusedResult('TASK_NOT_ASSIGNED', second, { slot: 0 });
  await refusedResult('TASK_NOT_ASSIGNED', first, { slot: 9 });
  await refusedResult('FIELD_INVALID', first, { slot: 'zero' });
  const verdict = { job, round: 0, task: 0, verdictCid: anything, evidence: '0x' };
  await refused('TASK_NOT_ASSIGNED', sealed(first.key, 'verdict', verdict), { key: first.key, kind: 'verdict' });
  const validator = world.participants.find(({ role }) => role === 'validator') as Participant;
  await refused('SUBMISSION_LATE', sealed(validator.key, 'verdict', verdict), { key: validator.key, kind: 'verdict' });
});

test('a submission before the commitment, or before commitments are closed, is refused', async () => {
  const { holders } = await places();
  const [first] = holders as [Participant];
  await refusedResult('COMMITMENT_MISSING', first);
  first.atWork = true;
  await world.until(async () => (await world.record(job)).rounds.get(0)?.tasks.get(0)?.slots.get(0)?.committed !== undefined);
  first.atWork = false;
  await refusedResult('STATE_CONFLICT', first);
});

test('a submission that does not open what it says is refused; a second one as well', async () => {
  const { holders } = await places();
  const [first, second, third] = holders as [Participant, Participant, Participant];
  // Everybody commits; only the first reveals.
  first.atWork = second.atWork = third.atWork = true;
  world.onReport = ({ event, by }) => {
    for (const holder of [second, third]) if (event === 'task.committed' && by === holder.name) holder.atWork = false;
  };
  await world.until(() => world.reported('task.revealed').length === 1);
  const opened = (await world.record(job)).rounds.get(0)?.tasks.get(0)?.slots.get(0)?.revealed;
  const resultCid = objectCid(opened?.resultCid ?? (`0x${'0'.repeat(64)}` as never));
  const bytes = (await world.blobs.get(resultCid)) as Uint8Array;
  const result: TaskResult = decodeLinked(objectKinds.taskResult, bytes);
  const store = async (changes: Partial<TaskResult>): Promise<CidText> =>
    await world.blobs.put(encodeLinked({ ...result, slot: 1, node: second.key.node, ...changes }).bytes, 'dag-cbor');
  const outcome = result.outcome as Extract<TaskResult['outcome'], { kind: 'update' }>;
  const otherRoot = opened?.salt as TaskResult['resultRoot'];
  await refusedResult('SUBMISSION_DUPLICATE', first, { resultCid });
  await refusedResult('RESULT_ROOT_MISMATCH', second, { slot: 1, resultCid });
  await refusedResult('RESULT_ROOT_MISMATCH', second, { slot: 1, resultCid: await store({ resultRoot: otherRoot }) });
  await refusedResult('RESULT_ROOT_MISMATCH', second, {
    slot: 1,
    resultCid: await store({ outcome: { ...outcome, lossRoot: otherRoot } }),
  });
  await refusedResult('OBJECT_MISSING', second, { slot: 1, resultCid: encodeLinked({ nobody: 'stored this' }).cid });
  await refusedResult('FIELD_INVALID', second, { slot: 1, resultCid: anything });
  expect((await world.shown(job)).round).toBe(0);
});

test('after all that the job ends as if nothing had been sent, and late submissions are refused', async () => {
  const { holders } = await places();
  world.onReport = () => undefined;
  for (const holder of holders) holder.atWork = true;
  const record = await world.finish(job);
  const slots = [...(record.rounds.get(0)?.tasks.get(0)?.slots.values() ?? [])];
  expect(slots.map(({ rewarded }) => rewarded !== null)).toEqual([true, true, true]);
  expect((await world.history()).slashed.size).toBe(0);
  await refusedResult('SUBMISSION_LATE', holders[0] as Participant);
  expect(await world.audit(job)).toMatchObject({ ok: true });
});

test('every refusal is on record, with the node and the kind where the signature proved them', async () => {
  const recorded = (await world.refusals()).map(({ code, node, kind }) => ({ code, node, kind }));
  expect(recorded).toEqual(expected);
});
