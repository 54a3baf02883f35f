/**
 * What holds in every state the job machine can reach.
 *
 * Tests and the simulator call it after every step. It re-states the rules from the outside: nothing here decides anything.
 */
import { dutiesOf, dutyKey } from './duties.ts';
import { nextDeadline } from './job.ts';
import type { JobState, RoundPhase, RoundState, TaskState } from './state.ts';
import { majority } from './validate.ts';

const phaseOrder: readonly RoundPhase[] = ['gather', 'close', 'draw', 'assign', 'work', 'aggregate', 'finalize', 'publish'];

/** Sentences about what is broken in `state`; empty when nothing is. */
export function checkInvariants(state: JobState): string[] {
  const broken: string[] = [];
  const require = (holds: boolean, sentence: string): void => {
    if (!holds) broken.push(sentence);
  };
  const { status, spec, trainers, slashed, base, round } = state;
  require(trainers.every(
    (node, index) => index === 0 || (trainers[index - 1] ?? '') < node,
  ), 'present trainers are not strictly ascending');
  require(new Set(slashed).size === slashed.length, 'a node is listed as slashed twice');
  for (const node of slashed) require(!trainers.includes(node), `slashed node ${node} is present`);
  require((status === 'paused') === (state.pausedAt !== null), `the job is ${status}, but its pause began at ${state.pausedAt}`);
  require(base !== null || round === null, 'a round runs before the job is prepared');
  require(base === null || state.shardSizes.length === spec.tasks, `${state.shardSizes.length} shards for ${spec.tasks} tasks`);
  require(state.slotStates.length === spec.tasks, `${state.slotStates.length} carried states for ${spec.tasks} tasks`);

  const duties = dutiesOf(state);
  require(new Set(duties.map(dutyKey)).size === duties.length, 'a duty is listed twice');
  if (status === 'stopped' || status === 'completed') {
    require(round === null, `the job is ${status} and a round runs`);
    require(duties.length === 0, `the job is ${status} and something is due`);
    require(nextDeadline(state) === null, `the job is ${status} and a deadline runs`);
  }
  if (status === 'paused') require(nextDeadline(state) === null, 'the job is paused and a deadline runs');
  if (round !== null) broken.push(...checkRound(state, round));
  return broken;
}

function checkRound(state: JobState, round: RoundState): string[] {
  const broken: string[] = [];
  const reached = (phase: RoundPhase): boolean => phaseOrder.indexOf(round.phase) >= phaseOrder.indexOf(phase);
  const require = (holds: boolean, sentence: string): void => {
    if (!holds) broken.push(`round ${round.round}, ${round.phase}: ${sentence}`);
  };
  require(round.round < state.spec.rounds, `the job has ${state.spec.rounds} rounds`);
  require(round.nodes.length >= (reached('close') ? state.spec.minimumNodes : 0), `${round.nodes.length} nodes are closed`);
  require(reached('close') || round.nodes.length === 0, 'nodes are closed while gathering');
  require((round.beacon !== null) === reached('assign'), `the beacon is ${round.beacon}`);
  require((round.assignmentCid !== null) === reached('work'), `the assignment is ${round.assignmentCid}`);
  require(round.tasks.length === (reached('work') ? state.spec.tasks : 0), `${round.tasks.length} tasks`);
  require((round.checkpoint !== null) === reached('finalize'), `the checkpoint is ${round.checkpoint}`);
  for (const [index, task] of round.tasks.entries()) {
    for (const sentence of checkTask(state, task)) require(false, `task ${index}, ${task.phase}: ${sentence}`);
    if (reached('aggregate')) require(task.phase === 'accepted' || task.phase === 'failed', `task ${index} is still in ${task.phase}`);
  }
  return broken;
}

function checkTask(state: JobState, task: TaskState): string[] {
  const broken: string[] = [];
  const require = (holds: boolean, sentence: string): void => {
    if (!holds) broken.push(sentence);
  };
  const { redundancy } = state.spec;
  const { slots, verdict, accepted } = task;
  require(slots.length >= 1 && slots.length <= redundancy, `${slots.length} slots, redundancy ${redundancy}`);
  const committed = slots.filter(({ phase }) => phase === 'committed').map(({ node }) => node);
  require(new Set(committed).size === committed.length, 'a node has committed for two slots');
  const substitutes = slots.flatMap(({ substitute }) => (substitute === null ? [] : [substitute]));
  require(new Set(substitutes).size === substitutes.length, 'a node is to take over two slots');

  const open = task.phase === 'commit' || task.phase === 'closing';
  for (const [index, slot] of slots.entries()) {
    const { node, phase, substitute, opened, revealedRoot, convicted } = slot;
    if (substitute !== null) {
      require(task.phase === 'commit' && phase === 'working', `slot ${index} is ${phase} and has a substitute`);
      require(state.trainers.includes(substitute), `the substitute of slot ${index} is not present`);
      require(!slots.some((other) => other.node === substitute), `the substitute of slot ${index} already holds a slot`);
    }
    require(!open || (opened === null && revealedRoot === null), `slot ${index} shows a result while commits are open`);
    require(!open || phase !== 'silent', `slot ${index} is silent while commits are open`);
    require(task.phase !== 'reveal' || phase !== 'working', `slot ${index} works after commits were closed`);
    require(phase !== 'working' || (opened === null && revealedRoot === null), `slot ${index} shows a result without a commitment`);
    if (convicted) {
      require(verdict !== null, `${node} is convicted without a verdict`);
      require(revealedRoot !== null &&
        revealedRoot !== verdict?.resultRoot, `${node} is convicted though the verdict does not contradict it`);
    }
  }

  require((task.phase === 'accepted') === (accepted !== null), 'accepted without a result, or a result without acceptance');
  require(task.phase !== 'failed' || verdict === null, 'a judged task failed');
  if (accepted !== null) {
    const winner = majority(slots, redundancy);
    if (verdict !== null) require(accepted.resultRoot === verdict.resultRoot, 'the accepted result is not the verdict');
    else require(winner?.resultRoot === accepted.resultRoot, 'accepted without majority or verdict');
    require(accepted.evidence === '0x'
      ? winner?.resultRoot === accepted.resultRoot
      : verdict !== null, 'the evidence does not fit the result');
  }
  return broken;
}
