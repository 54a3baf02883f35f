/**
 * What attackers try, one test each: doors that are not theirs, calling back while they are paid, signatures from elsewhere and from before,
 * and copies of what others are about to commit and reveal.
 */
import { type AbiFunction, type AbiParameter, encodeFunctionData, type Hex } from 'viem';
import { deployContracts } from '@muster/adapters';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestChain, type TestChain } from './harness.ts';
import { compiled, type Actor, Economy, type Question, type Reply } from './support/economy.ts';
import { armHostiles, settleIn } from './support/money-actions.ts';
import { commit, commitmentOf, convict, finalize, openedJob, opening, openRound, plainTerms, reveal, submitJob } from './support/steps.ts';
import { hashOf, JobStatus, type Place, results, signVerdict, SlotStatus, verdictCid, World, zeroWord } from './support/world.ts';

const ETHER = 10n ** 18n;

let chain: TestChain;
let economy: Economy;
beforeAll(async () => {
  chain = await startTestChain();
  economy = await Economy.open(chain);
});
afterAll(() => chain.close());

/** Runs `body` in a fresh world with every node registered, and takes everything back. */
const inWorld = (body: (world: World) => Promise<void>): Promise<void> =>
  chain.reverting(async () => {
    economy.events.length = 0;
    const world = new World(economy, await World.people(economy));
    await settleIn(world);
    await body(world);
  });

const refused = (reply: Reply): string => (reply.taken ? 'taken' : reply.error);

/** Who may call what is not for everybody, as the error that others get. */
const doors: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  insuranceFund: { cover: 'NotCoverer' },
  reputationRegistry: { record: 'NotReputationWriter', recordTasks: 'NotReputationWriter', recordBandwidth: 'NotReputationWriter' },
  nodeCertRegistry: {
    startUnbonding: 'NotOperator',
    cancelUnbonding: 'NotOperator',
    withdrawStake: 'NotOperator',
    heartbeat: 'NotOperator',
    verifyHardware: 'NotOperator',
    verifyTee: 'NotOperator',
    guard: 'NotThroughItsDoor',
    release: 'NotThroughItsDoor',
    slash: 'NotThroughItsDoor',
    slashFailedJob: 'NotThroughItsDoor',
    setStakeTiers: 'OwnableUnauthorizedAccount',
    setTimes: 'OwnableUnauthorizedAccount',
    setSlashShares: 'OwnableUnauthorizedAccount',
    setAttester: 'OwnableUnauthorizedAccount',
    setTeeVerifier: 'OwnableUnauthorizedAccount',
    transferOwnership: 'OwnableUnauthorizedAccount',
    renounceOwnership: 'OwnableUnauthorizedAccount',
  },
  jobManager: {
    submitRequest: 'NotThroughItsDoor',
    specifyJob: 'NotCoordinator',
    sponsorJob: 'NotThroughItsDoor',
    pauseJob: 'NotCoordinator',
    resumeJob: 'NotCoordinator',
    cancelJob: 'NotOwner',
    closeNodes: 'NotCoordinator',
    assign: 'NotCoordinator',
    reassign: 'NotCoordinator',
    payReward: 'NotProofOfCompute',
    payRewards: 'NotProofOfCompute',
    payReserved: 'NotProofOfCompute',
    advanceRound: 'NotProofOfCompute',
  },
  proofOfCompute: {
    openRound: 'NotJobManager',
    reassignSlot: 'NotJobManager',
    commit: 'NodeNotInSlot',
    reveal: 'NotCommitted',
    finalize: 'NotCoordinator',
  },
  batchedProofOfCompute: { commitBatch: 'NotCoordinator', commit: 'NotOperator', reveal: 'NotOperator', finalizeBatch: 'NotCoordinator' },
  emissionPool: {
    sponsor: 'OwnableUnauthorizedAccount',
    setBlockReward: 'OwnableUnauthorizedAccount',
    transferOwnership: 'OwnableUnauthorizedAccount',
  },
  trainProofLog: {
    recordTrainProof: 'NotOperator',
    forceInclude: 'NotOperator',
    recordTrainProofs: 'NotCoordinator',
    recordTrainProofsBlob: 'BlobMissing',
    recordTrainProofsWithLeaves: 'ProofsMissing',
  },
  modelRegistry: {
    addCheckpoint: 'NotModelOwner',
    publishModel: 'CheckpointUnknown',
    creditLineage: 'NotModelOwner',
    setLicence: 'NotModelOwner',
    transferModel: 'NotModelOwner',
  },
  didRegistry: {
    createDIDBySignature: 'AuthorizationExpired',
    rotateKeys: 'NotDIDOwner',
    rotateKeysBySignature: 'AuthorizationExpired',
    updateMetadata: 'NotDIDOwner',
    updateMetadataBySignature: 'AuthorizationExpired',
    changeOwner: 'NotDIDOwner',
    changeOwnerBySignature: 'AuthorizationExpired',
    acceptOwner: 'NotPendingOwner',
    acceptOwnerBySignature: 'NotPendingOwner',
    revoke: 'NotDIDOwner',
    revokeBySignature: 'AuthorizationExpired',
  },
  dataConsent: {
    grant: 'NotDIDController',
    grantBySignature: 'AuthorizationExpired',
    revoke: 'NotDIDController',
    revokeBySignature: 'AuthorizationExpired',
    logAccess: 'NotDIDController',
    logAccessBySignature: 'AuthorizationExpired',
  },
  teeVerifier: {
    setService: 'OwnableUnauthorizedAccount',
    setMeasurement: 'OwnableUnauthorizedAccount',
    transferOwnership: 'OwnableUnauthorizedAccount',
    renounceOwnership: 'OwnableUnauthorizedAccount',
  },
  trainRequest: { setOperator: 'NotRequestOwner', transferOwnership: 'NotRequestOwner' },
};

/** What anybody may call. */
const open: Readonly<Record<string, readonly string[]>> = {
  forwarder: ['execute', 'executeBatch'],
  insuranceFund: ['deposit', 'claim', 'claimFor'],
  nodeCertRegistry: ['registerNode', 'topUp', 'reportMissedHeartbeats'],
  jobManager: ['submitJob', 'failJob', 'completeJob', 'releaseReserve', 'creditTo', 'transferCredit', 'withdraw'],
  proofOfCompute: ['closeCommits', 'convict', 'creditNodes', 'reportUnrevealed', 'settleTask'],
  // Claims and verdicts are for everybody who has the proof of them.
  batchedProofOfCompute: ['claim', 'claimMany', 'convict', 'settleVerdict', 'expire'],
  emissionPool: ['deposit', 'reclaim'],
  modelRegistry: ['registerModel', 'registerDerivedModel'],
  didRegistry: ['createDID'],
  trainRequest: ['requestTraining'],
};

const changing = (contract: string): AbiFunction[] =>
  economy
    .contract(contract)
    .abi.filter((entry): entry is AbiFunction => entry.type === 'function')
    .filter(({ stateMutability }) => stateMutability === 'nonpayable' || stateMutability === 'payable');

test('every function that changes something is for everybody or has a door', () => {
  const unknown: string[] = [];
  for (const contract of economy.contracts.keys()) {
    const listed = [...Object.keys(doors[contract] ?? {}), ...(open[contract] ?? [])];
    const names = changing(contract).map(({ name }) => name);
    unknown.push(...names.filter((name) => !listed.includes(name)).map((name) => `${contract}.${name}`));
    unknown.push(...listed.filter((name) => !names.includes(name)).map((name) => `${contract}.${name} is gone`));
  }
  expect(unknown).toEqual([]);
});

/** A value that a function would take: facts by the parameter's name, else zeros. */
function sample(parameter: AbiParameter, facts: Readonly<Record<string, unknown>>): unknown {
  const { name = '', type } = parameter;
  if (name in facts && !type.endsWith(']')) return facts[name];
  if (type.endsWith('[]')) return [];
  if ('components' in parameter) return Object.fromEntries(parameter.components.map((part) => [part.name ?? '', sample(part, facts)]));
  if (type === 'address') return `0x${'00'.repeat(20)}`;
  if (type === 'bool') return false;
  if (type === 'string') return '';
  if (type === 'bytes') return '0x';
  if (type.startsWith('bytes')) return `0x${'00'.repeat(Number(type.slice(5)))}`;
  return Number(/\d+/.exec(type)?.[0] ?? '256') <= 48 ? 0 : 0n;
}

/** A model, two DIDs and a consent that are the job owner's and the coordinator's; what a stranger would name them by. */
async function possessions({ people: { owner, coordinator } }: World): Promise<Readonly<Record<string, unknown>>> {
  const modelId = hashOf('model');
  await economy.must(owner, 'modelRegistry', 'registerModel', [modelId, hashOf('cid'), zeroWord]);
  const did = async (by: Actor, label: string): Promise<unknown> => {
    const args = [hashOf(`${label} signs`), hashOf(`${label} reads`), zeroWord];
    return (await economy.must(by, 'didRegistry', 'createDID', args))[0]?.args['didHash'];
  };
  const [ownerDid, granteeDid] = [await did(owner, 'owner'), await did(coordinator, 'grantee')];
  const others = { datasetCid: hashOf('data'), purpose: zeroWord, permissionKeyCid: zeroWord, expiresAt: 2n ** 40n };
  const granted = await economy.must(owner, 'dataConsent', 'grant', [{ ownerDid, granteeDid, ...others }]);
  return { modelId, didHash: ownerDid, ownerDid, granteeDid, consentId: granted[0]?.args['consentId'] };
}

test('nobody comes through a door that is not theirs, and a refused call changes nothing', () =>
  inWorld(async (world) => {
    const job = await openedJob(world, plainTerms(world, { modelId: hashOf('model') }), ETHER / 10n);
    const node = world.node(0);
    const facts = {
      jobId: job.id,
      nodePubkey: node,
      node,
      commitment: hashOf('some'),
      resultRoot: hashOf('some'),
      ...(await possessions(world)),
    };
    const { job: batched } = await submitJob(world, world.people.owner, plainTerms(world, { settlement: 1 }), 0n);
    // Neither account has a part in this job or operates the node; one of them speaks through the forwarder.
    const [, other] = world.people.operators;
    const relayed = world.people.operators.find(({ kind }) => kind === 'relayed');
    if (other === undefined || relayed === undefined) throw new Error('no strangers');
    for (const stranger of [world.people.outsider, other, relayed]) {
      for (const [contract, functions] of Object.entries(doors)) {
        for (const { name, inputs, stateMutability } of changing(contract)) {
          const error = functions[name];
          if (error === undefined) continue;
          const about = contract === 'batchedProofOfCompute' ? { ...facts, jobId: batched?.id } : facts;
          const args = inputs.map((input) => sample(input, about));
          const valueWei = stateMutability === 'payable' ? 7n : 0n;
          const before = await economy.read([[contract], [stranger.account]]);
          const reply = await economy.call(stranger, contract, name, args, valueWei);
          // The forwarder tells no reasons.
          const expected = stranger.kind === 'relayed' ? ['FailedCall', 'ERC2771UntrustfulTarget'] : [error];
          expect({ contract, name, expected }).toMatchObject({ contract, name, expected: expect.arrayContaining([refused(reply)]) });
          expect(await economy.read([[contract], [stranger.account]])).toEqual(before);
        }
      }
    }
  }));

/** Slots 0 to 2 of a round that is there, all committed to the right result. */
async function committedRound(world: World, budgetWei = 3n * 10n ** 16n): Promise<readonly [Place, Place, Place]> {
  const job = await openedJob(world, plainTerms(world), budgetWei);
  const place = (slot: number): Place => ({ job, round: 0, task: 0, slot });
  const places = [place(0), place(1), place(2)] as const;
  for (const one of places) expect(refused(await commit(world, one, results[0]))).toBe('taken');
  return places;
}

test('an account that calls back while it is paid is paid once, by every contract that pays', () =>
  inWorld(async (world) => {
    await armHostiles(world);
    const { hostileOwner, outsider, deployer } = world.people;
    const hostile = world.people.operators.find(({ kind }) => kind === 'hostile');
    const index = world.people.operators.findIndex(({ kind }) => kind === 'hostile');
    if (hostile === undefined) throw new Error('no hostile operator');

    // As an operator with a reward: credit of somebody else is in the same contract.
    await economy.must(outsider, 'jobManager', 'creditTo', [outsider.account], ETHER);
    await economy.must(outsider, 'jobManager', 'creditTo', [hostile.account], 5n);
    await economy.must(hostile, 'jobManager', 'withdraw');
    expect(await economy.read([[hostile.account], ['jobManager']])).toEqual([5n, ETHER]);

    // As an operator that takes its stake home.
    const node = world.node(index);
    await economy.must(hostile, 'nodeCertRegistry', 'startUnbonding', [node]);
    await chain.elapse(100_000);
    const [before, stakes] = (await economy.read([[hostile.account], ['nodeCertRegistry']])) as [bigint, bigint];
    await economy.must(hostile, 'nodeCertRegistry', 'withdrawStake', [node]);
    await economy.must(hostile, 'jobManager', 'withdraw');
    const [after, left] = (await economy.read([[hostile.account], ['nodeCertRegistry']])) as [bigint, bigint];
    expect([after - before, stakes - left]).toEqual([ETHER + BigInt(index), ETHER + BigInt(index)]);

    // As the owner of a job that is cancelled.
    const { job } = await submitJob(world, hostileOwner, plainTerms(world), 1_000n);
    if (job === null) throw new Error('refused');
    await economy.must(hostileOwner, 'jobManager', 'cancelJob', [job.id]);
    await economy.must(hostileOwner, 'jobManager', 'withdraw');
    expect(await economy.read([[hostileOwner.account], ['jobManager']])).toEqual([1_000n, ETHER]);

    // The pool gives nothing to whoever calls reclaim, however often.
    await economy.must(deployer, 'emissionPool', 'deposit', [], 9n);
    expect(refused(await economy.call(hostile, 'emissionPool', 'reclaim'))).toBe('NothingToWithdraw');
    expect(await economy.read([['emissionPool']])).toEqual([9n]);

    const { abi } = compiled('Hostile');
    for (const actor of [hostile, hostileOwner]) {
      const counts = await Promise.all(['attempts', 'successes'].map((name) => readHelper(actor.account, name, abi)));
      expect(counts[0]).toBeGreaterThan(0n);
      expect(counts[1]).toBe(0n);
    }
  }));

async function readHelper(to: Hex, functionName: string, abi: ReturnType<typeof compiled>['abi']): Promise<bigint> {
  const data = encodeFunctionData({ abi, functionName });
  return BigInt((await chain.request('eth_call', [{ to, data }, 'latest'])) as Hex);
}

test('a verdict for another chain, another contract, another place or by another account proves nothing', () =>
  inWorld(async (world) => {
    const [place] = await committedRound(world);
    for (const slot of [0, 1, 2]) expect(refused(await reveal(world, { ...place, slot }, results[0]))).toBe('taken');
    const said = { job: place.job.id, round: 0, task: 0, root: results[1], offence: 5 };
    const { validator, outsider } = world.people;
    const evidences = [
      await signVerdict(economy, validator.key, said, { chainId: chain.info.chainId + 1 }),
      await signVerdict(economy, validator.key, said, { verifyingContract: economy.contract('proofOfCompute').address }),
      await signVerdict(economy, validator.key, { ...said, round: 1 }),
      await signVerdict(economy, validator.key, { ...said, task: 1 }),
      await signVerdict(economy, validator.key, { ...said, job: zeroWord }),
      await signVerdict(economy, outsider.key, said),
    ];
    const args = (evidence: Hex) => [place.job.id, 0n, 0, 0, world.seat(place), verdictCid, evidence];
    for (const evidence of evidences) {
      expect(refused(await economy.call(outsider, 'proofOfCompute', 'convict', args(evidence)))).toBe('VerdictSignerWrong');
    }
    const right = await signVerdict(economy, validator.key, said);
    expect(refused(await economy.call(outsider, 'proofOfCompute', 'convict', args(right)))).toBe('taken');
    expect(refused(await economy.call(outsider, 'proofOfCompute', 'convict', args(right)))).toBe('AlreadyConvicted');
  }));

test('a second network on the same chain takes no verdict and no relayed call of the first', () =>
  inWorld(async (world) => {
    const options = { transport: chain.transport, privateKey: chain.keyOf(0), pollMs: 1 };
    const other = await Economy.open(chain, (await deployContracts(options)).contracts);
    const { outsider, validator } = world.people;
    const relayed = world.people.operators.find(({ kind }) => kind === 'relayed');
    if (relayed === undefined) throw new Error('no relayed operator');

    const [place] = await committedRound(world);
    for (const slot of [0, 1, 2]) await reveal(world, { ...place, slot }, results[0]);
    const said = { job: place.job.id, round: 0, task: 0, root: results[1], offence: 5 };
    const foreign = await signVerdict(other, validator.key, said);
    const args = [place.job.id, 0n, 0, 0, world.seat(place), verdictCid, foreign];
    expect(refused(await economy.call(outsider, 'proofOfCompute', 'convict', args))).toBe('VerdictSignerWrong');

    const { address, abi } = economy.contract('jobManager');
    const data = encodeFunctionData({ abi, functionName: 'transferCredit', args: [outsider.account, 3n] });
    await economy.must(outsider, 'jobManager', 'creditTo', [relayed.account], 10n);
    const signed = await economy.forwardRequest(relayed, address, data, 0n);
    expect(refused(await other.forward(signed, 0n))).toBe('ERC2771UntrustfulTarget');
    expect(refused(await economy.forward(signed, 0n))).toBe('taken');
    // The same request again, one for another chain, one that is too old, and one that somebody has changed.
    expect(refused(await economy.forward(signed, 0n))).toBe('ERC2771ForwarderInvalidSigner');
    const elsewhere = await economy.forwardRequest(relayed, address, data, 0n, { chainId: chain.info.chainId + 1 });
    expect(refused(await economy.forward(elsewhere, 0n))).toBe('ERC2771ForwarderInvalidSigner');
    const old = await economy.forwardRequest(relayed, address, data, 0n, { deadline: 1 });
    expect(refused(await economy.forward(old, 0n))).toBe('ERC2771ForwarderExpiredRequest');
    const more = encodeFunctionData({ abi, functionName: 'transferCredit', args: [outsider.account, 7n] });
    const changed = { ...(await economy.forwardRequest(relayed, address, data, 0n)), data: more };
    expect(refused(await economy.forward(changed, 0n))).toBe('ERC2771ForwarderInvalidSigner');
    expect(await economy.read([['jobManager', 'credits', [relayed.account]]])).toEqual([7n]);
  }));

test('only the forwarder can speak for somebody: a sender appended by anybody else counts for nothing', () =>
  inWorld(async (world) => {
    const { outsider, owner } = world.people;
    await economy.must(outsider, 'jobManager', 'creditTo', [owner.account], 10n);
    const { address, abi } = economy.contract('jobManager');
    const call = encodeFunctionData({ abi, functionName: 'transferCredit', args: [outsider.account, 10n] });
    const reply = await economy.send(outsider, address, `${call}${owner.account.slice(2)}`, 0n);
    expect(refused(reply)).toBe('CreditTooLow');
    expect(await economy.read([['jobManager', 'credits', [owner.account]]])).toEqual([10n]);
  }));

test('who copies a commitment before it is mined keeps nobody from committing and can never open the copy', () =>
  inWorld(async (world) => {
    const job = await openedJob(world, plainTerms(world), 3n * 10n ** 16n);
    const [first, second, third] = [0, 1, 2].map((slot): Place => ({ job, round: 0, task: 0, slot })) as [Place, Place, Place];
    const seen = commitmentOf(world, first, results[0]);
    const thief = world.operatorOf(world.seat(second));
    const owned = world.operatorOf(world.seat(first));
    // Into the same slot: it is not the thief's, neither with the victim's node nor with its own.
    expect(refused(await commit(world, first, results[0], thief, seen))).toBe('NodeNotInSlot');
    const args = [job.id, 0n, 0, 0, world.seat(second), seen, world.proof(first)];
    expect(refused(await economy.call(thief, 'proofOfCompute', 'commit', args))).toBe('NodeNotInSlot');
    // Into its own slot it may put what it likes, and is left with a commitment that it cannot open.
    expect(refused(await commit(world, second, results[0], thief, seen))).toBe('taken');
    expect(refused(await commit(world, first, results[0], owned))).toBe('taken');
    expect(refused(await commit(world, third, results[0]))).toBe('taken');
    expect(refused(await reveal(world, first, results[0]))).toBe('taken');
    const [, , , , , salt, root, cid, proof] = opening(world, first, results[0]);
    const copied = { ...(proof as object), nodePubkey: world.seat(second) };
    const copy = [job.id, 0n, 0, 1, world.seat(second), salt, root, cid, copied];
    expect(refused(await economy.call(thief, 'proofOfCompute', 'reveal', copy))).toBe('CommitmentMismatch');
  }));

test('who copies a reveal before it is mined gains nothing by it, and the reveal itself is still taken and paid', () =>
  inWorld(async (world) => {
    const places = await committedRound(world);
    const [first] = places;
    const owned = world.operatorOf(world.seat(first));
    const thieves: readonly Actor[] = [world.people.outsider, world.operatorOf(world.seat(places[1]))];
    for (const thief of thieves) expect(refused(await reveal(world, first, results[0], thief))).toBe('CommitmentMismatch');
    for (const place of places) expect(refused(await reveal(world, place, results[0]))).toBe('taken');
    const accepted = [{ task: 0, score: 1, resultRoot: results[0], evidence: '0x' }] as const;
    expect(refused(await finalize(world, first.job, 0, 0, accepted))).toBe('taken');
    const credits = await economy.read([owned, ...thieves].map(({ account }): Question => ['jobManager', 'credits', [account]]));
    expect(credits).toEqual([10n ** 16n, 0n, 10n ** 16n]);
  }));

test('an owner who cancels between commit and reveal cannot keep the nodes from being paid', () =>
  inWorld(async (world) => {
    const places = await committedRound(world);
    const { owner, outsider } = world.people;
    const [first] = places;
    await economy.must(owner, 'jobManager', 'cancelJob', [first.job.id]);
    const args = [first.job.id, 0n, 0, 0, world.seat(first), world.proof(first)];
    expect(refused(await economy.call(owner, 'proofOfCompute', 'reportUnrevealed', args))).not.toBe('taken');
    for (const place of places) expect(refused(await reveal(world, place, results[0]))).toBe('taken');
    await economy.must(outsider, 'proofOfCompute', 'settleTask', [first.job.id, 0n, 0, results[0]]);
    expect(await economy.read([['jobManager', 'credits', [world.operatorOf(world.seat(first)).account]]])).toEqual([10n ** 16n]);
  }));

test('owner, node and validator of a job who are one cannot draw more from the insurance fund than the conviction brought in', () =>
  inWorld(async (world) => {
    const { owner, outsider } = world.people;
    await economy.must(outsider, 'insuranceFund', 'deposit', [], ETHER);
    const places = await committedRound(world, (27n * ETHER) / 10n);
    for (const place of places) await reveal(world, place, results[0]);
    const accepted = [{ task: 0, score: 1, resultRoot: results[0], evidence: '0x' }] as const;
    await finalize(world, places[0].job, 0, 0, accepted);
    const [before] = (await economy.read([['insuranceFund']])) as [bigint];
    for (const place of places) expect(refused(await convict(world, place, results[1], 2, outsider))).toBe('taken');
    const [after, owed] = (await economy.read([['insuranceFund'], ['insuranceFund', 'owed', [owner.account]]])) as [bigint, bigint];
    expect(owed).toBeLessThanOrEqual(after - before);

    // Nodes that have left have no stake to lose, so there is nothing to insure either.
    const { job } = await submitJob(world, owner, plainTerms(world), 3n * 10n ** 16n, { first: 6 });
    if (job === null) throw new Error('refused');
    await openRound(world, job, 0);
    const later = [0, 1, 2].map((slot): Place => ({ job, round: 0, task: 0, slot }));
    for (const place of later) await commit(world, place, results[0]);
    for (const place of later) await reveal(world, place, results[0]);
    await finalize(world, job, 0, 0, accepted);
    for (const place of later)
      await economy.must(world.operatorOf(world.seat(place)), 'nodeCertRegistry', 'startUnbonding', [world.seat(place)]);
    await chain.elapse(100_000);
    for (const place of later)
      await economy.must(world.operatorOf(world.seat(place)), 'nodeCertRegistry', 'withdrawStake', [world.seat(place)]);
    for (const place of later) await convict(world, place, results[1], 2, outsider);
    expect(await economy.read([['insuranceFund', 'owed', [owner.account]]])).toEqual([owed]);
  }));

test('a node under challenge cannot take its stake home before the window is over, and is slashed in full if it is convicted meanwhile', () =>
  inWorld(async (world) => {
    const places = await committedRound(world);
    const [first] = places;
    const node = world.seat(first);
    const operator = world.operatorOf(node);
    await economy.must(operator, 'nodeCertRegistry', 'startUnbonding', [node]);
    await chain.elapse(7_000);
    for (const place of places) expect(refused(await reveal(world, place, results[0]))).toBe('taken');
    await chain.elapse(1_500);
    expect(refused(await economy.call(operator, 'nodeCertRegistry', 'withdrawStake', [node]))).toBe('StakeLocked');
    expect(refused(await convict(world, first, results[1], 5, world.people.outsider))).toBe('taken');
    await chain.elapse(100_000);
    expect(refused(await economy.call(operator, 'nodeCertRegistry', 'withdrawStake', [node]))).toBe('NodeDeactivated');
    const [slot, job] = (await economy.read([
      ['proofOfCompute', 'slotOf', [first.job.id, 0n, 0, 0]],
      ['jobManager', 'job', [first.job.id]],
    ])) as [{ status: number }, { status: number }];
    expect([slot.status, job.status]).toEqual([SlotStatus.Convicted, JobStatus.Running]);
  }));
