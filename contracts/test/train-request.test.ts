import * as fc from 'fast-check';
import {
  abiEncodeWords,
  type Address,
  bytesToHex,
  decodeHyperParameters,
  encodeHyperParameters,
  type HyperParameters,
  keccakOfWords,
  MusterError,
  requestDigest,
  requestedPolicy,
  jobKinds,
  rewardModels,
  settlements,
  type TrainingRequest,
} from '@muster/protocol';
import { createPublicClient, encodeFunctionData, type Hex, keccak256, parseEventLogs } from 'viem';
import { type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  aiJobManagerAbi,
  musterForwarderAbi,
  trainRequestAbi,
  trainRequestBytecode,
} from '../../packages/adapters/src/evm/generated/index.ts';
import { forwardTypes } from '../../packages/adapters/src/evm/contracts/relay.ts';
import { create, ether, execute, refusal, rootOf, startTestChain, type TestChain, zeroRoot } from './harness.ts';
import { revertOf } from './revert.ts';

const zero = `0x${'00'.repeat(20)}` as Address;

let chain: TestChain;
let manager: Address;
let forwarder: Address;
let door: Address;
const lower = (address: string): Address => address.toLowerCase() as Address;
const account = (index: number): PrivateKeyAccount => privateKeyToAccount(chain.keyOf(index));
const client = () => createPublicClient({ transport: chain.transport, cacheTime: 0 });

/** Actor 0 owns TRAIN_REQUEST, actor 2 coordinates and actor 3 validates what is requested. */
beforeAll(async () => {
  chain = await startTestChain();
  ({ jobManager: manager, forwarder, trainRequest: door } = chain.info.contracts);
  await configure(0, door, account(2).address, account(3).address);
});
afterAll(() => chain.close());

/** Another TrainRequest, which the job manager does not know. */
const createDoor = (jobManager: Address, trusted: Address, owner: Address): Promise<Address> =>
  create(chain, 0, { abi: trainRequestAbi, bytecode: trainRequestBytecode }, [
    jobManager,
    trusted,
    owner,
    account(2).address,
    account(3).address,
  ]);

const parameters: HyperParameters = {
  version: 1,
  tasks: 4,
  redundancy: 3,
  localSteps: 20,
  batchSize: 64,
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
  seed: 7n,
};
const request: TrainingRequest = {
  baseModel: rootOf('base model'),
  dataset: rootOf('dataset'),
  totalRounds: 5,
  minParticipants: 3,
  hyperParameters: encodeHyperParameters(parameters),
};
const argsOf = ({ baseModel, dataset, totalRounds, minParticipants, hyperParameters }: TrainingRequest) =>
  [baseModel, dataset, totalRounds, minParticipants, hyperParameters] as const;

const send = (index: number, asked: TrainingRequest, valueWei = 0n, to = door): Promise<void> =>
  execute(chain, index, { to, abi: trainRequestAbi, functionName: 'requestTraining', args: argsOf(asked) }, valueWei);
const predicted = (owner: Address, asked: TrainingRequest): Promise<Hex> =>
  client().readContract({ address: door, abi: trainRequestAbi, functionName: 'predictJobId', args: [owner, ...argsOf(asked)] });

/** What sending `asked` as actor 4 would do; nothing is sent. */
const asking = (asked: TrainingRequest) =>
  client().simulateContract({
    account: account(4),
    address: door,
    abi: trainRequestAbi,
    functionName: 'requestTraining',
    args: argsOf(asked),
  });

const jobOf = (job: Hex) => client().readContract({ address: manager, abi: aiJobManagerAbi, functionName: 'job', args: [job] });

/** The one TrainingRequested event of the newest block. */
async function requestedEvent() {
  const logs = await client().getLogs({ address: door, fromBlock: 'latest' });
  const [event] = parseEventLogs({ abi: trainRequestAbi, eventName: 'TrainingRequested', logs });
  if (event === undefined) throw new Error('no TrainingRequested');
  return event.args;
}

test('a request for a training opens a job of the caller with every term it names, the configured people and the value as its budget', async () => {
  const requester = account(4).address;
  const job = await predicted(requester as Address, request);
  await send(4, request, 3n * ether);
  expect(await requestedEvent()).toEqual({ jobId: job, requester, ...request, budgetWei: 3n * ether });
  expect(await jobOf(job)).toMatchObject({
    owner: requester,
    status: 1,
    budget: 3n * ether,
    paid: 0n,
    specCid: zeroRoot,
    modelId: request.baseModel,
    rounds: 5n,
    tasks: 4,
    redundancy: 3,
    coordinator: account(2).address,
    validator: account(3).address,
    kind: 1,
    settlement: 1,
    minParticipants: 3,
    roundTimeout: 3600n,
    reward: {
      model: 3,
      scoreTotal: 40_000,
      gpuSecondsPerTask: 0,
      batchSize: 0,
      stepsPerTask: 0,
      bonusBasisPoints: 500,
      targetGainBasisPoints: 100,
    },
  });
  expect(await client().getBalance({ address: door })).toBe(0n);
});

test('a request for a training tells the terms of payment what its reward model asks for, as its twin does', async () => {
  const base = { ...parameters, bonusBasisPoints: 0, targetGainBasisPoints: 0, tasks: 400_000 };
  for (const given of [
    parameters,
    { ...base, rewardModel: 'perRound' },
    { ...base, rewardModel: 'perBatch', gpuSecondsPerTask: 9 },
    { ...base, rewardModel: 'perGradientUpdate', jobKind: 'federated', settlement: 'direct' },
  ] as const) {
    await send(4, { ...request, hyperParameters: encodeHyperParameters(given) });
    const { jobId } = await requestedEvent();
    const { kind, settlement, minParticipants, roundTimeout, reward } = await jobOf(jobId);
    const { model, ...amounts } = reward;
    expect({
      kind: jobKinds[kind],
      settlement: settlements[settlement],
      minParticipants,
      roundTimeout: Number(roundTimeout),
      reward: { model: rewardModels[model], ...amounts },
    }).toEqual(requestedPolicy(given, request.minParticipants));
  }
});

test('a request for a training gets an id that follows from who asks, how often and for what', async () => {
  const requester = lower(account(5).address);
  const ids = new Set<string>();
  for (const count of [0, 1]) {
    await send(5, request);
    const { jobId } = await requestedEvent();
    expect(jobId).toBe(keccakOfWords([chain.info.chainId, manager, requester, count, requestDigest(request)]));
    ids.add(jobId);
  }
  ids.add(await predicted(lower(account(6).address), request));
  for (const change of [{ baseModel: rootOf('x') }, { dataset: rootOf('x') }, { totalRounds: 6 }, { minParticipants: 4 }]) {
    ids.add(await predicted(requester, { ...request, ...change }));
  }
  const hyperParameters = encodeHyperParameters({ ...parameters, seed: 8n });
  ids.add(await predicted(requester, { ...request, hyperParameters }));
  expect(ids.size).toBe(8);
});

test('a request for a training is refused without a model, a dataset, rounds or participants', async () => {
  expect(await revertOf(asking({ ...request, baseModel: zeroRoot }))).toEqual({ error: 'BaseModelMissing', args: [] });
  expect(await revertOf(asking({ ...request, dataset: zeroRoot }))).toEqual({ error: 'DatasetMissing', args: [] });
  expect(await revertOf(asking({ ...request, totalRounds: 0 }))).toEqual({ error: 'RoundsMissing', args: [] });
  expect(await revertOf(asking({ ...request, minParticipants: 0 }))).toEqual({ error: 'ParticipantsMissing', args: [] });
});

const plainWords = Array.from({ length: 16 }, (_, index) => BigInt(`0x${request.hyperParameters.slice(2 + 64 * index, 66 + 64 * index)}`));
const reading = (hyperParameters: Hex) => asking({ ...request, hyperParameters });
/** The field that the contract refuses; null where it takes them. */
async function refusedByContract(hyperParameters: Hex): Promise<unknown> {
  try {
    await reading(hyperParameters);
    return null;
  } catch {
    const { error, args } = await revertOf(reading(hyperParameters));
    return error === 'HyperParameterInvalid' ? args[0] : error;
  }
}
function refusedHere(hyperParameters: Hex): unknown {
  try {
    decodeHyperParameters(hyperParameters);
    return null;
  } catch (error) {
    if (error instanceof MusterError) return String(error.details['field']).replace('hyperParameters.', '');
    throw error;
  }
}

/** What word number `index` is refused with where it is `value`. */
const refusedWord = async (index: number, value: bigint): Promise<unknown> => {
  const words = plainWords.map((word, other) => (other === index ? value : word));
  return revertOf(reading(bytesToHex(abiEncodeWords(words))));
};
const invalid = (field: string, value: bigint, minimum: bigint, maximum: bigint) => ({
  error: 'HyperParameterInvalid',
  args: [field, value, minimum, maximum],
});

test('hyper-parameters are refused by name and bounds where a field is out of range, unknown or has bits above its type', async () => {
  expect(await refusedWord(0, 2n)).toEqual(invalid('version', 2n, 1n, 1n));
  expect(await refusedWord(2, 65n)).toEqual(invalid('redundancy', 65n, 1n, 64n));
  expect(await refusedWord(6, 5n)).toEqual(invalid('optimizer', 5n, 0n, 4n));
  expect(await refusedWord(7, 1n)).toEqual(invalid('strategy', 1n, 0n, 0n));
  expect(await refusedWord(11, 1n)).toEqual(invalid('gpuSecondsPerTask', 1n, 0n, 0n));
  for (const [index, word] of plainWords.entries()) {
    expect(await refusedWord(index, word + 2n ** 64n)).toMatchObject({ error: 'HyperParameterInvalid' });
    expect(await refusedWord(index, word + 2n ** 255n)).toMatchObject({ error: 'HyperParameterInvalid' });
  }
});

test('hyper-parameters are refused unless they are exactly 512 bytes', async () => {
  for (const wrong of ['0x', request.hyperParameters.slice(0, -2), `${request.hyperParameters}00`] as Hex[]) {
    const length = BigInt(wrong.length / 2 - 1);
    expect(await revertOf(reading(wrong))).toEqual({ error: 'HyperParametersLengthInvalid', args: [length, 512n] });
  }
});

test('hyper-parameters are taken and refused by the contract as by its twin, whatever the sixteen words', async () => {
  const word = fc.oneof(
    fc.bigInt({ min: 0n, max: 70n }),
    fc.constantFrom(399_999n, 400_000n, 400_001n, 10n ** 10n, 10n ** 10n + 1n, 2_592_000n, 2_592_001n),
    fc.integer({ min: 0, max: 256 }).map((bits) => 2n ** BigInt(bits) - 1n),
    fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }),
  );
  const rewardFields = ['rewardModel', 'gpuSecondsPerTask', 'bonusBasisPoints', 'targetGainBasisPoints'];
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.nat(15), word), { maxLength: 3 }), async (changes) => {
      const words = [...plainWords];
      for (const [index, value] of changes) words[index] = value;
      const encoded = bytesToHex(abiEncodeWords(words));
      const [contract, twin] = [await refusedByContract(encoded), refusedHere(encoded)];
      expect(contract === null).toBe(twin === null);
      // Fields are checked in the same order but for those that depend on the reward model.
      if (![contract, twin].some((field) => rewardFields.includes(String(field)))) expect(contract).toBe(twin);
    }),
    { numRuns: 150 },
  );
});

const data = (): Hex => encodeFunctionData({ abi: trainRequestAbi, functionName: 'requestTraining', args: argsOf(request) });

async function signed(by: PrivateKeyAccount, value: bigint) {
  const nonce = await client().readContract({ address: forwarder, abi: musterForwarderAbi, functionName: 'nonces', args: [by.address] });
  const { timestamp } = await client().getBlock();
  const rest = { from: by.address, to: door, value, gas: 1_000_000n, deadline: Number(timestamp) + 1000, data: data() };
  const signature = await by.signTypedData({
    domain: { name: 'Muster', version: '1', chainId: chain.info.chainId, verifyingContract: forwarder },
    types: forwardTypes,
    primaryType: 'ForwardRequest',
    message: { ...rest, nonce },
  });
  return { ...rest, signature };
}

test('a relayed request belongs to the account that signed it, whoever sends and pays, and counts once', async () => {
  const signer = account(7);
  const message = await signed(signer, ether);
  const relay = () => execute(chain, 8, { to: forwarder, abi: musterForwarderAbi, functionName: 'execute', args: [message] }, ether);
  await relay();
  const { jobId, requester } = await requestedEvent();
  expect(requester).toBe(signer.address);
  expect(await jobOf(jobId)).toMatchObject({ owner: signer.address, budget: ether });
  expect(await refusal(relay())).toMatchObject({ error: 'ERC2771ForwarderInvalidSigner' });
});

test('a relayed request that does not come through the forwarder is its sender’s, whatever account it ends with', async () => {
  const suffixed = `${data()}${account(1).address.slice(2)}` as Hex;
  const simulated = await client().call({ account: account(8), to: door, data: suffixed });
  expect(simulated.data).toBe(await predicted(account(8).address as Address, request));
});

const configure = (index: number, to: Address, coordinator: string, validator: string): Promise<void> =>
  execute(chain, index, { to, abi: trainRequestAbi, functionName: 'setOperator', args: [coordinator as Address, validator as Address] });
const configuring = (index: number, to: Address, coordinator: string, validator: string): Promise<unknown> =>
  client().simulateContract({
    account: account(index),
    address: to,
    abi: trainRequestAbi,
    functionName: 'setOperator',
    args: [coordinator as Address, validator as Address],
  });
const handOver = (index: number, to: Address, owner: string): Promise<void> =>
  execute(chain, index, { to, abi: trainRequestAbi, functionName: 'transferOwnership', args: [owner as Address] });
const handingOver = (index: number, to: Address, owner: string): Promise<unknown> =>
  client().simulateContract({
    account: account(index),
    address: to,
    abi: trainRequestAbi,
    functionName: 'transferOwnership',
    args: [owner as Address],
  });
const read = (to: Address, functionName: 'owner' | 'coordinator' | 'validator' | 'jobManager' | 'trustedForwarder') =>
  client().readContract({ address: to, abi: trainRequestAbi, functionName });

test('its configuration is its constructor’s, and the code is the same whatever it says', async () => {
  const [one, other] = [await createDoor(manager, forwarder, account(4).address as Address), await createDoor(zero, zero, zero)];
  expect(await read(one, 'jobManager')).toBe(await read(door, 'jobManager'));
  expect(lower(await read(one, 'trustedForwarder'))).toBe(forwarder);
  expect(await read(one, 'owner')).toBe(account(4).address);
  const codes = await Promise.all([door, one, other].map((address) => client().getCode({ address })));
  expect(new Set(codes.map((code) => keccak256(code ?? '0x'))).size).toBe(1);
});

test('its configuration of coordinator and validator is changed by the owner only, for the jobs that follow', async () => {
  const [coordinator, validator] = [account(9).address, account(10).address];
  const stranger = account(5).address;
  expect(await revertOf(configuring(5, door, coordinator, validator))).toEqual({ error: 'NotRequestOwner', args: [stranger] });
  for (const [first, second] of [
    [zero, validator],
    [coordinator, zero],
  ] as const) {
    expect(await revertOf(configuring(0, door, first, second))).toEqual({ error: 'OperatorMissing', args: [first, second] });
  }
  await chain.reverting(async () => {
    await send(6, request);
    const before = (await requestedEvent()).jobId;
    await configure(0, door, coordinator, validator);
    await send(6, request);
    expect(await jobOf((await requestedEvent()).jobId)).toMatchObject({ coordinator, validator });
    expect(await jobOf(before)).toMatchObject({ coordinator: account(2).address, validator: account(3).address });
  });
});

test('a request at another TrainRequest than the job manager’s is refused', async () => {
  const strange = await createDoor(manager, forwarder, zero);
  expect(await refusal(send(4, request, 0n, strange))).toEqual({ error: 'NotThroughItsDoor', caller: strange });
});

test('its configuration passes on with ownership, and stays for ever once nobody owns it', async () => {
  const own = await createDoor(manager, forwarder, account(4).address as Address);
  const stranger = account(5).address;
  expect(await revertOf(handingOver(5, own, stranger))).toEqual({ error: 'NotRequestOwner', args: [stranger] });
  await handOver(4, own, stranger);
  expect(await revertOf(handingOver(4, own, stranger))).toMatchObject({ error: 'NotRequestOwner' });
  await configure(5, own, account(9).address, account(10).address);
  await handOver(5, own, zero);
  for (const index of [4, 5]) {
    const configured = configuring(index, own, account(2).address, account(3).address);
    expect(await revertOf(configured)).toMatchObject({ error: 'NotRequestOwner' });
  }
  expect(await read(own, 'coordinator')).toBe(account(9).address);
});
