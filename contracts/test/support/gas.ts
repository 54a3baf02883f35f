/**
 * The price of every call, measured on a fresh chain: for the committed snapshot and for `npm run bench -- gas`. Figures are exact and the
 * same on every machine; what a call costs where its storage is used for the first time and later is told apart where it matters.
 */
import { concat, encodeFunctionData, type Hex, hexToBytes } from 'viem';
import { batchProofHashes } from '@muster/round';
import { type Address, holderOf, type JobId } from '@muster/protocol';
import { BatchDriver, type BatchSeat, type Stage } from '../batch-stage.ts';
import { handleAt } from '../handles.ts';
import { nodeOf, rootOf, type TestChain } from '../harness.ts';
import { type Actor, compiled, createContract, Economy, type Reply } from './economy.ts';
import { settleIn } from './money-actions.ts';
import { type Accepted, assignment, commit, convict, finalize, openRound, plainTerms, reveal, submitJob } from './steps.ts';
import { hashOf, type Place, type PlannedJob, results, World, zeroWord } from './world.ts';

const ETHER = 10n ** 18n;
/** Nodes of the large round, four to a task. */
const NODES_OF_A_ROUND = 1_000;
const REDUNDANCY_OF_A_ROUND = 4;
const PROOFS_OF_A_BATCH = 1_000;

/** What a call may cost. `null` is told without a judgement. */
export interface GasRow {
  readonly name: string;
  readonly gas: number;
  readonly target: number | null;
  /** What else does about the same, in gas. */
  readonly peers: Readonly<Record<string, number>>;
}

class Ledger {
  readonly rows: GasRow[] = [];

  /** Notes what a call has cost, which must have been taken. */
  note(name: string, reply: Reply, target: number | null = null, peers: Readonly<Record<string, number>> = {}): void {
    if (!reply.taken) throw new Error(`${name} was refused: ${reply.error}`);
    this.figure(name, Number(reply.gas), target, peers);
  }

  figure(name: string, gas: number, target: number | null = null, peers: Readonly<Record<string, number>> = {}): void {
    this.rows.push({ name, gas, target, peers });
  }
}

/** All rows, on a chain that has seen nothing but the deployment. */
export async function measureGas(chain: TestChain): Promise<readonly GasRow[]> {
  const economy = await Economy.open(chain);
  const world = new World(economy, await World.people(economy));
  const ledger = new Ledger();
  await settleIn(world);
  const token = await tokenTransfer(world);
  await nodes(world, ledger, token);
  await rounds(world, ledger, token);
  await money(world, ledger);
  await models(world, ledger);
  await trainingProofs(world, ledger);
  await batchedRound(world, ledger);
  return ledger.rows;
}

/** A transfer of a plain token to somebody who has some: the yardstick of small calls. */
async function tokenTransfer({ economy, people }: World): Promise<number> {
  const token = await createContract(economy.chain, 'YardstickToken', []);
  const { abi } = compiled('YardstickToken');
  const data = encodeFunctionData({ abi, functionName: 'transfer', args: [people.outsider.account, 5n] });
  await economy.send(people.deployer, token, data, 0n);
  const second = await economy.send(people.deployer, token, data, 0n);
  return second.taken ? Number(second.gas) : Number.NaN;
}

async function nodes(world: World, ledger: Ledger, transfer: number): Promise<void> {
  const { economy, people } = world;
  const node = world.node(0);
  const operator = world.operatorOf(node);
  const extra = hashOf('extra node');
  const registration = [extra, 0, 'eu', zeroWord, zeroWord];
  ledger.note('registerNode', await economy.call(people.outsider, 'nodeCertRegistry', 'registerNode', registration, ETHER));
  await economy.chain.elapse(10);
  const heartbeat = await economy.call(operator, 'nodeCertRegistry', 'heartbeat', [node]);
  ledger.note('heartbeat', heartbeat, 35_000, { 'ERC-20 transfer': transfer });
  const index = people.operators.findIndex(({ kind }) => kind === 'relayed');
  const relayed = people.operators[index];
  if (relayed !== undefined)
    ledger.note('heartbeat, relayed', await economy.call(relayed, 'nodeCertRegistry', 'heartbeat', [world.node(index)]));
  ledger.note('topUp', await economy.call(people.outsider, 'nodeCertRegistry', 'topUp', [extra], 1n));
  ledger.note('startUnbonding', await economy.call(people.outsider, 'nodeCertRegistry', 'startUnbonding', [extra]));
  ledger.note('cancelUnbonding', await economy.call(people.outsider, 'nodeCertRegistry', 'cancelUnbonding', [extra]));
  await economy.must(people.outsider, 'nodeCertRegistry', 'startUnbonding', [extra]);
  await economy.chain.elapse(8_001);
  ledger.note('withdrawStake', await economy.call(people.outsider, 'nodeCertRegistry', 'withdrawStake', [extra]));
  const silent = await economy.call(people.deployer, 'nodeCertRegistry', 'reportMissedHeartbeats', [world.node(11)]);
  ledger.note('reportMissedHeartbeats, slashing', silent);
}

/** The right result of `tasks`, accepted. */
const accepted = (...tasks: number[]): Accepted[] => tasks.map((task) => ({ task, score: 1, resultRoot: results[0], evidence: '0x' }));

async function rounds(world: World, ledger: Ledger, transfer: number): Promise<void> {
  const { economy, people } = world;
  const terms = plainTerms(world, { rounds: 4n, tasks: 2 });
  const { reply, job } = await submitJob(world, people.owner, terms, 24_000n);
  ledger.note('submitJob', reply);
  if (job === null) throw new Error('refused');
  const at = (round: number, task: number, slot: number): Place => ({ job, round, task, slot });
  const everywhere = (round: number): Place[] => [0, 1].flatMap((task) => [0, 1, 2].map((slot) => at(round, task, slot)));

  ledger.note('closeNodes', await economy.call(people.coordinator, 'jobManager', 'closeNodes', [job.id, 0n, zeroWord, 12]));
  ledger.note('assign', await economy.call(people.coordinator, 'jobManager', 'assign', assignment(world, job, 0)));
  for (const place of everywhere(0)) {
    if (place.task + place.slot === 0)
      ledger.note('commit', await commit(world, place, results[0]), 60_000, { 'ERC-20 transfer': transfer });
    else await commit(world, place, results[0]);
  }
  for (const place of everywhere(0)) {
    if (place.task + place.slot === 0) ledger.note('reveal', await reveal(world, place, results[0]));
    else await reveal(world, place, results[0]);
  }
  await economy.chain.reverting(async () => ledger.note('finalize, no task', await finalize(world, job, 0, 0, [])));
  await economy.chain.reverting(async () => ledger.note('finalize, 2 tasks of 3 slots', await finalize(world, job, 0, 0, accepted(0, 1))));
  const first = await finalize(world, job, 0, 0, accepted(0));
  ledger.note('finalize, a task of 3 slots, nodes never paid before', first, 120_000);
  ledger.note('convict, result paid', await convict(world, at(0, 0, 0), results[1], 2, people.outsider));

  await openRound(world, job, 1);
  for (const place of everywhere(1)) await commit(world, place, results[0]);
  for (const place of everywhere(1)) await reveal(world, place, results[0]);
  ledger.note('finalize, a task of 3 slots, nodes paid before', await finalize(world, job, 1, 0, accepted(0)), 120_000);
  const places = [0, 1, 2].map((slot) => ({ jobId: job.id, round: 1n, task: 0, slot }));
  await economy.chain.reverting(async () =>
    ledger.note('creditNodes, 1 slot', await economy.call(people.outsider, 'proofOfCompute', 'creditNodes', [places.slice(0, 1)])),
  );
  ledger.note('creditNodes, 3 slots', await economy.call(people.outsider, 'proofOfCompute', 'creditNodes', [places]));

  await openRound(world, job, 2);
  const newNode = world.node(9);
  await economy.chain.reverting(async () =>
    ledger.note('reassign', await economy.call(people.coordinator, 'jobManager', 'reassign', [job.id, 2n, 1, 2, newNode])),
  );
  for (const place of everywhere(2).slice(0, 5)) await commit(world, place, results[0]);
  ledger.note('closeCommits', await economy.call(people.outsider, 'proofOfCompute', 'closeCommits', [job.id, 2n, 1]));
  await endings(world, ledger, job, everywhere(2));
}

async function endings(world: World, ledger: Ledger, job: PlannedJob, places: readonly Place[]): Promise<void> {
  const { economy, people } = world;
  ledger.note('pauseJob', await economy.call(people.owner, 'jobManager', 'pauseJob', [job.id]));
  ledger.note('resumeJob', await economy.call(people.owner, 'jobManager', 'resumeJob', [job.id]));
  await economy.chain.reverting(async () => {
    ledger.note('cancelJob, round open', await economy.call(people.owner, 'jobManager', 'cancelJob', [job.id]));
    for (const place of places.slice(0, 3)) await reveal(world, place, results[0]);
    ledger.note('settleTask, 3 slots', await economy.call(people.outsider, 'proofOfCompute', 'settleTask', [job.id, 2n, 0, results[0]]));
    await economy.chain.elapse(3_001);
    ledger.note('releaseReserve', await economy.call(people.outsider, 'jobManager', 'releaseReserve', [job.id]));
  });
  await economy.chain.elapse(3_001);
  ledger.note('failJob', await economy.call(people.outsider, 'jobManager', 'failJob', [job.id]));
  await economy.chain.elapse(3_001);
  const [place] = places;
  if (place === undefined) throw new Error('no place');
  const args = [job.id, 2n, 0, 0, world.seat(place), world.proof(place)];
  ledger.note('reportUnrevealed, slashing', await economy.call(people.outsider, 'proofOfCompute', 'reportUnrevealed', args));
}

async function money(world: World, ledger: Ledger): Promise<void> {
  const { economy, people } = world;
  const operator = world.operatorOf(world.node(1));
  const [own] = await economy.read([['jobManager', 'credits', [operator.account]]]);
  if (own === 0n) throw new Error('nothing was paid');
  ledger.note('transferCredit', await economy.call(operator, 'jobManager', 'transferCredit', [people.owner.account, 1n]));
  ledger.note('withdraw', await economy.call(operator, 'jobManager', 'withdraw'));
  ledger.note('claim of insurance', await economy.call(people.owner, 'insuranceFund', 'claim'));
}

async function models(world: World, ledger: Ledger): Promise<void> {
  const { economy, people } = world;
  const modelId = hashOf('gas model');
  ledger.note(
    'registerModel',
    await economy.call(people.owner, 'modelRegistry', 'registerModel', [modelId, hashOf('cid'), hashOf('data')]),
  );
  const { job } = await submitJob(world, people.owner, plainTerms(world, { modelId }), 0n);
  if (job === null) throw new Error('refused');
  await openRound(world, job, 0);
  await finalize(world, job, 0, 0, []);
  const checkpoint = [modelId, job.id, 0n, hashOf('checkpoint')];
  ledger.note('addCheckpoint', await economy.call(people.owner, 'modelRegistry', 'addCheckpoint', checkpoint));
  ledger.note('publishModel', await economy.call(people.owner, 'modelRegistry', 'publishModel', [modelId, hashOf('checkpoint')]));
}

/** Training proofs: kept whole, kept as a hash, and a thousand at once. */
async function trainingProofs(world: World, ledger: Ledger): Promise<void> {
  const { economy, people } = world;
  const { job } = await submitJob(world, people.owner, plainTerms(world), 0n);
  if (job === null) throw new Error('refused');
  const node = world.node(1);
  const proof = {
    jobId: job.id,
    step: 1n,
    lossDigest: hashOf('loss'),
    gradientDigest: hashOf('gradient'),
    weightsDigest: hashOf('weights'),
    timestamp: 1_700_000_000_000n,
    nodePubkey: node,
    signature: `0x${'5a'.repeat(64)}`,
  };
  const { abi } = compiled('NaiveProofs');
  const naive = await economy.send(
    people.outsider,
    await createContract(economy.chain, 'NaiveProofs', []),
    encodeFunctionData({ abi, functionName: 'submit', args: [proof] }),
    0n,
  );
  const whole = { 'stored whole': naive.taken ? Number(naive.gas) : Number.NaN };
  ledger.note('recordTrainProof', await economy.call(world.operatorOf(node), 'trainProofLog', 'recordTrainProof', [proof]), null, whole);

  const hashes = Array.from({ length: PROOFS_OF_A_BATCH }, (_, index) => rootOf(`proof ${index}`));
  const root = await economy.call(people.coordinator, 'trainProofLog', 'recordTrainProofs', [
    job.id,
    0n,
    batchProofHashes(hashes, false).root,
    PROOFS_OF_A_BATCH,
    hashOf('content'),
  ]);
  const packed = concat(hashes.map((hash) => hash.slice(0, 42) as Hex));
  const leaves = await economy.call(people.coordinator, 'trainProofLog', 'recordTrainProofsWithLeaves', [
    job.id,
    0n,
    packed,
    hashOf('content'),
  ]);
  for (const [name, reply] of [['root only', root] as const, ['root computed on chain', leaves] as const]) {
    if (!reply.taken) throw new Error(`the batch was refused: ${reply.error}`);
    // What calldata costs at least from Prague on is more than what the packed hashes cost to compute with, so it is counted.
    const floor = name === 'root only' ? 0 : calldataFloor(packed);
    ledger.figure(`a proof in a batch of 1 000, ${name}`, Math.max(Number(reply.gas), floor) / PROOFS_OF_A_BATCH, 1_000, whole);
  }
}

/** A round of a thousand nodes that the coordinator settles at once; what its transactions cost together. */
async function batchedRound(world: World, ledger: Ledger): Promise<void> {
  const { economy, people } = world;
  const shape = { rounds: 1, tasks: NODES_OF_A_ROUND / REDUNDANCY_OF_A_ROUND, redundancy: REDUNDANCY_OF_A_ROUND, budgetWei: ETHER };
  const terms = plainTerms(world, { settlement: 1, tasks: shape.tasks, redundancy: shape.redundancy, roundTimeout: 8_000n });
  const submitted = await economy.must(people.owner, 'jobManager', 'submitJob', [terms], shape.budgetWei);
  const job = submitted.find(({ event }) => event === 'JobSubmitted')?.args['job'] as JobId;
  const operators: readonly Actor[] = people.operators;
  const seats = Array.from({ length: NODES_OF_A_ROUND }, (_, index): BatchSeat => {
    const node = nodeOf(`round of ${NODES_OF_A_ROUND} ${index}`);
    const operator = operators[index % operators.length]?.account ?? zeroWord;
    return { node, actor: 4, holder: holderOf(node, operator as Address) };
  });
  const plays = seats.map((_, index) => ({ root: rootOf(`root ${Math.floor(index / REDUNDANCY_OF_A_ROUND)}`), opens: true }));
  const { chain } = economy;
  const handle = (name: string) => handleAt(chain, economy.contract(name).address as Address, economy.contract(name).abi);
  const stage: Stage = {
    chain,
    forwarder: handle('forwarder'),
    registry: handle('nodeCertRegistry'),
    jobs: handle('jobManager'),
    verifier: handle('faultVerifier'),
    batches: handle('batchedProofOfCompute'),
    reputation: handle('reputationRegistry'),
    insurance: handle('insuranceFund'),
    log: handle('trainProofLog'),
    now: async () => (await chain.reader.head()).time,
  };
  const driver = new BatchDriver(stage, job, 0, shape, seats, plays);
  const opened = await driver.open();
  const committed = await driver.commitBatch();
  await chain.elapse(7_000);
  const settled = driver.settled();
  const { abi } = economy.contract('batchedProofOfCompute');
  const data = encodeFunctionData({ abi, functionName: 'finalizeBatch', args: driver.resultArgs(settled) });
  const finalized = await driver.finalize(settled);
  const last = Math.max(Number(finalized.gas), calldataFloor(data));
  const accounts = seats.map(({ holder }) => holder);
  const naive = await naivePayments(world, accounts);
  ledger.figure('commitBatch, 1 000 nodes', Number(committed.gas));
  ledger.figure('finalizeBatch, 1 000 nodes', last);
  const all = Number(opened.closeNodes + opened.assign + committed.gas) + last;
  ledger.figure('a round of 1 000 nodes in batches', all, 3_000_000, { 'credits from a list, nothing checked': naive });
}

async function naivePayments({ economy, people }: World, accounts: readonly string[]): Promise<number> {
  const { abi } = compiled('NaivePayments');
  const to = await createContract(economy.chain, 'NaivePayments', []);
  const data = encodeFunctionData({ abi, functionName: 'pay', args: [accounts, 1n] });
  await economy.send(people.coordinator, to, data, 0n);
  const again = await economy.send(people.coordinator, to, data, 0n);
  return again.taken ? Number(again.gas) : Number.NaN;
}

/** What a transaction with this calldata costs at least from Prague on (EIP-7623): 10 gas a token, a byte is 4 tokens or, if 0, one. */
export function calldataFloor(data: Hex): number {
  let tokens = 0;
  for (const byte of hexToBytes(data)) tokens += byte === 0 ? 1 : 4;
  return 21_000 + 10 * tokens;
}
