/**
 * What the coordinator tells whoever asks: jobs, tasks that wait for a verdict, refused requests.
 */
import type { EventLog } from '@muster/ports';
import { type CidText, decodeCanonical, decodeLinked, type JobId, objectKinds, type Root } from '@muster/protocol';
import type { ReadBlock, TaskState } from '@muster/round';
import type { JobRunner } from './job-runner.ts';

/** How many refusals `GET /v1/refusals` shows. */
const shownRefusals = 200;

/** The newest refused requests, oldest first. */
export async function newestRefusals(log: EventLog): Promise<unknown[]> {
  const newest: unknown[] = [];
  for (let after = 0; ;) {
    const entries = await log.read('refusals', after, 1000);
    if (entries.length === 0) return newest.slice(-shownRefusals);
    for (const { bytes, timeMs, sequence } of entries) {
      newest.push({ timeMs, ...(decodeCanonical(bytes) as object) });
      after = sequence;
    }
    newest.splice(0, Math.max(0, newest.length - shownRefusals));
  }
}

/** One line about a job. */
export function summaryOf({ state }: JobRunner): Record<string, unknown> {
  const { job, spec, status, round, base, trainers, slashed, replaced } = state;
  return {
    job,
    name: spec.name,
    state: status,
    round: round?.round ?? (base === null ? 0 : spec.rounds),
    rounds: spec.rounds,
    phase: round?.phase ?? null,
    trainers: trainers.length,
    slashed,
    replaced,
    model: base?.parameters ?? null,
    checkpoint: base?.checkpoint ?? null,
  };
}

/** The summary with spec, checkpoints and the tasks of the round under way. */
export async function detailOf(runner: JobRunner, read: ReadBlock): Promise<Record<string, unknown>> {
  const { state } = runner;
  const checkpoints = [];
  for (let cid = state.base?.checkpoint ?? null; cid !== null;) {
    const checkpoint = decodeLinked(objectKinds.checkpoint, await read(cid));
    const { round, evaluation, tasks, previous } = checkpoint;
    const accuracy = evaluation.records === 0 ? null : evaluation.correct / evaluation.records;
    checkpoints.unshift({ round, checkpoint: cid, model: checkpoint.parameters, loss: evaluation.loss, accuracy, tasks: tasks.length });
    cid = previous;
  }
  const tasks = state.round?.tasks.map(({ phase, slots }) => ({
    phase,
    slots: slots.map((slot) => ({
      node: slot.node,
      phase: slot.phase,
      opened: slot.opened !== null,
      revealed: slot.revealedRoot !== null,
      convicted: slot.convicted,
    })),
  }));
  return { ...summaryOf(runner), spec: state.spec, checkpoints, tasks: tasks ?? [] };
}

/** A task that waits for a verdict, with what its nodes have shown: in batches the chain does not say it. */
export interface WantedVerdict {
  readonly job: JobId;
  readonly round: number;
  readonly task: number;
  readonly shown: readonly { readonly resultRoot: Root; readonly resultCid: CidText | null }[];
}

export function wantedVerdicts(runners: Iterable<JobRunner>): WantedVerdict[] {
  return [...runners].flatMap(({ state: { job, round } }) =>
    round === null
      ? []
      : round.tasks.flatMap((task, index) =>
          task.phase === 'judge' && task.verdict === null ? [{ job, round: round.round, task: index, shown: shownIn(task) }] : [],
        ),
  );
}

const shownIn = ({ slots }: TaskState): WantedVerdict['shown'] =>
  slots.flatMap(({ revealedRoot, opened }) =>
    revealedRoot === null ? [] : [{ resultRoot: revealedRoot, resultCid: opened?.resultCid ?? null }],
  );
