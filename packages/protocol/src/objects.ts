/**
 * The objects a job leaves behind: each has one canonical encoding and a content id, and no optional fields.
 *
 * In memory links are their text (`CidText`); in bytes they are DAG-CBOR links, so that any IPLD tool can walk the record.
 * `docs/spec/` says which stage writes which object.
 */
import { CID } from 'multiformats/cid';
import { decodeCanonical, encodeObject } from './canonical.ts';
import type { CidText } from './ids.ts';
import {
  byteString,
  fieldError,
  finite,
  type Infer,
  integer,
  jobIdText,
  link,
  list,
  literal,
  nodeIdText,
  nullable,
  oneOf,
  rootText,
  type Schema,
  struct,
  text,
  variant,
} from './schema.ts';

export const maxTasks = 4096;
export const maxNodes = 65_536;
export const maxSteps = 1_000_000;
const maxTensors = 4096;
const uint32 = integer(0, 0xffff_ffff);

/** A share parameter in thousandths: exact in every encoding. */
const alpha: Schema<number> = (value, path) => {
  const read = finite(0.001, 1000)(value, path);
  if (Math.floor(read * 1000 + 0.5) / 1000 !== read) throw fieldError(path, 'a multiple of 0.001', value);
  return read;
};

/**
 * How a dataset's training records are divided among task slots.
 * - `equal`: shuffled, sizes differ by at most one.
 * - `dirichlet`: per class, shares over slots drawn from Dirichlet(alpha, …); small alpha = skewed.
 * - `label`: records sorted by class, cut into slots · shardsPerSlot runs, each slot dealt shardsPerSlot of them (McMahan et al. 2017).
 * - `class`: each slot gets whole classes, numbers of classes differ by at most one.
 */
export const splitSchema = variant('kind', {
  equal: struct({ kind: literal('equal') }),
  dirichlet: struct({ kind: literal('dirichlet'), alpha }),
  label: struct({ kind: literal('label'), shardsPerSlot: integer(1, 1024) }),
  class: struct({ kind: literal('class') }),
});
export type SplitSpec = Infer<typeof splitSchema>;

/** What the organizer orders. Everything that decides the resulting bits is in here. */
export const jobSpecSchema = struct({
  version: literal(1),
  name: text(200),
  model: link,
  dataset: link,
  /** Master seed: initial parameters, split and batches come from it. */
  seed: rootText,
  rounds: integer(1, 100_000),
  /** Task slots per round: fixed by the job, whoever is present. */
  tasks: integer(1, maxTasks),
  /** Nodes that execute each task. */
  redundancy: integer(1, 15),
  /** Optimizer steps per task and round. */
  localSteps: integer(1, maxSteps),
  /** A state root enters the trace every so many steps, and after the last. */
  digestInterval: integer(1, maxSteps),
  split: splitSchema,
  /** What a slot's optimizer state does between rounds. */
  slotState: oneOf('reset', 'carry'),
  /** Nodes that must be present before a round is drawn. */
  minimumNodes: integer(1, maxNodes),
  /** Share of tasks, in percent, with which a round may proceed once its deadline has passed. */
  quorumPercent: integer(1, 100),
  /** Time for a slot to commit before it is given to another node. */
  commitTimeoutMs: integer(100, 86_400_000),
  revealTimeoutMs: integer(100, 86_400_000),
  verdictTimeoutMs: integer(100, 86_400_000),
  /** After this time a round proceeds with its quorum, or ends without changing the model. */
  roundTimeoutMs: integer(100, 7 * 86_400_000),
});
export type JobSpec = Infer<typeof jobSpecSchema>;

/** Who does what in one round. Follows from beacon, node set and job; anyone recomputes it. */
export const assignmentSchema = struct({
  version: literal(1),
  job: jobIdText,
  round: uint32,
  /** The closed node set, ascending. */
  nodes: list(nodeIdText, maxNodes, 1),
  beacon: rootText,
  /** Parameters the round starts from. */
  base: link,
  tasks: list(
    struct({
      /** Nodes by slot. */
      nodes: list(nodeIdText, 15, 1),
      /** Records in the task's shard: its weight in the average. */
      sampleCount: integer(1),
      /** Optimizer state carried from the previous round; null: zeros. */
      slotState: nullable(link),
    }),
    maxTasks,
    1,
  ),
});
export type Assignment = Infer<typeof assignmentSchema>;

/** Named tensors in order; `chunks` are raw blocks of at most 1 MiB, concatenated little-endian bytes. */
export const tensorSetSchema = struct({
  version: literal(1),
  tensors: list(
    struct({
      name: text(200),
      dtype: oneOf('float32', 'int32', 'uint32', 'bool'),
      shape: list(integer(0, 0x7fff_ffff), 10),
      chunks: list(link, 65_536),
    }),
    maxTensors,
  ),
});
export type TensorSet = Infer<typeof tensorSetSchema>;

/**
 * What an execution of a task comes to: the opening of its result root.
 * A computation that is not finite ends in `fault`, which every honest execution reproduces at the same place.
 */
export const taskOutcomeSchema = variant('kind', {
  update: struct({
    kind: literal('update'),
    stateRoot: rootText,
    /** Over the update's tensors and, where the job carries them, the slot's. */
    updateRoot: rootText,
    lossRoot: rootText,
    traceRoot: rootText,
    /** State roots at every digest interval and after the last step. */
    trace: list(rootText, maxSteps, 1),
    /** Loss of every step: float32, little-endian. */
    losses: byteString(4 * maxSteps),
    update: link,
    slotState: nullable(link),
  }),
  fault: struct({
    kind: literal('fault'),
    /** Step, from 0, and operation index in the training program; null where the step's outputs are infinite. */
    step: uint32,
    operation: nullable(uint32),
  }),
});
export type TaskOutcome = Infer<typeof taskOutcomeSchema>;

/** The parts of an outcome that later stages need. A fault carries nothing to average. */
export const outcomeSummarySchema = variant('kind', {
  update: struct({ kind: literal('update'), update: link, slotState: nullable(link) }),
  fault: struct({ kind: literal('fault'), step: uint32, operation: nullable(uint32) }),
});
export type OutcomeSummary = Infer<typeof outcomeSummarySchema>;

/** What one node says it computed for one task. */
export const taskResultSchema = struct({
  version: literal(1),
  job: jobIdText,
  round: uint32,
  task: uint32,
  slot: uint32,
  node: nodeIdText,
  resultRoot: rootText,
  outcome: taskOutcomeSchema,
});
export type TaskResult = Infer<typeof taskResultSchema>;

/** A validator's finding after executing a task itself. */
export const verdictSchema = struct({
  version: literal(1),
  job: jobIdText,
  round: uint32,
  task: uint32,
  validator: nodeIdText,
  assignment: link,
  resultRoot: rootText,
  outcome: taskOutcomeSchema,
  /** What the results that differ are guilty of, at least. */
  offence: oneOf('gradientMismatch', 'invalidProof', 'fakeGradients', 'provenCheating'),
});
export type Verdict = Infer<typeof verdictSchema>;

/** What the model scores on the held-out records. */
export const evaluationSchema = struct({
  records: integer(0),
  /** Mean loss over the records, rounded to float32. */
  loss: finite(),
  /** Records classified correctly; 0 for regression. */
  correct: integer(0),
});
export type Evaluation = Infer<typeof evaluationSchema>;

/** State of the job after a round. */
export const checkpointSchema = struct({
  version: literal(1),
  job: jobIdText,
  round: uint32,
  /** Null after the first round. */
  previous: nullable(link),
  parameters: link,
  /** Accepted tasks, ascending: what was averaged with which weight. */
  tasks: list(struct({ task: uint32, weight: integer(1), resultRoot: rootText, outcome: outcomeSummarySchema }), maxTasks),
  /** What each slot carries into the next round; null: zeros. */
  slotStates: list(nullable(link), maxTasks),
  evaluation: evaluationSchema,
});
export type Checkpoint = Infer<typeof checkpointSchema>;

/** `object` of `kind` signed by `node`: Ed25519 over the object's content id. */
export const signedSchema = struct({ version: literal(1), object: link, node: nodeIdText, signature: byteString(64, true) });
export type Signed = Infer<typeof signedSchema>;

/** A kind of object: its name for messages and its schema over decoded DAG-CBOR. */
export interface ObjectKind<T> {
  readonly kind: string;
  readonly schema: Schema<T>;
}

export const objectKinds = {
  jobSpec: { kind: 'job spec', schema: jobSpecSchema },
  assignment: { kind: 'assignment', schema: assignmentSchema },
  tensorSet: { kind: 'tensor set', schema: tensorSetSchema },
  taskResult: { kind: 'task result', schema: taskResultSchema },
  verdict: { kind: 'verdict', schema: verdictSchema },
  checkpoint: { kind: 'checkpoint', schema: checkpointSchema },
  signed: { kind: 'signed object', schema: signedSchema },
} as const;

/** Canonical bytes and content id of an object whose links are text. */
export function encodeLinked(value: unknown): { readonly cid: CidText; readonly bytes: Uint8Array } {
  return encodeObject(withLinks(value));
}

/** The object of `kind` in `bytes`. Throws BYTES_* and FIELD_INVALID. */
export function decodeLinked<T>(kind: ObjectKind<T>, bytes: Uint8Array): T {
  return kind.schema(decodeCanonical(bytes), kind.kind);
}

/** `value` with every content id text turned into a link. Text that parses as a CIDv1 of ours is never used for anything else. */
function withLinks(value: unknown): unknown {
  if (typeof value === 'string') return /^baf[yk][a-z2-7]{55}$/.test(value) ? CID.parse(value) : value;
  if (value instanceof Uint8Array || value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(withLinks);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withLinks(item)]));
}
