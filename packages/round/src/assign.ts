/**
 * Stage 1, assign: who executes which task, drawn from the beacon over the closed node set.
 *
 * Anyone holding the job, the node set and the beacon recomputes the assignment; a node refuses one that differs.
 * The draw deals shuffled laps of the node set to the slots, so loads differ by at most one lap and nobody can choose
 * partners. Which data and which bits belong to a task does not depend on any of this.
 */
import { indexRange, RandomStream } from '@muster/data';
import {
  type Address,
  type Assignment,
  assignmentLeaf,
  type CidText,
  hexToBytes,
  holderOf,
  type JobId,
  keccakOfWords,
  keccakProof,
  keccakRoot,
  bytesToHex,
  MusterError,
  type NodeId,
  type Root,
} from '@muster/protocol';

export interface DrawInputs {
  readonly job: JobId;
  readonly round: number;
  /** Closed node set, any order. */
  readonly nodes: readonly NodeId[];
  readonly beacon: Root;
  readonly base: CidText;
  readonly redundancy: number;
  /** Per task: records in its shard and the optimizer state its slot carries. */
  readonly slots: readonly { readonly sampleCount: number; readonly slotState: CidText | null }[];
}

/** The assignment that follows from `inputs`. With fewer nodes than the redundancy every task goes to all of them. */
export function drawAssignment(inputs: DrawInputs): Assignment {
  const nodes = inputs.nodes.toSorted();
  if (nodes.length === 0) throw new MusterError('INTERNAL', 'cannot draw from an empty node set');
  const width = Math.min(inputs.redundancy, nodes.length);
  const drawn = dealLaps(nodes, inputs.slots.length * width, width, hexToBytes(inputs.beacon));
  const tasks = inputs.slots.map(({ sampleCount, slotState }, task) => ({
    nodes: drawn.slice(task * width, (task + 1) * width),
    sampleCount,
    slotState,
  }));
  return { version: 1, job: inputs.job, round: inputs.round, nodes, beacon: inputs.beacon, base: inputs.base, tasks };
}

/** `count` nodes in shuffled laps such that every aligned group of `width` holds different nodes. */
function dealLaps(nodes: readonly NodeId[], count: number, width: number, seed: Uint8Array): NodeId[] {
  const dealt: NodeId[] = [];
  const waiting: NodeId[] = [];
  for (let lap = 0; dealt.length < count;) {
    const group = new Set(dealt.slice(dealt.length - (dealt.length % width)));
    let next = waiting.findIndex((node) => !group.has(node));
    if (next < 0) {
      waiting.push(...shuffled(nodes, seed, 'assign', lap++));
      next = waiting.findIndex((node) => !group.has(node));
    }
    dealt.push(...waiting.splice(next, 1));
  }
  return dealt;
}

/** Nodes in the order in which they take over slots of `task` that fall free, drawn from the same beacon. */
export function substituteOrder(nodes: readonly NodeId[], beacon: Root, task: number): NodeId[] {
  return shuffled(nodes.toSorted(), hexToBytes(beacon), 'substitutes', task);
}

function shuffled<T>(items: readonly T[], seed: Uint8Array, label: string, index: number): T[] {
  return Array.from(new RandomStream(seed, label, index).shuffle(indexRange(items.length)), (at) => items[at] as T);
}

/** The account that operates a node, by the chain's record. Throws where the node is not registered. */
export type OperatorOf = (node: NodeId) => Address;

/** Leaves of the on-chain assignment tree, task by task, slot by slot. */
function assignmentLeaves(assignment: Assignment, operatorOf: OperatorOf): Uint8Array[] {
  const { job, round, tasks } = assignment;
  return tasks.flatMap(({ nodes }, task) =>
    nodes.map((node, slot) => hexToBytes(assignmentLeaf(job, round, task, slot, holderOf(node, operatorOf(node))))),
  );
}

/** Root that `AIJobManager.assign` records. */
export function assignmentRoot(assignment: Assignment, operatorOf: OperatorOf): Root {
  return bytesToHex(keccakRoot(assignmentLeaves(assignment, operatorOf))) as Root;
}

/** Inclusion proof of a slot, for `ProofOfCompute.commit`. */
export function assignmentProof(assignment: Assignment, operatorOf: OperatorOf, task: number, slot: number): Root[] {
  let index = slot;
  for (const { nodes } of assignment.tasks.slice(0, task)) index += nodes.length;
  return keccakProof(assignmentLeaves(assignment, operatorOf), index).map((node) => bytesToHex(node) as Root);
}

/** Root of the closed node set that `AIJobManager.closeNodes` records before the beacon exists. */
export function nodeSetRoot(nodes: readonly NodeId[]): Root {
  return keccakOfWords(nodes.toSorted());
}

/**
 * Throws ASSIGNMENT_WRONG, naming the first difference, unless `assignment` is what the recorded facts give:
 * `nodeSetRoot` and `beacon` from the chain, shard sizes and carried state from the caller's own replay.
 */
export function checkAssignment(
  assignment: Assignment,
  expected: Omit<DrawInputs, 'nodes'> & { readonly nodeSetRoot: Root; readonly assignmentRoot: Root; readonly operatorOf: OperatorOf },
): void {
  const refuse = (what: string, found: unknown, wanted: unknown): never => {
    throw new MusterError('ASSIGNMENT_WRONG', `${what} is ${String(found)}, recorded or recomputed: ${String(wanted)}`, {
      job: expected.job,
      round: expected.round,
      what,
    });
  };
  if (assignment.job !== expected.job) refuse('job', assignment.job, expected.job);
  if (assignment.round !== expected.round) refuse('round', assignment.round, expected.round);
  if (assignment.beacon !== expected.beacon) refuse('beacon', assignment.beacon, expected.beacon);
  if (nodeSetRoot(assignment.nodes) !== expected.nodeSetRoot) refuse('node set root', nodeSetRoot(assignment.nodes), expected.nodeSetRoot);
  const drawn = drawAssignment({ ...expected, nodes: assignment.nodes });
  if (assignment.nodes.join() !== drawn.nodes.join()) refuse('node order', assignment.nodes, drawn.nodes);
  if (assignment.base !== drawn.base) refuse('base', assignment.base, drawn.base);
  if (assignment.tasks.length !== drawn.tasks.length) refuse('number of tasks', assignment.tasks.length, drawn.tasks.length);
  for (const [task, found] of assignment.tasks.entries()) {
    const wanted = drawn.tasks[task];
    if (wanted === undefined || found.nodes.join() !== wanted.nodes.join()) refuse(`task ${task}'s nodes`, found.nodes, wanted?.nodes);
    if (found.sampleCount !== wanted?.sampleCount) refuse(`task ${task}'s sample count`, found.sampleCount, wanted?.sampleCount);
    if (found.slotState !== wanted?.slotState) refuse(`task ${task}'s slot state`, found.slotState, wanted?.slotState);
  }
  const root = assignmentRoot(assignment, expected.operatorOf);
  if (root !== expected.assignmentRoot) refuse('assignment root', root, expected.assignmentRoot);
}

/** Salt of a commitment: secret to the node, the same after a restart. */
export function saltLabel(job: JobId, round: number, task: number, slot: number): string {
  return `salt/${job}/${round}/${task}/${slot}`;
}
