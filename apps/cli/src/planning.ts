/**
 * From an estimate and a machine to a verdict: time, traffic, and what would make it fit. Pure; `commands/plan.ts` measures and prints.
 * Rules: `docs/spec/19-planner.md`.
 */
import type { ModelEstimate, StepMemory } from '@muster/models';

export interface Schedule {
  /** Optimizer steps of one task. */
  readonly steps: number;
  /** Rounds of the job; null: as many as a month has room for. */
  readonly rounds: number | null;
  /** Bits per second, the same up and down. */
  readonly bitsPerSecond: number;
  readonly roundTimeoutSeconds: number;
}

export interface Limits {
  readonly memoryBytes: number;
  readonly executorBytes: number;
  /** What the executor takes beside a program, and the process before it has one. */
  readonly overheadBytes: number;
  readonly processBytes: number;
}

export interface Traffic {
  readonly downBytes: number;
  readonly upBytes: number;
}

export type Verdict = 'can' | 'tight' | 'cannot';

export interface Plan {
  readonly verdict: Verdict;
  readonly reasons: readonly string[];
  readonly remedies: readonly string[];
  readonly stepSeconds: number;
  readonly rematerialise: boolean;
  /** Memory of the step's program. */
  readonly neededBytes: number;
  /** Memory of the whole process at its fullest. */
  readonly processBytes: number;
  readonly taskSeconds: number;
  readonly transferSeconds: number;
  readonly roundSeconds: number;
  readonly rounds: number;
  readonly totalSeconds: number;
  readonly perRound: Traffic;
  readonly perMonth: Traffic;
  /** What an update would take in forms that are planned and not built, by rule. */
  readonly plannedUpdateBytes: { readonly int8: number; readonly topPercent: number };
}

const monthSeconds = 30 * 86_400;
/** Part of a machine's memory that training may take, the rest being the system's, and the part above which it is tight. */
const usableShare = 0.8;
const easyShare = 0.6;
/** Part of a round's deadline that a task may take without being tight. */
const easyTime = 0.5;

/**
 * What a task holds beside its step: base, final state, update and its encoding, frozen weights, and the program that makes the update
 * (base, final parameters, update).
 */
export function taskBytes({ parameters, optimizer, given }: StepMemory): number {
  return 7 * parameters + optimizer + given;
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toPrecision(3)} GB`;

/** A round: fetch the base, train, store the update. */
export function planOf(estimate: ModelEstimate, stepSeconds: number, schedule: Schedule, limits: Limits): Plan {
  const { memory, rematerialised, cost } = estimate;
  const outside = limits.processBytes + limits.overheadBytes + taskBytes(memory);
  const room = (beside: number): number => Math.max(Math.min(limits.memoryBytes * usableShare - beside, limits.executorBytes), 0);
  const usable = room(outside);
  const fitsPlainly = memory.total <= usable;
  const fitsLean = rematerialised.memory.total <= usable;
  const rematerialise = !fitsPlainly && fitsLean;
  const seconds = rematerialise ? stepSeconds * (rematerialised.flops / cost.flops) : stepSeconds;
  const neededBytes = rematerialise ? rematerialised.memory.total : memory.total;
  const perRound = { downBytes: memory.parameters, upBytes: memory.parameters };
  const transferSeconds = (8 * (perRound.downBytes + perRound.upBytes)) / schedule.bitsPerSecond;
  const taskSeconds = seconds * schedule.steps;
  const roundSeconds = taskSeconds + transferSeconds;
  const fitting = Math.floor(monthSeconds / roundSeconds);
  const rounds = schedule.rounds ?? fitting;
  const monthly = Math.min(fitting, schedule.rounds ?? fitting);
  const reasons: string[] = [];
  const remedies: string[] = [];

  let verdict: Verdict = 'can';
  const worsen = (to: Verdict): void => {
    if (to === 'cannot' || verdict === 'can') verdict = to;
  };
  if (!fitsPlainly && !fitsLean) {
    worsen('cannot');
    const what = usable === limits.executorBytes ? 'a program of the executor may take' : 'what else the trainer holds leaves it';
    reasons.push(`a step needs ${gigabytes(rematerialised.memory.total)} even when it computes values again; ${what} ${gigabytes(usable)}`);
    // Adapters are about 2 % of the parameters; the frozen ones are held once more as they were read.
    const adaptedTask = memory.parameters * (1 + 7 * 0.02);
    const adapted = memory.parameters * 1.02 + memory.given + rematerialised.memory.activations;
    remedies.push(
      adapted <= room(outside - taskBytes(memory) + adaptedTask)
        ? `LoRA (\`--lora 16\`): frozen parameters once and small adapters need about ${gigabytes(adapted)}`
        : `LoRA would still need about ${gigabytes(adapted)}: a smaller model, or a machine with more memory`,
    );
    if (rematerialised.memory.activations > 0.2 * rematerialised.memory.total)
      remedies.push('a smaller batch, or micro-batches (`accumulation`)');
  } else if (rematerialise) {
    worsen('tight');
    reasons.push(`fits only by computing values again: ${gigabytes(neededBytes)} instead of ${gigabytes(memory.total)}`);
    remedies.push('a smaller batch, or micro-batches (`accumulation`), avoids that');
  } else if (memory.total > usable * (easyShare / usableShare)) {
    worsen('tight');
    reasons.push(`a step takes ${gigabytes(memory.total)} of ${gigabytes(usable)}`);
    remedies.push('a smaller batch, or micro-batches (`accumulation`)');
  }
  if (roundSeconds > schedule.roundTimeoutSeconds) {
    const steps = Math.floor((schedule.roundTimeoutSeconds * easyTime - transferSeconds) / seconds);
    worsen('cannot');
    reasons.push(`a round takes ${duration(roundSeconds)}, its deadline is ${duration(schedule.roundTimeoutSeconds)}`);
    remedies.push(
      steps >= 1
        ? `at most ${steps} steps per task (\`localSteps\`), or a later deadline (\`roundTimeoutMs\`)`
        : `a deadline (\`roundTimeoutMs\`) of ${duration(roundSeconds / easyTime)}, a smaller model, or more bandwidth`,
    );
  } else if (roundSeconds > easyTime * schedule.roundTimeoutSeconds) {
    worsen('tight');
    reasons.push(`a round takes ${duration(roundSeconds)} of its ${duration(schedule.roundTimeoutSeconds)}`);
    remedies.push('fewer steps per task (`localSteps`) or a later deadline (`roundTimeoutMs`)');
  }
  if (reasons.length === 0) reasons.push('memory and time suffice');
  return {
    verdict,
    reasons,
    remedies,
    stepSeconds: seconds,
    rematerialise,
    neededBytes,
    processBytes: outside + neededBytes,
    taskSeconds,
    transferSeconds,
    roundSeconds,
    rounds,
    totalSeconds: rounds * roundSeconds,
    perRound,
    perMonth: { downBytes: monthly * perRound.downBytes, upBytes: monthly * perRound.upBytes },
    plannedUpdateBytes: { int8: Math.ceil(estimate.parameters * (1 + 4 / 256)), topPercent: Math.ceil(estimate.parameters / 100) * 8 },
  };
}

/** `2 min 3 s`, `14 ms`. */
export function duration(seconds: number): string {
  if (seconds < 1) return `${(1000 * seconds).toPrecision(3)} ms`;
  const parts = [
    ['d', Math.floor(seconds / 86_400)],
    ['h', Math.floor(seconds / 3600) % 24],
    ['min', Math.floor(seconds / 60) % 60],
    ['s', seconds < 60 ? Number((seconds % 60).toPrecision(3)) : Math.floor(seconds % 60)],
  ] as const;
  const first = parts.findIndex(([, count]) => count > 0);
  return parts
    .slice(first, first + 2)
    .filter(([, count]) => count > 0)
    .map(([unit, count]) => `${count} ${unit}`)
    .join(' ');
}
