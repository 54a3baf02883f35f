import { readdirSync, readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type Address,
  type Assignment,
  assignmentLeaf,
  commitmentOf,
  hexToBytes,
  holderOf,
  keccakOfWords,
  MusterError,
  type NodeId,
  type Root,
  verifyKeccak,
} from '@muster/protocol';
import {
  assignmentProof,
  assignmentRoot,
  checkAssignment,
  drawAssignment,
  type DrawInputs,
  nodeSetRoot,
  type OperatorOf,
  saltLabel,
  substituteOrder,
} from '@muster/round';
import { cid, job, node, root } from './support.ts';

const nodeIds = (count: number): NodeId[] => Array.from({ length: count }, (_, index) => keccakOfWords([0xd0, index]) as string as NodeId);

/** Every node has an account of its own. */
const operatorOf: OperatorOf = (id) => `0x${keccakOfWords([id]).slice(26)}` as Address;

const inputs: fc.Arbitrary<DrawInputs> = fc
  .record({
    count: fc.integer({ min: 1, max: 20 }),
    tasks: fc.integer({ min: 1, max: 24 }),
    redundancy: fc.integer({ min: 1, max: 7 }),
    beacon: fc.integer({ min: 0, max: 1 << 30 }),
    round: fc.integer({ min: 0, max: 1000 }),
  })
  .map(({ count, tasks, redundancy, beacon, round }) => ({
    job,
    round,
    nodes: nodeIds(count),
    beacon: root(beacon),
    base: cid(1),
    redundancy,
    slots: Array.from({ length: tasks }, (_, task) => ({ sampleCount: 1 + task, slotState: task % 3 === 0 ? null : cid(10 + task) })),
  }));

const recorded = (draw: DrawInputs, assignment: Assignment) => ({
  ...draw,
  nodeSetRoot: nodeSetRoot(draw.nodes),
  assignmentRoot: assignmentRoot(assignment, operatorOf),
  operatorOf,
});

function loads({ nodes, tasks }: Assignment): number[] {
  const counts = new Map<NodeId, number>(nodes.map((id) => [id, 0]));
  for (const task of tasks) for (const id of task.nodes) counts.set(id, (counts.get(id) ?? 0) + 1);
  return [...counts.values()];
}

describe('the draw', () => {
  it('gives every task different nodes of the closed set, as many as the redundancy where there are enough', () => {
    fc.assert(
      fc.property(inputs, (draw) => {
        const { nodes, tasks } = drawAssignment(draw);
        expect(nodes).toEqual(draw.nodes.toSorted());
        for (const task of tasks) {
          expect(task.nodes).toHaveLength(Math.min(draw.redundancy, draw.nodes.length));
          expect(new Set(task.nodes).size).toBe(task.nodes.length);
          for (const id of task.nodes) expect(nodes).toContain(id);
        }
      }),
    );
  });

  it('loads nobody with more than two slots above anybody else, and equally where tasks divide', () => {
    fc.assert(
      fc.property(inputs, (draw) => {
        const counts = loads(drawAssignment(draw));
        expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(2);
      }),
      { numRuns: 1000 },
    );
  });

  it('does not depend on the order of the nodes and gives the same again', () => {
    fc.assert(
      fc.property(inputs, fc.infiniteStream(fc.nat()), (draw, keys) => {
        const order = new Map(draw.nodes.map((id) => [id, keys.next().value]));
        const mixed = draw.nodes.toSorted((a, b) => (order.get(a) ?? 0) - (order.get(b) ?? 0));
        expect(drawAssignment({ ...draw, nodes: mixed })).toEqual(drawAssignment(draw));
        expect(nodeSetRoot(mixed)).toBe(nodeSetRoot(draw.nodes));
      }),
    );
  });

  it('lets every node meet every other: partners follow from the beacon', () => {
    const partners = new Set<string>();
    for (let beacon = 0; beacon < 150; beacon++) {
      const { tasks } = drawAssignment({
        job,
        round: 0,
        nodes: nodeIds(6),
        beacon: root(beacon),
        base: cid(1),
        redundancy: 2,
        slots: [{ sampleCount: 1, slotState: null }],
      });
      partners.add(tasks[0]?.nodes.toSorted().join() ?? '');
    }
    expect(partners.size).toBe(15);
  });

  it('refuses an empty node set', () => {
    expect(() => drawAssignment({ job, round: 0, nodes: [], beacon: root(1), base: cid(1), redundancy: 3, slots: [] })).toThrow(
      'empty node set',
    );
  });

  it('names substitutes in an order of all nodes that differs from task to task', () => {
    const nodes = nodeIds(9);
    const orders = [0, 1, 2].map((task) => substituteOrder(nodes, root(5), task));
    for (const order of orders) expect(order.toSorted()).toEqual(nodes.toSorted());
    expect(new Set(orders.map((order) => order.join())).size).toBe(3);
    expect(substituteOrder(nodes.toReversed(), root(5), 0)).toEqual(orders[0]);
  });
});

describe('an assignment on chain', () => {
  it('proves every slot to the contract, and no slot for another node or another account', () => {
    fc.assert(
      fc.property(inputs, fc.nat(), (draw, pick) => {
        const assignment = drawAssignment(draw);
        const treeRoot = hexToBytes(assignmentRoot(assignment, operatorOf));
        const task = pick % assignment.tasks.length;
        for (const [slot, id] of (assignment.tasks[task]?.nodes ?? []).entries()) {
          const proof = assignmentProof(assignment, operatorOf, task, slot).map(hexToBytes);
          const leaf = (who: NodeId, at: number, operator = operatorOf(who)): Uint8Array =>
            hexToBytes(assignmentLeaf(job, draw.round, task, at, holderOf(who, operator)));
          expect(verifyKeccak(treeRoot, leaf(id, slot), proof)).toBe(true);
          expect(verifyKeccak(treeRoot, leaf(node(11), slot), proof)).toBe(false);
          expect(verifyKeccak(treeRoot, leaf(id, slot + 1), proof)).toBe(false);
          expect(verifyKeccak(treeRoot, leaf(id, slot, operatorOf(node(11))), proof)).toBe(false);
        }
      }),
      { numRuns: 50 },
    );
  });

  it('is accepted as recorded', () => {
    fc.assert(
      fc.property(inputs, (draw) => {
        const assignment = drawAssignment(draw);
        checkAssignment(assignment, recorded(draw, assignment));
      }),
      { numRuns: 50 },
    );
  });

  const draw: DrawInputs = {
    job,
    round: 4,
    nodes: nodeIds(6),
    beacon: root(9),
    base: cid(1),
    redundancy: 3,
    slots: [
      { sampleCount: 5, slotState: null },
      { sampleCount: 6, slotState: cid(11) },
    ],
  };
  const assignment = drawAssignment(draw);
  const withTask = (index: number, change: Partial<Assignment['tasks'][number]>): Assignment => {
    const task = assignment.tasks[index];
    if (task === undefined) throw new Error('no such task');
    return { ...assignment, tasks: assignment.tasks.with(index, { ...task, ...change }) };
  };
  const tampered: readonly (readonly [string, Assignment])[] = [
    ['job', { ...assignment, job: root(3) as string as typeof job }],
    ['round', { ...assignment, round: 5 }],
    ['beacon', { ...assignment, beacon: root(10) }],
    ['base', { ...assignment, base: cid(2) }],
    ['node set root', { ...assignment, nodes: assignment.nodes.slice(1) }],
    ['node set root', { ...assignment, nodes: [...assignment.nodes, node(0)].sort() }],
    ['node set root', { ...assignment, nodes: [...assignment.nodes, assignment.nodes[5] as NodeId] }],
    ['number of tasks', { ...assignment, tasks: assignment.tasks.slice(1) }],
    ['number of tasks', { ...assignment, tasks: [...assignment.tasks, ...assignment.tasks] }],
    ["task 0's nodes", withTask(0, { nodes: assignment.tasks[0]?.nodes.toReversed() ?? [] })],
    ["task 1's nodes", withTask(1, { nodes: assignment.tasks[0]?.nodes ?? [] })],
    ["task 1's sample count", withTask(1, { sampleCount: 7 })],
    ["task 0's slot state", withTask(0, { slotState: cid(12) })],
    ["task 1's slot state", withTask(1, { slotState: null })],
  ];
  for (const [what, forged] of tampered) {
    it(`is refused where the ${what} is changed, even with a root recorded for it`, () => {
      for (const rootOf of [assignment, forged]) {
        try {
          checkAssignment(forged, { ...recorded(draw, assignment), assignmentRoot: assignmentRoot(rootOf, operatorOf) });
          expect.unreachable('the forged assignment passed');
        } catch (error) {
          expect(error).toBeInstanceOf(MusterError);
          expect(error).toMatchObject({ code: 'ASSIGNMENT_WRONG', details: { job, round: 4, what } });
        }
      }
    });
  }

  it('is refused under another recorded root', () => {
    expect(() => checkAssignment(assignment, { ...recorded(draw, assignment), assignmentRoot: root(1) })).toThrow('assignment root');
  });

  const moved: OperatorOf = (id) => (id === assignment.tasks[0]?.nodes[0] ? operatorOf(node(11)) : operatorOf(id));

  it('is refused where a node is operated by another account than the root says', () => {
    expect(() => checkAssignment(assignment, { ...recorded(draw, assignment), operatorOf: moved })).toThrow('assignment root');
  });

  it('is refused when the node set is listed in another order', () => {
    const forged = { ...assignment, nodes: assignment.nodes.toReversed() };
    expect(() => checkAssignment(forged, recorded(draw, assignment))).toThrow('node order');
  });
});

const commit = (
  change: Partial<{ job: Root; round: number; task: number; slot: number; node: NodeId; operator: Address; salt: Root; result: Root }>,
): Root => {
  const given = { job: root(1), round: 2, task: 3, slot: 1, node: node(0), operator: operatorOf(node(0)), salt: root(4), result: root(5) };
  const parts = { ...given, ...change };
  const holder = holderOf(parts.node, parts.operator);
  return commitmentOf(parts.job as string as typeof job, parts.round, parts.task, parts.slot, holder, parts.salt, parts.result);
};

describe('a commitment', () => {
  it('differs for every part that it binds', () => {
    const changes = [
      {},
      { job: root(9) },
      { round: 3 },
      { task: 2 },
      { slot: 2 },
      { node: node(1) },
      { operator: operatorOf(node(1)) },
      { salt: root(8) },
      { result: root(7) },
    ];
    expect(new Set(changes.map(commit)).size).toBe(changes.length);
    expect(commit({})).toBe(commit({}));
  });

  it('has a salt label of its own for every slot', () => {
    const labels = [
      saltLabel(job, 1, 11, 1),
      saltLabel(job, 11, 1, 1),
      saltLabel(job, 1, 1, 11),
      saltLabel(root(2) as string as typeof job, 1, 11, 1),
    ];
    expect(new Set(labels).size).toBe(4);
  });
});

describe('pinned assignments', () => {
  const folder = new URL('../../../vectors/assign/', import.meta.url);
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.json'))) {
    it(`${name} is what the draw gives`, () => {
      const {
        inputs: given,
        operators,
        expected,
      } = JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as {
        inputs: DrawInputs;
        operators: Record<NodeId, Address>;
        expected: Record<string, unknown>;
      };
      const assignment = drawAssignment(given);
      const pinned: OperatorOf = (id) => operators[id] ?? ('0x' as Address);
      expect({
        tasks: assignment.tasks.map((task) => task.nodes),
        nodeSetRoot: nodeSetRoot(given.nodes),
        assignmentRoot: assignmentRoot(assignment, pinned),
        proofs: assignment.tasks.map((task, index) => task.nodes.map((_, slot) => assignmentProof(assignment, pinned, index, slot))),
        substitutes: assignment.tasks.map((_, task) => substituteOrder(given.nodes, given.beacon, task)),
      }).toEqual(expected);
    });
  }
});
