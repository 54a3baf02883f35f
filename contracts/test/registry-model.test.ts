/** NodeCertRegistry against a small model of it: random calls by several accounts at random times, everything compared after each. */
import { nodeOf, startTestChain, type TestChain } from './harness.ts';
import * as fc from 'fast-check';
import { toHex } from 'viem';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { accountOf, type Handle } from './handles.ts';
import { burnAddress, doors, loneRegistry, loneSettings, nextTime, timeOf } from './lone.ts';
import { type RegistryCall, RegistryModel } from './registry-model.ts';

let chain: TestChain;
let registry: Handle;
beforeAll(async () => {
  chain = await startTestChain();
  ({ registry } = await loneRegistry(chain));
});
afterAll(() => chain.close());

/** Two operators, two challengers, the two doors and the owner. */
const actors = [0, 1, 2, 3, 4, doors.settlement, doors.batched] as const;
const zero = '0x0000000000000000000000000000000000000000';
const zeroWord = toHex(0n, { size: 32 });
const nodes = ['one', 'two', zeroWord].map((name) => (name === zeroWord ? zeroWord : nodeOf(`model ${name}`)));

const { tiers, times, shares } = loneSettings;
const node = fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...nodes.slice(0, 2)) }, { weight: 1, arbitrary: fc.constantFrom(...nodes) });
const wei = fc.oneof(
  fc.constantFrom(0n, 1n, 9n, 99n, tiers.basic - 1n, tiers.basic, tiers.gpu, tiers.tee, tiers.priority, 2n ** 104n),
  fc.bigInt({ min: 0n, max: 60_000n }),
);
const sent = fc.oneof(
  fc.constantFrom(0n, 1n, tiers.basic - 1n, tiers.basic, tiers.gpu - 1n, tiers.gpu, tiers.tee - 1n, tiers.tee, tiers.priority),
  fc.bigInt({ min: 0n, max: 60_000n }),
);
const caps = fc
  .tuple(fc.constantFrom(0n, 0n, 1n, 2n, 3n), fc.constantFrom(0n, 2n ** 8n, 2n ** 255n, 2n ** 104n - 4n))
  .map(([flags, rest]) => rest | flags);
const person = fc.constantFrom(1, 2);
const challenger = fc.constantFrom(1, 3, 4, null);
const door = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(doors.settlement, doors.batched) },
  { weight: 1, arbitrary: fc.constantFrom(...actors) },
);
const owner = fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constantFrom(...actors) });

const addressOf = (actor: number | null): string => (actor === null ? zero : accountOf(chain, actor));
interface Step {
  /** -1 stands for whoever operates node one or two. */
  readonly actor: number;
  readonly elapsed: number;
  /** Made when there is a chain, because it names accounts; `time` is when it is sent. */
  readonly call: (time: number) => RegistryCall;
}
const step = (weight: number, actor: fc.Arbitrary<number>, call: fc.Arbitrary<(time: number) => RegistryCall>) => ({
  weight,
  arbitrary: fc.record({
    actor,
    elapsed: fc.constantFrom(1, 1, 1, 37, 100, 199, 200, 299, 300, 301, 999, 1000, 1001, 2000, 2499, 2500, 6000),
    call,
  }) as fc.Arbitrary<Step>,
});
const operator = fc.oneof({ weight: 6, arbitrary: fc.constant(-1) }, { weight: 1, arbitrary: fc.constantFrom(...actors) });
const plainCall = fc.constantFrom('startUnbonding', 'cancelUnbonding', 'withdrawStake', 'heartbeat', 'reportMissedHeartbeats' as const);

const steps = fc.oneof(
  step(
    5,
    person,
    fc
      .record({ node, role: fc.nat(4), region: fc.constantFrom('', 'eu', 'x'.repeat(64), 'x'.repeat(65)), caps, valueWei: sent })
      .map((call) => () => ({ does: 'registerNode', ...call })),
  ),
  step(
    2,
    person,
    fc.record({ node, valueWei: sent }).map((call) => () => ({ does: 'topUp', ...call })),
  ),
  step(
    10,
    operator,
    fc.record({ does: plainCall, node }).map((call) => (): RegistryCall => call),
  ),
  step(
    6,
    door,
    fc.record({ node, amountWei: wei }).map((call) => () => ({ does: 'guard', ...call })),
  ),
  step(
    4,
    door,
    fc
      .record({ node, amountWei: wei, ago: fc.constantFrom(0, 500, 1_000, 2_500) })
      .map(({ ago, ...call }) => (time: number) => ({ does: 'release', ...call, guardedAt: time - ago })),
  ),
  step(
    4,
    door,
    fc.record({ node, offence: fc.nat(5), challenger, judge: challenger }).map((call) => () => ({
      does: 'slash',
      ...call,
      challenger: addressOf(call.challenger),
      judge: addressOf(call.judge),
    })),
  ),
  step(
    2,
    door,
    fc
      .record({ node, amountWei: wei, challenger })
      .map((call) => () => ({ does: 'slashFailedJob', ...call, challenger: addressOf(call.challenger) })),
  ),
  step(
    1,
    owner,
    fc
      .constantFrom(tiers, { ...tiers, basic: 2n, gpu: 2n }, { ...tiers, gpu: 1n }, { ...tiers, tee: 1n }, { ...tiers, priority: 1n })
      .map((chosen) => () => ({
        does: 'setStakeTiers',
        tiers: chosen,
      })),
  ),
  step(
    1,
    owner,
    fc
      .constantFrom(
        times,
        { ...times, challenge: 700 },
        { ...times, heartbeat: 0 },
        { ...times, challenge: 0 },
        { ...times, unbonding: 999 },
        { ...times, unbonding: 3_650 * 24 * 3_600 + 1 },
      )
      .map((chosen) => () => ({
        does: 'setTimes',
        times: chosen,
      })),
  ),
  step(
    1,
    owner,
    fc
      .constantFrom(
        shares,
        { challenger: 0, insurance: 10_000, burn: 0 },
        { challenger: 3_333, insurance: 3_333, burn: 3_334 },
        { ...shares, burn: 2_001 },
      )
      .map((chosen) => () => ({ does: 'setSlashShares', shares: chosen })),
  ),
);

/** Both nodes come with the first calls, each with an operator of its own. */
const firstSteps = fc.tuple(
  ...[0, 1].map((index) =>
    fc
      .record({ role: fc.nat(1), caps: fc.constantFrom(0n, 1n), valueWei: fc.constantFrom(tiers.gpu, 2n * tiers.gpu, tiers.priority) })
      .map((call): Step => ({
        actor: index + 1,
        elapsed: 1,
        call: () => ({ does: 'registerNode', node: nodes[index] ?? zeroWord, region: 'eu', ...call }),
      })),
  ),
);

/** The contract function's arguments, and the money sent along. */
function argumentsOf(call: RegistryCall): readonly [readonly unknown[], bigint] {
  switch (call.does) {
    case 'registerNode':
      return [[call.node, call.role, call.region, toHex(call.caps, { size: 32 }), zeroWord], call.valueWei];
    case 'topUp':
      return [[call.node], call.valueWei];
    case 'guard':
      return [[call.node, call.amountWei], 0n];
    case 'release':
      return [[call.node, call.amountWei, BigInt(call.guardedAt)], 0n];
    case 'slash':
      return [[call.node, call.offence, call.challenger, call.judge], 0n];
    case 'slashFailedJob':
      return [[call.node, call.amountWei, call.challenger], 0n];
    case 'setStakeTiers':
      return [[call.tiers], 0n];
    case 'setTimes':
      return [[call.times], 0n];
    case 'setSlashShares':
      return [[call.shares], 0n];
    default:
      return [[call.node], 0n];
  }
}

test('the registry does what its model does, call by call, to the wei', async () => {
  const { insuranceFund } = chain.info.contracts;
  const balances = async (): Promise<readonly bigint[]> =>
    Promise.all([registry.address, insuranceFund, burnAddress].map((address) => chain.reader.balance(address)));
  const reached = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(firstSteps, fc.array(steps, { minLength: 30, maxLength: 60 }), (first, chosen) =>
      chain.reverting(async () => {
        const model = new RegistryModel(loneSettings, accountOf(chain, 0), [doors.settlement, doors.batched].map(addressOf));
        const before = await balances();
        let time = await timeOf(chain);
        for (const { actor: wanted, elapsed, call: make } of [...first, ...chosen]) {
          const call = make(time + elapsed);
          const actor = wanted >= 0 ? wanted : 'node' in call && call.node === nodes[1] ? 2 : 1;
          const [args, valueWei] = argumentsOf(call);
          await nextTime(chain, time + elapsed);
          const refusal = model.apply(accountOf(chain, actor), call, time + elapsed);
          const outcome = `${call.does} ${refusal === null ? 'done' : String(refusal[0])}`;
          reached.set(outcome, (reached.get(outcome) ?? 0) + 1);
          if (refusal === null) {
            await registry.call(actor, call.does, args, valueWei);
            time += elapsed;
          } else {
            expect(await registry.refused(actor, call.does, args, valueWei)).toEqual(refusal);
          }
          if (!('node' in call)) continue;
          const id = call.node;
          const [cert, withdrawableAt, freeStake, tier, operator] = await Promise.all(
            ['nodeCert', 'withdrawableAt', 'freeStake', 'tierOf', 'operatorOf'].map((name) => registry.read(name, [id])),
          );
          const { caps: word, ...expected } = model.node(id);
          expect(cert).toMatchObject({ ...expected, caps: toHex(word, { size: 32 }) });
          expect(withdrawableAt).toBe(BigInt(model.withdrawableAt(id)));
          expect(freeStake).toBe(model.freeStake(id, time));
          expect(tier).toBe(model.tierOf(id));
          expect(operator).toEqual([expected.operator, expected.status === 1]);
          expect(await balances()).toEqual([
            (before[0] ?? 0n) + model.totalStake(),
            (before[1] ?? 0n) + model.insured,
            (before[2] ?? 0n) + model.burned,
          ]);
        }
        for (const actor of actors) expect(await chain.reader.credit(addressOf(actor) as never)).toBe(model.credit(addressOf(actor)));
      }),
    ),
    { numRuns: 20 },
  );
  // The random calls would prove little if nearly all of them were refused.
  expect(reached.size).toBeGreaterThan(30);
}, 180_000);
