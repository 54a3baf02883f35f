/**
 * Actions around stakes and money, the passing of time, and changes of settings by those who may.
 */
import { encodeFunctionData, type Hex, toHex } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import type { Action, Dice, Outcome } from './history.ts';
import { NodeStatus, type World, zeroWord } from './world.ts';
import { calling, outcomeOf } from './work-actions.ts';

const ETHER = 10n ** 18n;

/** A call of the registry about some node, by its operator and now and then by somebody else. */
const aboutNode = (functionName: string, weight: number, valueWei: (dice: Dice) => bigint = () => 0n): Action<World> =>
  calling(functionName, weight, (world, dice) => {
    const node = dice.pick(world.nodes);
    const by = dice.chance(1, 10) ? dice.pick(world.everybody) : world.operatorOf(node);
    return Promise.resolve([by, 'nodeCertRegistry', functionName, [node], valueWei(dice)] as const);
  });

/** A call of any contract by anybody. */
const byAnybody = (
  contract: string,
  functionName: string,
  weight: number,
  args: (world: World, dice: Dice) => readonly unknown[] = () => [],
  valueWei: (dice: Dice) => bigint = () => 0n,
): Action<World> =>
  calling(functionName, weight, (world, dice) =>
    Promise.resolve([dice.pick(world.everybody), contract, functionName, args(world, dice), valueWei(dice)] as const),
  );

/** A call by whoever owns the contracts' settings. */
const byDeployer = (
  contract: string,
  functionName: string,
  weight: number,
  args: (world: World, dice: Dice) => readonly unknown[] | null,
): Action<World> =>
  calling(functionName, weight, (world, dice) => {
    const given = args(world, dice);
    return Promise.resolve(given === null ? null : ([world.people.deployer, contract, functionName, given] as const));
  });

const smallChange = (dice: Dice): bigint => BigInt(dice.below(5)) * 10n ** 16n + BigInt(dice.below(100));

/** Registers nodes that are not there, or were and have left. */
async function register(world: World, dice: Dice): Promise<Outcome> {
  const states = await world.nodeStates();
  const free = world.nodes.filter((_, index) => [NodeStatus.None, NodeStatus.Left].some((status) => states[index]?.status === status));
  const node = dice.pick(free.length > 0 && !dice.chance(1, 10) ? free : world.nodes);
  const valueWei = dice.chance(1, 10) ? BigInt(dice.below(100)) : BigInt(1 + dice.below(3)) * ETHER + BigInt(dice.below(1000));
  const args = [node, dice.below(5), 'eu', zeroWord, zeroWord];
  return outcomeOf(await world.economy.call(world.operatorOf(node), 'nodeCertRegistry', 'registerNode', args, valueWei));
}

/** How histories begin: short windows, and nodes with the smallest stake or little more. What more there is comes by chance. */
export async function settleIn(world: World): Promise<void> {
  const times = { heartbeat: 1_000, challenge: 5_000, unbonding: 8_000 };
  await world.economy.must(world.people.deployer, 'nodeCertRegistry', 'setTimes', [times]);
  for (const [index, node] of world.nodes.entries()) {
    const args = [node, 0, 'eu', zeroWord, zeroWord];
    await world.economy.must(world.operatorOf(node), 'nodeCertRegistry', 'registerNode', args, ETHER + BigInt(index));
  }
}

/** Lets seconds, minutes, hours or half a day pass. */
async function elapse(world: World, dice: Dice): Promise<Outcome> {
  await world.economy.chain.elapse(1 + dice.below(dice.pick([10, 600, 3_600, 40_000])));
  return 'accepted';
}

/** What the hostile contracts try while they are paid: to be paid again, by every door that pays. */
export async function armHostiles(world: World): Promise<void> {
  const { economy, everybody } = world;
  for (const actor of everybody.filter(({ kind }) => kind === 'hostile')) {
    const blows: readonly (readonly [string, string, readonly unknown[]])[] = [
      ['jobManager', 'withdraw', []],
      ['insuranceFund', 'claim', []],
      ['insuranceFund', 'claimFor', [actor.account]],
      ['emissionPool', 'reclaim', []],
      ...world.nodes.map((node) => ['nodeCertRegistry', 'withdrawStake', [node]] as const),
    ];
    for (const [contract, functionName, args] of blows) {
      const { address, abi } = economy.contract(contract);
      await economy.arm(actor, address, encodeFunctionData({ abi, functionName, args }));
    }
  }
}

/** The next step of a node on its way out: wait, take the stake home, come back. */
async function leave(world: World, dice: Dice): Promise<Outcome> {
  const states = await world.nodeStates();
  const going = world.nodes.filter((_, index) => states[index]?.status === NodeStatus.Unbonding);
  if (going.length === 0) return register(world, dice);
  const node = dice.pick(going);
  const reply = await world.economy.call(world.operatorOf(node), 'nodeCertRegistry', 'withdrawStake', [node]);
  return reply.taken ? 'accepted' : elapse(world, dice);
}

/** Everything that can be done with stakes and money. */
export const moneyActions: readonly Action<World>[] = [
  { name: 'registerNode', weight: 15, play: register },
  { name: 'leave', weight: 25, play: leave },
  aboutNode('topUp', 15, smallChange),
  aboutNode('startUnbonding', 12),
  aboutNode('cancelUnbonding', 6),
  aboutNode('withdrawStake', 5),
  aboutNode('heartbeat', 15),
  aboutNode('reportMissedHeartbeats', 12),
  byAnybody('jobManager', 'withdraw', 30),
  byAnybody('jobManager', 'creditTo', 5, (world, dice) => [dice.pick(world.everybody).account], smallChange),
  byAnybody('jobManager', 'transferCredit', 8, (world, dice) => [dice.pick(world.everybody).account, BigInt(dice.below(10 ** 9))]),
  byAnybody('insuranceFund', 'deposit', 6, () => [], smallChange),
  byAnybody('insuranceFund', 'claim', 6),
  byAnybody('insuranceFund', 'claimFor', 10, (world, dice) => [dice.pick([world.people.owner, world.people.hostileOwner]).account]),
  byAnybody(
    'emissionPool',
    'deposit',
    8,
    () => [],
    (dice) => smallChange(dice) * 20n,
  ),
  byAnybody('emissionPool', 'reclaim', 8),
  byDeployer('emissionPool', 'sponsor', 15, (world, dice) =>
    world.jobs.length === 0 ? null : [dice.pick(world.jobs).id, BigInt(1 + dice.below(10 ** 9))],
  ),
  byDeployer('emissionPool', 'setBlockReward', 3, (_, dice) => [BigInt(dice.below(100)) * 10n ** 15n]),
  byDeployer('nodeCertRegistry', 'setSlashShares', 3, (_, dice) => {
    const challenger = dice.below(10_001);
    const insurance = dice.below(10_001 - challenger);
    return [{ challenger, insurance, burn: 10_000 - challenger - insurance }];
  }),
  byDeployer('nodeCertRegistry', 'setTimes', 2, (_, dice) => [
    { heartbeat: 500 + dice.below(2_000), challenge: 1_000 + dice.below(5_000), unbonding: 6_000 + dice.below(5_000) },
  ]),
  byDeployer('nodeCertRegistry', 'setStakeTiers', 2, (_, dice) => {
    const basic = ETHER / BigInt(1 + dice.below(4));
    return [{ basic, gpu: 10n * ETHER, tee: 50n * ETHER, priority: 100n * ETHER }];
  }),
  { name: 'time passes', weight: 40, play: elapse },
];

/** Blocks go by without calls. */
export async function mineBlocks(world: World, blocks: number): Promise<void> {
  await world.economy.chain.request('hardhat_mine', [toHex(blocks)]);
}

/** Whose money is looked after: everybody and those who drive a contract, the contracts, and the address that burned money goes to. */
export const accountsOf = (world: World): readonly Hex[] => [
  ...new Set(world.everybody.flatMap(({ account, key }) => [account, privateKeyToAccount(key).address.toLowerCase() as Hex])),
  ...[...world.economy.contracts.values()].map(({ address }) => address),
  '0x000000000000000000000000000000000000dead',
];
