import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  abiEncodeWords,
  bytesToHex,
  decodeHyperParameters,
  encodeHyperParameters,
  type HyperParameters,
  keccakOfWords,
  MusterError,
  parseRoot,
  requestDigest,
  jobKinds,
  requestOptimizers,
  settlements,
  requestStrategies,
} from '@muster/protocol';

const plain: HyperParameters = {
  version: 1,
  tasks: 4,
  redundancy: 3,
  localSteps: 20,
  batchSize: 32,
  learningRate: 1_000_000,
  optimizer: 'adamw',
  strategy: 'fedavg',
  jobKind: 'dataParallel',
  settlement: 'batched',
  rewardModel: 'perAccuracyGain',
  gpuSecondsPerTask: 0,
  bonusBasisPoints: 500,
  targetGainBasisPoints: 100,
  roundTimeout: 3600,
  seed: 2n ** 64n - 1n,
};
const plainWords = [1, 4, 3, 20, 32, 1_000_000, 4, 0, 1, 1, 3, 0, 500, 100, 3600, 2n ** 64n - 1n];

/** The first value refused below and above each field, where there is one. */
const bounds: readonly (readonly [field: keyof HyperParameters, below: number | null, above: bigint])[] = [
  ['version', 0, 2n],
  ['tasks', 0, 400_001n],
  ['redundancy', 0, 65n],
  ['localSteps', 0, 2n ** 32n],
  ['batchSize', 0, 2n ** 32n],
  ['learningRate', 0, 10_000_000_001n],
  ['optimizer', null, 5n],
  ['strategy', null, 1n],
  ['jobKind', null, 3n],
  ['settlement', null, 2n],
  ['rewardModel', null, 4n],
  ['gpuSecondsPerTask', null, 1n],
  ['bonusBasisPoints', null, 10_001n],
  ['targetGainBasisPoints', 0, 10_001n],
  ['roundTimeout', 59, 2_592_001n],
  ['seed', null, 2n ** 64n],
];

function refusedField(body: () => unknown): unknown {
  try {
    body();
  } catch (error) {
    if (error instanceof MusterError && error.code === 'FIELD_INVALID') return error.details['field'];
    throw error;
  }
  return null;
}

const uint32 = fc.integer({ min: 1, max: 0xffff_ffff });
/** What is asked for beside each reward model; everything else is 0. */
const anyReward = fc.oneof(
  fc.record({ rewardModel: fc.constantFrom('perRound' as const, 'perGradientUpdate' as const) }),
  fc.record({ rewardModel: fc.constant('perBatch' as const), gpuSecondsPerTask: uint32 }),
  fc.record({
    rewardModel: fc.constant('perAccuracyGain' as const),
    bonusBasisPoints: fc.integer({ min: 0, max: 10_000 }),
    targetGainBasisPoints: fc.integer({ min: 1, max: 10_000 }),
  }),
);
const anyRest = fc.record({
  tasks: fc.integer({ min: 1, max: 400_000 }),
  redundancy: fc.integer({ min: 1, max: 64 }),
  localSteps: uint32,
  batchSize: uint32,
  learningRate: fc.integer({ min: 1, max: 10_000_000_000 }),
  optimizer: fc.constantFrom(...requestOptimizers),
  strategy: fc.constantFrom(...requestStrategies),
  jobKind: fc.constantFrom(...jobKinds),
  settlement: fc.constantFrom(...settlements),
  roundTimeout: fc.integer({ min: 60, max: 2_592_000 }),
  seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
});
const noReward = { gpuSecondsPerTask: 0, bonusBasisPoints: 0, targetGainBasisPoints: 0 };
const anyParameters = fc
  .tuple(anyRest, anyReward)
  .map(([rest, reward]): HyperParameters => ({ version: 1, ...rest, ...noReward, ...reward }));

describe('hyper-parameters of a training request', () => {
  it('are sixteen words in the order of the specification', () => {
    expect(encodeHyperParameters(plain)).toBe(bytesToHex(abiEncodeWords(plainWords)));
  });

  it('are read back as they were written', () => {
    fc.assert(
      fc.property(anyParameters, (parameters) => {
        expect(decodeHyperParameters(encodeHyperParameters(parameters))).toEqual(parameters);
      }),
    );
  });

  it('that decode are encoded in no other way, whatever the sixteen words', () => {
    const word = fc.oneof(fc.bigInt({ min: 0n, max: 70n }), fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }));
    const mutation = fc.tuple(fc.nat(15), word);
    fc.assert(
      fc.property(fc.array(mutation, { maxLength: 3 }), (mutations) => {
        const words: (number | bigint)[] = [...plainWords];
        for (const [index, value] of mutations) words[index] = value;
        const encoded = bytesToHex(abiEncodeWords(words));
        const refused = refusedField(() => decodeHyperParameters(encoded));
        if (refused === null) expect(encodeHyperParameters(decodeHyperParameters(encoded))).toBe(encoded);
        else expect(refused).toMatch(/^hyperParameters\./);
      }),
    );
  });

  it.each(bounds)('are refused by name where %s is out of range or has bits above its type', (field, below, above) => {
    const index = bounds.findIndex(([name]) => name === field);
    const withWord = (value: number | bigint): `0x${string}` =>
      bytesToHex(abiEncodeWords(plainWords.map((word, other) => (other === index ? value : word))));
    for (const value of [...(below === null ? [] : [below]), above, 2n ** 64n + 1n, 2n ** 255n]) {
      expect(refusedField(() => decodeHyperParameters(withWord(value)))).toBe(`hyperParameters.${field}`);
    }
    const largest = above - 1n;
    expect(encodeHyperParameters(decodeHyperParameters(withWord(largest)))).toBe(withWord(largest));
  });

  it('are refused where they speak of a reward that the model does not pay, or leave out what it asks for', () => {
    const gain = { rewardModel: 'perAccuracyGain', gpuSecondsPerTask: 0, bonusBasisPoints: 500, targetGainBasisPoints: 100 } as const;
    const batch = { rewardModel: 'perBatch', gpuSecondsPerTask: 9, bonusBasisPoints: 0, targetGainBasisPoints: 0 } as const;
    for (const [field, reward] of [
      ['gpuSecondsPerTask', { ...gain, gpuSecondsPerTask: 9 }],
      ['targetGainBasisPoints', { ...gain, targetGainBasisPoints: 0 }],
      ['gpuSecondsPerTask', { ...batch, gpuSecondsPerTask: 0 }],
      ['bonusBasisPoints', { ...batch, bonusBasisPoints: 1 }],
      ['bonusBasisPoints', { ...gain, rewardModel: 'perRound' }],
      ['targetGainBasisPoints', { ...gain, rewardModel: 'perGradientUpdate', bonusBasisPoints: 0 }],
    ] as const) {
      expect(
        refusedField(() => encodeHyperParameters({ ...plain, ...reward })),
        field,
      ).toBe(`hyperParameters.${field}`);
    }
    expect(decodeHyperParameters(encodeHyperParameters({ ...plain, ...batch }))).toEqual({ ...plain, ...batch });
  });

  it('are refused when they are written out of range', () => {
    const wrong = { learningRate: 0.001, tasks: -1, seed: -1n, redundancy: 65, optimizer: 'lion' };
    for (const [field, value] of Object.entries(wrong)) {
      const parameters = { ...plain, [field]: value } as HyperParameters;
      expect(refusedField(() => encodeHyperParameters(parameters))).toBe(`hyperParameters.${field}`);
    }
  });

  it('are refused when they are a byte shorter or longer, or not hexadecimal', () => {
    const encoded = encodeHyperParameters(plain);
    for (const wrong of [encoded.slice(0, -2), `${encoded}00`, `${encoded.slice(0, -1)}g`, '0x']) {
      expect(refusedField(() => decodeHyperParameters(wrong as `0x${string}`))).toBe('hyperParameters');
    }
  });

  it('enter what a request hashes to by their own hash', () => {
    const [baseModel, dataset] = [parseRoot(`0x${'11'.repeat(32)}`), parseRoot(`0x${'22'.repeat(32)}`)];
    const hyperParameters = encodeHyperParameters(plain);
    const digest = requestDigest({ baseModel, dataset, totalRounds: 3, minParticipants: 5, hyperParameters });
    const parametersHash = keccakOfWords(plainWords);
    expect(digest).toBe(keccakOfWords([baseModel, dataset, 3, 5, parametersHash]));
  });
});
