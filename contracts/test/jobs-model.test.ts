/** AIJobManager and its ledger of credits against a small model of them: random calls, all money compared to the wei after each. */
import { plainPolicy } from '@muster/protocol';
import * as fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { accountOf, type Handle } from './handles.ts';
import { rootOf, startTestChain, type TestChain, zeroRoot } from './harness.ts';
import { type JobCall, JobsModel, jobStates } from './jobs-model.ts';
import { doors, loneManager, nextTime, timeOf } from './lone.ts';

let chain: TestChain;
let manager: Handle;
beforeAll(async () => {
  chain = await startTestChain();
  manager = await loneManager(chain);
});
afterAll(() => chain.close());

/** Actor 1 owns and coordinates, actor 2 owns or coordinates, actor 3 works. */
const people = [1, 2, 3] as const;
const all = [...people, doors.settlement, doors.batched, doors.trainRequest, doors.emissionPool] as const;
const addressOf = (actor: number): string => accountOf(chain, actor);

/** Without accounts and ids, which there are none of before the chain runs. People are actors. */
interface Step {
  readonly does: JobCall['does'];
  readonly actor: number;
  readonly elapsed: number;
  readonly job: number;
  readonly who: readonly number[];
  readonly wei: bigint;
  readonly rounds: number;
  readonly flag: boolean;
}
const wei = fc.oneof(fc.constantFrom(0n, 1n, 2n, 7n, 100n), fc.bigInt({ min: 0n, max: 1_000n }), fc.constant(2n ** 128n - 1n));
const elapsed = fc.constantFrom(1, 1, 1, 1, 30, 59, 60, 61, 119, 121, 500);
const calls = [
  ...(['submitJob', 'submitRequest', 'sponsorJob', 'specifyJob', 'pauseJob', 'resumeJob', 'cancelJob', 'failJob'] as const),
  ...(['completeJob', 'releaseReserve', 'payReward', 'payRewards', 'payReserved', 'creditTo', 'transferCredit', 'withdraw'] as const),
  // A round takes three calls.
  ...(['closeNodes', 'assign', 'advanceRound', 'closeNodes', 'assign', 'advanceRound', 'payRewards', 'payReserved'] as const),
];
/** Who usually makes a call: -1 the owner, -2 the coordinator of the job it is about. */
const usual: Partial<Record<JobCall['does'], number>> = {
  submitRequest: doors.trainRequest,
  sponsorJob: doors.emissionPool,
  cancelJob: -1,
  pauseJob: -1,
  resumeJob: -2,
  specifyJob: -2,
  closeNodes: -2,
  assign: -2,
  payReward: doors.batched,
  payRewards: doors.batched,
  payReserved: doors.batched,
  advanceRound: doors.batched,
};
const stepOf = (does: JobCall['does']): fc.Arbitrary<Step> =>
  fc.record({
    does: fc.constant(does),
    actor: fc.oneof({ weight: 5, arbitrary: fc.constant(usual[does] ?? 1) }, { weight: 1, arbitrary: fc.constantFrom(...all) }),
    elapsed,
    job: fc.oneof({ weight: 12, arbitrary: fc.nat(2) }, { weight: 1, arbitrary: fc.constant(9) }),
    who: fc.array(fc.constantFrom(...people), { minLength: 1, maxLength: 3 }),
    wei,
    rounds: fc.integer({ min: 1, max: 3 }),
    flag: fc.boolean(),
  });
/** Two jobs, the first with an open round. */
const first = fc.tuple(
  ...(['submitJob', 'submitJob', 'closeNodes', 'assign'] as const).map((does, index) =>
    stepOf(does).map((one) => ({ ...one, actor: index < 2 ? 1 : -2, job: 0, flag: index === 0 || one.flag, wei: one.wei + 2n })),
  ),
);
const step = fc.constantFrom(...calls).chain(stepOf);

/** Value that an actor can send: what it cannot pay would be refused before the contract sees it. */
const affordable = (amount: bigint): bigint => (amount > 1_000n ? 999n : amount);

/** The call that a step stands for. */
function callOf(step_: Step, model: JobsModel, idOf: (owner: string) => string): JobCall {
  const { does, job, who, rounds, flag } = step_;
  const [one = 1, two = 2] = who;
  const valueWei = affordable(step_.wei);
  const terms = { coordinator: addressOf(two), rounds, timeout: flag ? 60 : 120, valueWei };
  switch (does) {
    case 'submitJob':
      return { does, id: idOf(addressOf(actorOf(step_, model))), specified: flag, ...terms };
    case 'submitRequest':
      return { does, id: idOf(addressOf(one)), owner: addressOf(one), ...terms };
    case 'closeNodes':
    case 'assign':
      return { does, job, ahead: step_.wei === 1n ? 1 : 0 };
    case 'sponsorJob':
      return { does, job, valueWei };
    case 'payReward':
      return { does, job, account: addressOf(one), amountWei: step_.wei };
    case 'payRewards':
    case 'payReserved':
      return { does, job, accounts: who.map(addressOf), amountWei: step_.wei };
    case 'creditTo':
      return { does, account: addressOf(one), valueWei };
    case 'transferCredit':
      return { does, account: addressOf(one), amountWei: step_.wei };
    case 'withdraw':
      return { does };
    default:
      return { does, job };
  }
}

function actorOf({ actor, job }: Step, model: JobsModel): number {
  if (actor >= 0) return actor;
  const found = model.jobs[job];
  const wanted = actor === -1 ? found?.owner : found?.coordinator;
  return all.find((candidate) => addressOf(candidate) === wanted) ?? 1;
}

const digest = rootOf('what is asked for');

/** The contract function's arguments, and the money sent along. */
function argumentsOf(call: JobCall, model: JobsModel): readonly [readonly unknown[], bigint] {
  const id = 'job' in call ? (model.jobs[call.job]?.id ?? zeroRoot) : zeroRoot;
  const round = 'job' in call ? BigInt(model.jobs[call.job]?.nextRound ?? 0) : 0n;
  switch (call.does) {
    case 'submitJob':
      return [[termsOf(call, call.specified ? digest : zeroRoot)], call.valueWei];
    case 'submitRequest':
      return [[call.owner, termsOf(call, zeroRoot), digest], call.valueWei];
    case 'specifyJob':
      return [[id, digest], 0n];
    case 'closeNodes':
      return [[id, round + BigInt(call.ahead), digest, 1], 0n];
    case 'assign':
      return [[id, round + BigInt(call.ahead), digest, digest, 0n], 0n];
    case 'sponsorJob':
      return [[id], call.valueWei];
    case 'payReward':
      return [[id, call.account, call.amountWei], 0n];
    case 'payRewards':
    case 'payReserved':
      return [[id, call.accounts, call.amountWei], 0n];
    case 'advanceRound':
      return [[id, 0], 0n];
    case 'creditTo':
      return [[call.account], call.valueWei];
    case 'transferCredit':
      return [[call.account, call.amountWei], 0n];
    case 'withdraw':
      return [[], 0n];
    default:
      return [[id], 0n];
  }
}

function termsOf({ coordinator, rounds, timeout }: { coordinator: string; rounds: number; timeout: number }, specCid: string) {
  const shape = { specCid, modelId: zeroRoot, rounds: BigInt(rounds), tasks: 1, redundancy: 1, coordinator, validator: coordinator };
  const reward = { ...plainPolicy(1).reward, model: 0 };
  return { ...shape, kind: 0, settlement: 1, minParticipants: 0, roundTimeout: BigInt(timeout), reward };
}

test('the job manager does what its model does, call by call, to the wei', async () => {
  const reached = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(first, fc.array(step, { minLength: 30, maxLength: 70 }), (firsts, chosen) =>
      chain.reverting(async () => {
        const settlement = addressOf(doors.batched);
        const model = new JobsModel({
          settlement,
          trainRequest: addressOf(doors.trainRequest),
          emissionPool: addressOf(doors.emissionPool),
        });
        let time = await timeOf(chain);
        for (const next of [...firsts, ...chosen]) {
          const actor = actorOf(next, model);
          const owner = next.does === 'submitRequest' ? addressOf(next.who[0] ?? 1) : addressOf(actor);
          const specCid = next.does === 'submitJob' && !next.flag ? zeroRoot : digest;
          const id = (await manager.read('nextJobId', [owner, specCid])) as string;
          const call = callOf(next, model, () => id);
          const [args, valueWei] = argumentsOf(call, model);
          await nextTime(chain, time + next.elapsed);
          const refusal = model.apply(addressOf(actor), call, time + next.elapsed);
          const outcome = `${call.does} ${refusal === null ? 'done' : String(refusal[0])}`;
          reached.set(outcome, (reached.get(outcome) ?? 0) + 1);
          if (refusal === null) {
            await manager.call(actor, call.does, args, valueWei);
            time += next.elapsed;
          } else {
            expect(await manager.refused(actor, call.does, args, valueWei)).toEqual(refusal);
          }
          const about = 'job' in call ? model.jobs[call.job] : model.jobs.at(-1);
          if (about !== undefined) {
            const { budget, paid, sponsored, reserve, progressAt, endedAt, nextRound } = about;
            expect(await manager.read('job', [about.id])).toMatchObject({
              owner: about.owner,
              coordinator: about.coordinator,
              status: jobStates.indexOf(about.state) + 1,
              budget,
              paid,
              sponsored,
              reserve,
              nextRound: BigInt(nextRound),
              progressAt,
              endedAt,
              specCid: about.specified ? digest : zeroRoot,
            });
          }
          expect(await chain.reader.balance(manager.address)).toBe(model.escrowWei + model.totalCredit());
        }
        for (const actor of all) {
          expect(await manager.read('credits', [addressOf(actor)])).toBe(model.credit(addressOf(actor)));
          expect(await manager.read('jobCount', [addressOf(actor)])).toBe(BigInt(model.countOf(addressOf(actor))));
        }
      }),
    ),
    { numRuns: 20 },
  );
  // The random calls would prove little if nearly all of them were refused.
  expect(reached.size).toBeGreaterThan(40);
}, 180_000);
