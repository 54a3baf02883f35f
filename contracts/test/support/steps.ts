/**
 * The steps of a job, each a call as its people make it. Used by random histories and by tests of single attacks; chooses nothing itself.
 */
import type { Hex } from 'viem';
import { type Actor, digests, type Reply } from './economy.ts';
import { hashOf, keyOf, type Place, type PlannedJob, type Terms, verdictCid, type World, zeroWord } from './world.ts';

/** Terms of a small job with equal pay for everybody; `changes` come on top. */
export function plainTerms(world: World, changes: Partial<Terms> = {}): Terms {
  const { coordinator, validator } = world.people;
  const tasks = changes.tasks ?? 1;
  return {
    specCid: hashOf('spec'),
    modelId: zeroWord,
    rounds: 1n,
    tasks,
    redundancy: 3,
    coordinator: coordinator.account,
    validator: validator.account,
    kind: 0,
    settlement: 0,
    minParticipants: 0,
    roundTimeout: 3_000n,
    reward: {
      model: 0,
      scoreTotal: tasks,
      gpuSecondsPerTask: 0,
      batchSize: 0,
      stepsPerTask: 0,
      bonusBasisPoints: 0,
      targetGainBasisPoints: 0,
    },
    ...changes,
  };
}

/** Submits a job; null where it was refused. Slot `s` of task `t` belongs to node `first + t · redundancy + s · distance`. */
export async function submitJob(
  world: World,
  owner: Actor,
  terms: Terms,
  budgetWei: bigint,
  seating: { readonly first?: number; readonly distance?: number } = {},
): Promise<{ readonly reply: Reply; readonly job: PlannedJob | null }> {
  const { first = 0, distance = 1 } = seating;
  const reply = await world.economy.call(owner, 'jobManager', 'submitJob', [terms], budgetWei);
  const submitted = reply.taken ? reply.events.find(({ event }) => event === 'JobSubmitted') : undefined;
  if (submitted === undefined) return { reply, job: null };
  const seats = Array.from({ length: terms.tasks }, (_, task) =>
    Array.from({ length: terms.redundancy }, (__, slot) => world.node(first + task * terms.redundancy + slot * distance)),
  );
  const job = { id: submitted.args['job'] as Hex, owner, terms, seats };
  world.jobs.push(job);
  return { reply, job };
}

/** A job that is there and whose first round, or `round`, is assigned. */
export async function openedJob(world: World, terms: Terms, budgetWei: bigint, first = 0): Promise<PlannedJob> {
  const { job } = await submitJob(world, world.people.owner, terms, budgetWei, { first });
  if (job === null) throw new Error('the job was refused');
  await openRound(world, job, 0);
  return job;
}

/** Node set, beacon and assignment of a round; commits close as soon as somebody says so. */
export async function openRound(world: World, job: PlannedJob, round: number): Promise<void> {
  const { economy, people } = world;
  await economy.must(people.coordinator, 'jobManager', 'closeNodes', [job.id, BigInt(round), zeroWord, world.nodes.length]);
  await economy.must(people.coordinator, 'jobManager', 'assign', assignment(world, job, round));
}

/** What `assign` takes. */
export const assignment = (world: World, job: PlannedJob, round: number): readonly unknown[] => [
  job.id,
  BigInt(round),
  world.tree(job, round).root,
  zeroWord,
  0n,
];

export const saltOf = (place: Place): Hex => hashOf(`salt ${keyOf(place)}`);

/** What the holder of a place commits to where its result is `root`. */
export function commitmentOf(world: World, place: Place, root: Hex): Hex {
  const { job, round, task, slot } = place;
  const node = world.seat(place);
  const holder = digests.holder(node, world.operatorOf(node).account);
  return digests.commitment(digests.roundKey(job.id, round), task, slot, holder, saltOf(place), root);
}

/** Commits as the place's operator, or as `by` with `commitment`. */
export async function commit(world: World, place: Place, root: Hex, by?: Actor, commitment?: Hex): Promise<Reply> {
  const { job, round, task, slot } = place;
  const node = world.seat(place);
  const args = [job.id, BigInt(round), task, slot, node, commitment ?? commitmentOf(world, place, root), world.proof(place)];
  const reply = await world.economy.call(by ?? world.operatorOf(node), 'proofOfCompute', 'commit', args);
  if (reply.taken) world.commitments.set(keyOf(place), root);
  return reply;
}

/** What `reveal` takes to open the commitment of a place to `root`. */
export function opening(world: World, place: Place, root: Hex): readonly unknown[] {
  const { job, round, task, slot } = place;
  const node = world.seat(place);
  const digestsOfProof = { lossDigest: zeroWord, gradientDigest: zeroWord, weightsDigest: zeroWord };
  const proof = { jobId: job.id, step: 1n, ...digestsOfProof, timestamp: 1n, nodePubkey: node, signature: `0x${'00'.repeat(64)}` };
  return [job.id, BigInt(round), task, slot, node, saltOf(place), root, zeroWord, proof];
}

/** Reveals as the place's operator, or as `by`. */
export function reveal(world: World, place: Place, root: Hex, by?: Actor): Promise<Reply> {
  return world.economy.call(by ?? world.operatorOf(world.seat(place)), 'proofOfCompute', 'reveal', opening(world, place, root));
}

/** Says by the validator's word that `root` is right and the place's result is not. */
export async function convict(world: World, place: Place, root: Hex, offence: number, by: Actor): Promise<Reply> {
  const { job, round, task, slot } = place;
  const evidence = await world.evidence(place, root, offence);
  const args = [job.id, BigInt(round), task, slot, world.seat(place), verdictCid, evidence];
  return world.economy.call(by, 'proofOfCompute', 'convict', args);
}

export interface Accepted {
  readonly task: number;
  readonly score: number;
  readonly resultRoot: Hex;
  readonly evidence: Hex;
}

export function finalize(world: World, job: PlannedJob, round: number, accuracy: number, accepted: readonly Accepted[]): Promise<Reply> {
  const args = [job.id, BigInt(round), zeroWord, accuracy, accepted];
  return world.economy.call(world.people.coordinator, 'proofOfCompute', 'finalize', args);
}

export function reportUnrevealed(world: World, place: Place, by: Actor): Promise<Reply> {
  const { job, round, task, slot } = place;
  const args = [job.id, BigInt(round), task, slot, world.seat(place), world.proof(place)];
  return world.economy.call(by, 'proofOfCompute', 'reportUnrevealed', args);
}
