/**
 * Actions around jobs: the step that moves a job on, and steps that come too early, too late or from the wrong place.
 */
import type { Hex } from 'viem';
import type { Actor, Question, Reply } from './economy.ts';
import type { Action, Dice, Outcome } from './history.ts';
import { type Accepted, assignment, commit, convict, finalize, plainTerms, reportUnrevealed, reveal, submitJob } from './steps.ts';
import {
  hashOf,
  JobStatus,
  keyOf,
  offencesOfResults,
  type Place,
  type PlannedJob,
  results,
  SlotStatus,
  type Terms,
  type World,
  zeroWord,
} from './world.ts';

const MOST_JOBS = 12;
const ETHER = 10n ** 18n;

/** A refusal must be one of the contracts' own errors, never a panic such as an overflow. A forwarder hides them all behind its own. */
export function outcomeOf(reply: Reply): Outcome {
  if (reply.taken) return 'accepted';
  if (['Panic', 'Error', ''].includes(reply.error)) throw new Error(`refused with ${reply.error || 'no reason'}`);
  return 'refused';
}

/** An action that makes one call, or none where `plan` finds nothing to do. */
export function calling(
  name: string,
  weight: number,
  plan: (world: World, dice: Dice) => Promise<readonly [Actor, string, string, readonly unknown[], bigint?] | null>,
): Action<World> {
  return {
    name,
    weight,
    async play(world, dice) {
      const planned = await plan(world, dice);
      return planned === null ? 'idle' : outcomeOf(await world.economy.call(...planned));
    },
  };
}

function plannedTerms(world: World, dice: Dice): Terms {
  const kind = dice.below(3);
  return plainTerms(world, {
    specCid: hashOf(`spec ${dice.below(5)}`),
    rounds: BigInt(1 + dice.below(3)),
    tasks: kind === 2 ? 1 : 2 + dice.below(2),
    redundancy: 1 + dice.below(4),
    kind,
    minParticipants: dice.below(4),
    reward: {
      model: dice.below(4),
      scoreTotal: 1 + dice.below(12),
      gpuSecondsPerTask: 1 + dice.below(400),
      batchSize: 1 << dice.below(9),
      stepsPerTask: 1 + dice.below(10),
      bonusBasisPoints: dice.below(10_001),
      targetGainBasisPoints: 1 + dice.below(500),
    },
  });
}

async function submit(world: World, dice: Dice): Promise<Outcome> {
  if (world.jobs.length >= MOST_JOBS) return 'idle';
  const owner = dice.chance(1, 3) ? world.people.hostileOwner : world.people.owner;
  const budgetWei = BigInt(dice.below(3)) * ETHER + BigInt(dice.below(1000));
  // Mostly another node in every slot of a task; sometimes the same one twice, which must not be paid twice.
  const seating = { first: dice.below(world.nodes.length), distance: dice.chance(1, 5) ? 0 : 1 };
  return outcomeOf((await submitJob(world, owner, plannedTerms(world, dice), budgetWei, seating)).reply);
}

/** Commits as the seat's operator; two in three to the right result. */
const commitSomething = (world: World, place: Place, dice: Dice): Promise<Reply> =>
  commit(world, place, dice.chance(2, 3) ? results[0] : results[1]);

const revealCommitted = (world: World, place: Place): Promise<Reply> =>
  reveal(world, place, world.commitments.get(keyOf(place)) ?? results[0]);

const convictSomehow = (world: World, place: Place, root: Hex, dice: Dice): Promise<Reply> =>
  convict(world, place, root, dice.pick(offencesOfResults), dice.chance(1, 3) ? world.people.validator : world.people.outsider);

/** Finalizes with what has a majority or a verdict, and now and then with what has not. */
async function finalizeMostly(world: World, job: PlannedJob, round: number, dice: Dice): Promise<Reply> {
  const accepted: Accepted[] = [];
  const slots = await world.slots(job, round);
  const verdicts = await world.economy.read(
    slots.map((_, task): Question => ['proofOfCompute', 'verdictOf', [job.id, BigInt(round), task]]),
  );
  let scoreLeft = Number(job.terms.reward['scoreTotal']);
  for (const [task, row] of slots.entries()) {
    const votes = row.flatMap((status, slot) =>
      status === SlotStatus.Revealed ? [world.commitments.get(keyOf({ job, round, task, slot }))] : [],
    );
    const majority = results.find((root) => 2 * votes.filter((vote) => vote === root).length > row.length);
    const named = verdicts[task] === zeroWord ? majority : (verdicts[task] as Hex);
    const evidence = dice.chance(1, 6) ? await world.evidence({ job, round, task }, named ?? results[0], 3) : '0x';
    // Now and then a task is left out although it has a result, or named although it has none.
    if (dice.chance(1, 8) === (named !== undefined || evidence !== '0x')) continue;
    const score = dice.chance(1, 60) ? 1_000 : dice.below(Math.floor(scoreLeft / (slots.length - task)) + 1);
    scoreLeft -= score;
    accepted.push({ task, score, resultRoot: named ?? dice.pick(results), evidence });
  }
  return finalize(world, job, round, dice.below(10_001), accepted);
}

/** The next step of a job as its people would take it. */
async function progress(world: World, dice: Dice): Promise<Outcome> {
  const open = await world.openJobs();
  if (open.length < 2 && world.jobs.length < MOST_JOBS) return submit(world, dice);
  if (open.length === 0) return 'idle';
  const job = dice.pick(open);
  const { economy, people } = world;
  const { status, nextRound, rounds } = await world.job(job.id);
  const round = Number(nextRound);
  if (status === JobStatus.Paused) return outcomeOf(await economy.call(people.coordinator, 'jobManager', 'resumeJob', [job.id]));
  if (status !== JobStatus.Running) return 'idle';
  if (nextRound === rounds) return outcomeOf(await economy.call(people.outsider, 'jobManager', 'completeJob', [job.id]));
  const [state] = (await economy.read([['jobManager', 'round', [job.id, nextRound]]])) as [{ closedBlock: bigint; assigned: boolean }];
  const closeNodes = () => economy.call(people.coordinator, 'jobManager', 'closeNodes', [job.id, nextRound, zeroWord, world.nodes.length]);
  if (state.closedBlock === 0n) return outcomeOf(await closeNodes());
  if (!state.assigned) {
    const assigned = await economy.call(people.coordinator, 'jobManager', 'assign', assignment(world, job, round));
    return outcomeOf(assigned.taken ? assigned : await closeNodes());
  }
  const slots = await world.slots(job, round);
  for (const [task, row] of slots.entries()) {
    const empty = row.findIndex((slot) => slot === SlotStatus.Empty || slot === SlotStatus.Reassigned);
    if (empty >= 0) {
      if (dice.chance(1, 9))
        return outcomeOf(await economy.call(people.outsider, 'proofOfCompute', 'closeCommits', [job.id, nextRound, task]));
      const committed = await commitSomething(world, { job, round, task, slot: empty }, dice);
      // A node that has left cannot commit, so somebody closes the task without it.
      return outcomeOf(
        committed.taken ? committed : await economy.call(people.outsider, 'proofOfCompute', 'closeCommits', [job.id, nextRound, task]),
      );
    }
    const hidden = row.indexOf(SlotStatus.Committed);
    if (hidden >= 0 && !dice.chance(1, 6)) {
      const revealed = outcomeOf(await revealCommitted(world, { job, round, task, slot: hidden }));
      if (revealed === 'accepted') return revealed;
    }
  }
  const cheats = slots.flatMap((row, task) =>
    row.flatMap((slot, index) => (slot === SlotStatus.Revealed ? [{ job, round, task, slot: index }] : [])),
  );
  const cheat = cheats.find((place) => world.commitments.get(keyOf(place)) === results[1]);
  if (cheat !== undefined && dice.chance(1, 2)) return outcomeOf(await convictSomehow(world, cheat, results[0], dice));
  return outcomeOf(await finalizeMostly(world, job, round, dice));
}

/** What is left to do for a job that was cancelled or has failed: pay for what was done, report what was not, release the rest. */
async function aftermath(world: World, dice: Dice): Promise<Outcome> {
  const { economy, people } = world;
  const open = await world.openJobs();
  const ended = world.jobs.filter((job) => !open.includes(job));
  if (ended.length === 0) {
    if (open.length === 0 || dice.chance(3, 4)) return 'idle';
    await economy.chain.elapse(Number(open[0]?.terms.roundTimeout) + 1);
    return outcomeOf(await economy.call(people.outsider, 'jobManager', 'failJob', [dice.pick(open).id]));
  }
  const job = dice.pick(ended);
  const { nextRound, rounds, reserve } = await world.job(job.id);
  const round = Number(nextRound < rounds ? nextRound : rounds - 1n);
  const slots = await world.slots(job, round);
  const task = dice.below(slots.length);
  const row = slots[task] ?? [];
  const hidden = row.indexOf(SlotStatus.Committed);
  if (hidden >= 0 && dice.chance(1, 2)) {
    const place = { job, round, task, slot: hidden };
    if (dice.chance(1, 2)) return outcomeOf(await revealCommitted(world, place));
    return outcomeOf(await reportUnrevealed(world, place, anybody(world, dice)));
  }
  const root = row.includes(SlotStatus.Revealed)
    ? world.commitments.get(keyOf({ job, round, task, slot: row.indexOf(SlotStatus.Revealed) }))
    : undefined;
  if (root !== undefined && dice.chance(3, 4)) {
    return outcomeOf(await economy.call(people.outsider, 'proofOfCompute', 'settleTask', [job.id, BigInt(round), task, root]));
  }
  if (reserve === 0n) return 'idle';
  return outcomeOf(await economy.call(people.outsider, 'jobManager', 'releaseReserve', [job.id]));
}

/** An action at some place, by `act`. */
const atPlace = (name: string, weight: number, act: (world: World, place: Place, dice: Dice) => Promise<Reply>): Action<World> => ({
  name,
  weight,
  async play(world, dice) {
    const place = await world.place(dice);
    return place === null ? 'idle' : outcomeOf(await act(world, place, dice));
  },
});

/** A call about some job, by somebody. */
const aboutJob = (functionName: string, weight: number, by: (world: World, dice: Dice) => Actor): Action<World> =>
  calling(functionName, weight, (world, dice) => {
    if (world.jobs.length === 0) return Promise.resolve(null);
    return Promise.resolve([by(world, dice), 'jobManager', functionName, [dice.pick(world.jobs).id]] as const);
  });

const anybody = (world: World, dice: Dice): Actor => dice.pick(world.everybody);

/** Everything that can be done with jobs. */
export const workActions: readonly Action<World>[] = [
  { name: 'progress', weight: 600, play: progress },
  { name: 'aftermath', weight: 60, play: aftermath },
  { name: 'submitJob', weight: 20, play: submit },
  aboutJob('pauseJob', 5, (world) => world.people.coordinator),
  aboutJob('resumeJob', 5, anybody),
  aboutJob('cancelJob', 6, (world, dice) => dice.pick([world.people.owner, world.people.hostileOwner])),
  aboutJob('failJob', 25, anybody),
  aboutJob('completeJob', 4, anybody),
  aboutJob('releaseReserve', 10, anybody),
  atPlace('commit', 10, commitSomething),
  atPlace('reveal', 10, revealCommitted),
  atPlace('convict', 15, (world, place, dice) => convictSomehow(world, place, dice.pick(results), dice)),
  atPlace('finalize', 5, (world, { job, round }, dice) => finalizeMostly(world, job, round, dice)),
  atPlace('closeCommits', 8, (world, { job, round, task }, dice) =>
    world.economy.call(anybody(world, dice), 'proofOfCompute', 'closeCommits', [job.id, BigInt(round), task]),
  ),
  calling('creditNodes', 25, (world, dice) => {
    const paid = world.economy.events.filter(({ event }) => event === 'RewardCredited');
    if (paid.length === 0) return Promise.resolve(null);
    const places = Array.from({ length: 1 + dice.below(3) }, () => {
      const { job, round, task, slot } = dice.pick(paid).args;
      // Now and then the slot beside it, which may not be paid.
      return { jobId: job, round, task, slot: dice.chance(1, 9) ? Number(slot) + 1 : slot };
    });
    return Promise.resolve([anybody(world, dice), 'proofOfCompute', 'creditNodes', [places]] as const);
  }),
  atPlace('settleTask', 15, (world, { job, round, task }, dice) =>
    world.economy.call(anybody(world, dice), 'proofOfCompute', 'settleTask', [job.id, BigInt(round), task, dice.pick(results)]),
  ),
  atPlace('reportUnrevealed', 10, (world, place, dice) => reportUnrevealed(world, place, anybody(world, dice))),
  atPlace('reassign', 6, async (world, place, dice) => {
    const { job, round, task, slot } = place;
    const node = dice.pick(world.nodes);
    const reply = await world.economy.call(world.people.coordinator, 'jobManager', 'reassign', [job.id, BigInt(round), task, slot, node]);
    if (reply.taken) world.reassigned.set(keyOf(place), node);
    return reply;
  }),
];
