/**
 * The closed catalogue of error codes and the one error class that carries them.
 *
 * An outcome the protocol expects (a refused submission) is returned as `Refusal` data with one of these codes; a broken
 * invariant or bad input at a boundary throws `MusterError`. The catalogue says, for people, what happened and what to do.
 */

/** What a code means to a person: `what` happened and what to `do`. HTTP adapters answer with `status`. */
export interface ErrorEntry {
  readonly status: number;
  readonly what: string;
  readonly do: string;
}

export const errorCatalogue = {
  // Decoding
  BYTES_TOO_LARGE: { status: 413, what: 'The bytes are longer than the limit.', do: 'Send less, or split it into blocks.' },
  BYTES_MALFORMED: { status: 400, what: 'The bytes are not well-formed DAG-CBOR.', do: 'Encode with the canonical DAG-CBOR rules.' },
  BYTES_NOT_CANONICAL: {
    status: 400,
    what: 'The bytes decode but are not the canonical encoding.',
    do: 'Re-encode: sorted keys, shortest lengths, no duplicates.',
  },
  FIELD_INVALID: {
    status: 400,
    what: 'A field is missing, unknown, of the wrong type or out of range.',
    do: 'Correct the field named in the message.',
  },
  CID_INVALID: { status: 400, what: 'Not a CIDv1 with SHA-256.', do: 'Use a base32 CIDv1 (bafy… or bafk…).' },
  CID_MISMATCH: {
    status: 400,
    what: 'The bytes do not hash to the content id they came under.',
    do: 'Fetch the object again; if it persists the store is damaged.',
  },
  // Programs and execution
  PROGRAM_INVALID: { status: 400, what: 'The program breaks a rule of its format.', do: 'Rebuild it with `muster model build`.' },
  PRIMITIVE_UNKNOWN: {
    status: 400,
    what: 'The traced function uses a primitive outside the closed list.',
    do: 'Rewrite the model without the primitive named in the message.',
  },
  TENSOR_MISMATCH: { status: 400, what: 'A tensor has the wrong type, shape or length.', do: 'Check it against the program’s inputs.' },
  NUMERIC_FAULT: {
    status: 422,
    what: 'A computation produced a NaN or state became infinite.',
    do: 'Lower the learning rate or clip; check the data.',
  },
  MODEL_INVALID: { status: 400, what: 'The model file is wrong.', do: 'Correct the field named in the message.' },
  JOB_INVALID: { status: 400, what: 'The job file is wrong.', do: 'Correct the field named in the message.' },
  // Data
  DATA_UNREADABLE: { status: 400, what: 'The data cannot be read.', do: 'Check the path and the file named in the message.' },
  DATA_MALFORMED: {
    status: 400,
    what: 'The data file is malformed.',
    do: 'Correct the file and row named in the message; nothing was imported.',
  },
  DATA_UNLABELLED: { status: 400, what: 'A record has no label.', do: 'Add the label or name the label column.' },
  DATA_NOT_FINITE: {
    status: 400,
    what: 'A value is NaN or infinite.',
    do: 'Correct the file and row named in the message; nothing was imported.',
  },
  // Signatures and submissions
  SIGNATURE_MISSING: { status: 401, what: 'The request is not signed.', do: 'Sign it with the node key.' },
  SIGNATURE_INVALID: {
    status: 401,
    what: 'The signature does not match the signed bytes and key.',
    do: 'Sign exactly the bytes that are sent, with the key of the node named.',
  },
  REQUEST_REPLAYED: { status: 409, what: 'A request with this nonce was already accepted.', do: 'Use a fresh nonce for every request.' },
  REQUEST_EXPIRED: { status: 401, what: 'The request’s time is outside the accepted window.', do: 'Set the clock and send again.' },
  NODE_UNKNOWN: { status: 403, what: 'The node is not registered.', do: 'Join first.' },
  NODE_INACTIVE: { status: 403, what: 'The node’s stake is gone or it has left.', do: 'Top up the stake or register a new node.' },
  JOB_UNKNOWN: { status: 404, what: 'There is no such job here.', do: 'List jobs with `muster job list`.' },
  TASK_UNKNOWN: { status: 404, what: 'There is no such task in this round.', do: 'Ask for the round’s assignment.' },
  TASK_NOT_ASSIGNED: { status: 403, what: 'The task is assigned to other nodes.', do: 'Submit only your own tasks.' },
  SUBMISSION_LATE: { status: 409, what: 'The task no longer takes submissions.', do: 'Wait for the next assignment.' },
  SUBMISSION_DUPLICATE: { status: 409, what: 'This node already submitted for this task.', do: 'Nothing: the first submission stands.' },
  COMMITMENT_MISSING: { status: 409, what: 'The node reveals without having committed.', do: 'Commit before the reveal opens.' },
  COMMITMENT_MISMATCH: { status: 409, what: 'The reveal does not open the commitment.', do: 'Reveal the committed root with its salt.' },
  RESULT_ROOT_MISMATCH: {
    status: 409,
    what: 'The objects submitted do not give the result root revealed.',
    do: 'Submit the objects the root was computed from.',
  },
  ASSIGNMENT_WRONG: {
    status: 409,
    what: 'The assignment does not follow from the beacon and the node set.',
    do: 'Refuse it; the coordinator is at fault.',
  },
  STATE_CONFLICT: { status: 409, what: 'The job’s state does not allow this.', do: 'Look at it with `muster job show`.' },
  // Store, chain, transport
  OBJECT_MISSING: { status: 404, what: 'The store has no object with this content id.', do: 'Ask another store, or submit it again.' },
  STORE_DAMAGED: { status: 500, what: 'A stored object no longer matches its content id.', do: 'Restore it from another copy.' },
  CHAIN_UNREACHABLE: { status: 503, what: 'The chain does not answer.', do: 'Start it, or check the RPC address.' },
  CHAIN_REVERTED: { status: 409, what: 'A contract refused the transaction.', do: 'See the contract error in the message.' },
  CHAIN_REORGANISED: {
    status: 409,
    what: 'The chain took back what had been settled.',
    do: 'Connect anew and read again; use more confirmations on this chain.',
  },
  DEPLOYMENT_REFUSED: {
    status: 409,
    what: 'The contracts cannot be deployed as things stand.',
    do: 'See the message; --restart begins a new deployment.',
  },
  ROUTE_UNKNOWN: { status: 404, what: 'There is no such address here.', do: 'See docs/spec/07-transport.md for the routes.' },
  FORMAT_UNSUPPORTED: { status: 406, what: 'The store does not serve this format.', do: 'Ask for raw or car.' },
  QUOTA_EXCEEDED: { status: 429, what: 'This node has stored as much as it may here.', do: 'Wait for an hour.' },
  PEER_UNREACHABLE: { status: 503, what: 'The coordinator does not answer.', do: 'Check the address; it is retried.' },
  HOME_LOCKED: { status: 409, what: 'Another process uses this home folder.', do: 'Stop it or choose another --home.' },
  EXECUTOR_UNAVAILABLE: {
    status: 501,
    what: 'This machine does not have that executor.',
    do: 'See `muster doctor` for those it has; `wasm` runs everywhere.',
  },
  USAGE: { status: 400, what: 'The command line is wrong.', do: 'See --help.' },
  AUDIT_FAILED: { status: 422, what: 'The record does not hold.', do: 'See the object named in the message.' },
  INTERNAL: { status: 500, what: 'A broken invariant inside Muster.', do: 'Report it with the message.' },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorCatalogue;

/** Typed facts about one error: the place (`field`, `file`, `row`, `object`…) and values involved. */
export type ErrorDetails = Readonly<Record<string, string | number | bigint | boolean | null>>;

/** An outcome the protocol expects and records, as data. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;
}

export class MusterError extends Error {
  override readonly name = 'MusterError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.details = details;
  }
}

/** `error` as a MusterError; anything else becomes INTERNAL with its cause kept. */
export function toMusterError(error: unknown): MusterError {
  if (error instanceof MusterError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new MusterError('INTERNAL', message, {}, { cause: error });
}
