/** Validators and coordinators that do not do what they should: what they can and cannot achieve. */
import {
  type Address,
  type Assignment,
  decodeLinked,
  digestOf,
  encodeLinked,
  type JobId,
  type NodeId,
  objectKinds,
  type TaskResult,
} from '@muster/protocol';
import { assignmentRoot } from '@muster/round';
import { expect, test } from 'vitest';
import { objectCid, type SlotRecord } from '../src/index.ts';
import { Life } from './support/life.ts';
import { tinyOrder } from './support/order.ts';
import { type CoordinatorPorts, inWorld, type Participant, type World } from './support/world.ts';

async function slots(world: World, job: JobId): Promise<SlotRecord[]> {
  const record = await world.record(job);
  return [...record.rounds.values()].flatMap((round) => [...round.tasks.values()].flatMap((task) => [...task.slots.values()]));
}

test('a verdict that names the liar’s result is refused by the coordinator’s replay; nobody is slashed and the majority stands', async () => {
  await inWorld({ trainers: 3, liars: [2] }, async (world) => {
    const validator = world.participants.find(({ role }) => role === 'validator') as Participant;
    validator.atWork = false;
    const job = await world.submit(await tinyOrder({ rounds: 1, tasks: 1 }));
    const link = world.link(validator.key, new Life());
    const waiting = async (): Promise<readonly unknown[]> => ((await link.get('verdicts')) as { readonly tasks: readonly unknown[] }).tasks;
    await world.until(async () => (await waiting()).length > 0);
    const liar = world.trainers[2] as Participant;
    const lie = (await slots(world, job)).find(({ revealed }) => revealed?.node === liar.key.node)?.revealed;
    if (!lie) throw new Error('the liar revealed nothing');
    const result: TaskResult = decodeLinked(objectKinds.taskResult, (await world.blobs.get(objectCid(lie.resultCid))) as Uint8Array);
    const assigned = (await world.record(job)).rounds.get(0)?.assigned;
    const verdict = encodeLinked({
      version: 1,
      job,
      round: 0,
      task: 0,
      validator: validator.key.node,
      assignment: objectCid(assigned?.assignmentCid ?? lie.resultCid),
      resultRoot: result.resultRoot,
      outcome: result.outcome,
      offence: 'fakeGradients',
    });
    await world.blobs.put(verdict.bytes, 'dag-cbor');
    const account = await world.writer('validator');
    const { resultRoot } = result;
    const statement = { job, round: 0, task: 0, resultRoot, verdictCid: digestOf(verdict.cid), offence: 'fakeGradients' } as const;
    const forged = await (await world.writer('trainer 0')).signVerdict(statement);
    await expect(link.message('verdict', { job, round: 0, task: 0, verdictCid: verdict.cid, evidence: forged })).rejects.toMatchObject({
      code: 'SIGNATURE_INVALID',
    });
    const evidence = await account.signVerdict(statement);
    await expect(link.message('verdict', { job, round: 0, task: 0, verdictCid: verdict.cid, evidence })).rejects.toMatchObject({
      code: 'AUDIT_FAILED',
    });

    await world.finish(job);
    expect((await world.history()).slashed.size).toBe(0);
    const paid = (await slots(world, job)).filter(({ rewarded }) => rewarded !== null);
    expect(new Set(paid.map(({ rewarded }) => rewarded?.node))).toEqual(new Set(world.trainers.slice(0, 2).map(({ key }) => key.node)));
    expect(await world.audit(job)).toMatchObject({ ok: true, verdicts: 0 });
  });
});

test('without any validator a task whose results differ ends with its majority, and nobody is slashed', async () => {
  await inWorld({ trainers: 3, liars: [0], validator: false }, async (world) => {
    const job = await world.submit(await tinyOrder({ rounds: 1, tasks: 2 }));
    await world.finish(job);
    expect((await world.history()).slashed.size).toBe(0);
    expect((await slots(world, job)).filter(({ rewarded }) => rewarded !== null)).toHaveLength(4);
    expect(await world.audit(job)).toMatchObject({ ok: true });
  });
});

type Tamper = (assignment: Assignment) => Assignment;

const swapTasks: Tamper = (assignment) => {
  const [first, second, ...rest] = assignment.tasks;
  if (first === undefined || second === undefined) throw new Error('too few tasks');
  return { ...assignment, tasks: [{ ...first, nodes: second.nodes }, { ...second, nodes: first.nodes }, ...rest] };
};
const withTask = (change: (task: Assignment['tasks'][number], all: Assignment) => Partial<Assignment['tasks'][number]>): Tamper => {
  return (assignment) => ({
    ...assignment,
    tasks: assignment.tasks.map((task, index) => (index === 0 ? { ...task, ...change(task, assignment) } : task)),
  });
};

/** A coordinator that changes each assignment before it stores and records it. */
function tampering(tamper: Tamper): (ports: CoordinatorPorts) => CoordinatorPorts {
  return ({ chain, blobs, log }) => {
    const replaced = new Map<string, { readonly root: string; readonly digest: string }>();
    const own: CoordinatorPorts = {
      log,
      blobs: {
        get: (cid) => blobs.get(cid),
        has: (cid) => blobs.has(cid),
        async put(bytes, codec) {
          const cid = await blobs.put(bytes, codec);
          let assignment: Assignment;
          try {
            assignment = decodeLinked(objectKinds.assignment, bytes);
          } catch {
            return cid;
          }
          const changed = tamper(assignment);
          const stored = encodeLinked(changed);
          await blobs.put(stored.bytes, 'dag-cbor');
          const operators = new Map<NodeId, Address>();
          for (const node of assignment.nodes) operators.set(node, (await chain.node(node))?.operator as Address);
          const root = assignmentRoot(changed, (node) => operators.get(node) as Address);
          replaced.set(digestOf(cid), { root, digest: digestOf(stored.cid) });
          return cid;
        },
      },
      chain: new Proxy(chain, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name, target);
          if (typeof value !== 'function') return value;
          return (...given: unknown[]): unknown => {
            const [call] = given as [{ call?: string; assignmentCid?: string } | undefined];
            const other = name === 'send' && call?.call === 'assign' ? replaced.get(call.assignmentCid ?? '') : undefined;
            const sent = other === undefined ? given : [{ ...call, assignmentRoot: other.root, assignmentCid: other.digest }];
            return Reflect.apply(value, target, sent) as unknown;
          };
        },
      }),
    };
    return own;
  };
}

test.each<readonly [string, Tamper]>([
  ['gives the work of one task to the nodes of another', swapTasks],
  [
    'gives a slot to a node of its choice',
    withTask(({ nodes }, { nodes: all }) => ({
      nodes: [all.find((node) => !nodes.includes(node)) ?? all[0], ...nodes.slice(1)] as Assignment['nodes'],
    })),
  ],
  ['starts from other parameters', (assignment) => ({ ...assignment, base: encodeLinked({ other: 'parameters' }).cid })],
  ['claims another number of samples', withTask(({ sampleCount }) => ({ sampleCount: sampleCount + 1 }))],
  ['slips in an optimizer state', withTask((_, { base }) => ({ slotState: base }))],
  ['draws from a seed of its own', (assignment) => ({ ...assignment, beacon: `0x${'77'.repeat(32)}` as Assignment['beacon'] })],
])('a coordinator whose assignment %s finds no trainer to work on it', async (_, tamper) => {
  await inWorld({ trainers: 4, validator: false, coordinatorPorts: tampering(tamper) }, async (world) => {
    const job = await world.submit(await tinyOrder({ rounds: 1, tasks: 2, minimumNodes: 4 }));
    await world.until(() => world.reported('assignment.refused').length === 4);
    for (let turns = 0; turns < 20; turns++) await world.turn();
    for (const { fields } of world.reported('assignment.refused'))
      expect(fields).toMatchObject({ job, round: 0, reason: expect.stringContaining('ASSIGNMENT_WRONG') as string });
    expect((await slots(world, job)).filter(({ committed }) => committed !== null)).toEqual([]);
    // Each trainer said so once; afterwards it waits for another assignment.
    expect(world.reported('assignment.refused')).toHaveLength(4);
  });
});
