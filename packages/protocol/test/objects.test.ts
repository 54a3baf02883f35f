/** Stored objects: round trips, and what random, changed and hostile bytes give. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cidOfBytes,
  decodeLinked,
  encodeCanonical,
  encodeLinked,
  equalBytes,
  MusterError,
  type ObjectKind,
  objectKinds,
} from '../src/index.ts';

const root = `0x${'ab'.repeat(32)}`;
const cid = cidOfBytes(Uint8Array.of(1, 2, 3), 'dag-cbor');
const raw = cidOfBytes(Uint8Array.of(4), 'raw');
const place = { job: root, round: 3, task: 1 };
const update = {
  kind: 'update',
  stateRoot: root,
  updateRoot: root,
  lossRoot: root,
  traceRoot: root,
  trace: [root, root],
  losses: new Uint8Array(8),
  update: cid,
  slotState: null,
};

const samples: { readonly [K in keyof typeof objectKinds]: object } = {
  jobSpec: {
    version: 1,
    name: 'job',
    model: cid,
    dataset: cid,
    seed: root,
    rounds: 2,
    tasks: 3,
    redundancy: 3,
    localSteps: 4,
    digestInterval: 2,
    split: { kind: 'dirichlet', alpha: 0.5 },
    slotState: 'carry',
    minimumNodes: 3,
    quorumPercent: 80,
    commitTimeoutMs: 1000,
    revealTimeoutMs: 1000,
    verdictTimeoutMs: 1000,
    roundTimeoutMs: 1000,
  },
  assignment: {
    version: 1,
    job: root,
    round: 0,
    nodes: [root],
    beacon: root,
    base: cid,
    tasks: [{ nodes: [root], sampleCount: 5, slotState: cid }],
  },
  tensorSet: { version: 1, tensors: [{ name: 'w', dtype: 'float32', shape: [2, 3], chunks: [raw] }] },
  taskResult: { version: 1, ...place, slot: 0, node: root, resultRoot: root, outcome: update },
  verdict: {
    version: 1,
    ...place,
    validator: root,
    assignment: cid,
    resultRoot: root,
    outcome: { kind: 'fault', step: 1, operation: null },
    offence: 'gradientMismatch',
  },
  checkpoint: {
    version: 1,
    job: root,
    round: 0,
    previous: null,
    parameters: cid,
    tasks: [{ task: 0, weight: 5, resultRoot: root, outcome: { kind: 'update', update: cid, slotState: null } }],
    slotStates: [null],
    evaluation: { records: 10, loss: 0.5, correct: 7 },
  },
  signed: { version: 1, object: cid, node: root, signature: new Uint8Array(64) },
};

const kinds = Object.entries(objectKinds) as [keyof typeof objectKinds, ObjectKind<unknown>][];

/** The code of what `read` throws; null if it returns. Anything but a coded error fails the test. */
function codeOf(read: () => unknown): string | null {
  try {
    read();
    return null;
  } catch (error) {
    expect(error).toBeInstanceOf(MusterError);
    return (error as MusterError).code;
  }
}

const refusals = ['BYTES_TOO_LARGE', 'BYTES_MALFORMED', 'BYTES_NOT_CANONICAL', 'FIELD_INVALID', 'CID_INVALID'];

describe.each(kinds)('%s', (name, kind) => {
  const { bytes } = encodeLinked(samples[name]);

  it('comes back from its bytes, links as text', () => {
    expect(decodeLinked(kind, bytes)).toEqual(samples[name]);
    expect(equalBytes(encodeLinked(decodeLinked(kind, bytes)).bytes, bytes)).toBe(true);
  });

  it('is refused with a code when it is random bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (random) => {
        expect(refusals).toContain(codeOf(() => decodeLinked(kind, random)));
      }),
      { numRuns: 300 },
    );
  });

  it('with bytes changed, cut or inserted is refused with a code, or still one canonical object', () => {
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), fc.constantFrom('set', 'cut', 'insert'), (at, byte, how) => {
        const changed =
          how === 'set'
            ? bytes.with(at, byte)
            : Uint8Array.from([
                ...bytes.subarray(0, at),
                ...(how === 'insert' ? [byte] : []),
                ...bytes.subarray(how === 'cut' ? at + 1 : at),
              ]);
        const code = codeOf(() => decodeLinked(kind, changed));
        if (code === null) expect(equalBytes(encodeLinked(decodeLinked(kind, changed)).bytes, changed)).toBe(true);
        else expect(refusals).toContain(code);
      }),
      { numRuns: 1000 },
    );
  });

  it('is refused when any field is missing, is another type, or is not known', () => {
    for (const field of Object.keys(samples[name])) {
      const { [field]: _, ...rest } = samples[name] as Record<string, unknown>;
      expect(codeOf(() => decodeLinked(kind, encodeLinked(rest).bytes))).toBe('FIELD_INVALID');
      expect(codeOf(() => decodeLinked(kind, encodeLinked({ ...rest, [field]: { odd: true } }).bytes))).toBe('FIELD_INVALID');
    }
    expect(codeOf(() => decodeLinked(kind, encodeLinked({ ...samples[name], more: 1 }).bytes))).toBe('FIELD_INVALID');
  });
});

describe('hostile objects', () => {
  it('of great depth, length or claimed length are refused without being built', () => {
    let nested: unknown = 0;
    for (let depth = 0; depth < 500; depth++) nested = [nested];
    const claimed = Uint8Array.of(0x9b, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff);
    for (const [, kind] of kinds) {
      expect(codeOf(() => decodeLinked(kind, encodeCanonical(nested)))).toBe('FIELD_INVALID');
      expect(refusals).toContain(codeOf(() => decodeLinked(kind, claimed)));
      expect(codeOf(() => decodeLinked(kind, new Uint8Array(5 * 1024 * 1024)))).toBe('BYTES_TOO_LARGE');
    }
  });
});
