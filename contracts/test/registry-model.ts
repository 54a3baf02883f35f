/**
 * What NodeCertRegistry should do, in small: nodes, stakes, exposure, and where slashed money goes. For random tests of the contract.
 *
 * Offences cost what packages/round says. Attestations and reputation are not in it.
 */
import type { Offence } from '@muster/protocol';
import { divideSlash, penaltyOf, slashingTable } from '../../packages/round/src/slashing.ts';
import type { LoneSettings } from './lone.ts';

/** As the contract counts them. */
export const offenceNames: readonly Offence[] = [
  'missedHeartbeats',
  'failedJob',
  'gradientMismatch',
  'invalidProof',
  'fakeGradients',
  'provenCheating',
];
const maxStake = 2n ** 104n - 1n;

export const status = { none: 0, active: 1, suspended: 2, unbonding: 3, left: 4, deactivated: 5 } as const;

export interface ModelNode {
  operator: string;
  role: number;
  status: number;
  offences: number;
  stake: bigint;
  lastHeartbeat: number;
  lockedUntil: number;
  unbondingSince: number;
  exposure: bigint;
  exposureBefore: bigint;
  exposureWindow: number;
  caps: bigint;
}

const unregistered = (): ModelNode => ({
  operator: '0x0000000000000000000000000000000000000000',
  role: 0,
  status: status.none,
  offences: 0,
  stake: 0n,
  lastHeartbeat: 0,
  lockedUntil: 0,
  unbondingSince: 0,
  exposure: 0n,
  exposureBefore: 0n,
  exposureWindow: 0,
  caps: 0n,
});

/** A call: who calls, and what with. Accounts are addresses. */
export type RegistryCall =
  | { does: 'registerNode'; node: string; role: number; region: string; caps: bigint; valueWei: bigint }
  | { does: 'topUp'; node: string; valueWei: bigint }
  | { does: 'startUnbonding' | 'cancelUnbonding' | 'withdrawStake' | 'heartbeat' | 'reportMissedHeartbeats'; node: string }
  | { does: 'guard'; node: string; amountWei: bigint }
  | { does: 'release'; node: string; amountWei: bigint; guardedAt: number }
  | { does: 'slash'; node: string; offence: number; challenger: string; judge: string }
  | { does: 'slashFailedJob'; node: string; amountWei: bigint; challenger: string }
  | { does: 'setStakeTiers'; tiers: LoneSettings['tiers'] }
  | { does: 'setTimes'; times: LoneSettings['times'] }
  | { does: 'setSlashShares'; shares: LoneSettings['shares'] };

/** Thrown for a call that the contract refuses: the error's name and arguments. */
class Refused extends Error {
  readonly refusal: readonly unknown[];
  constructor(...refusal: readonly unknown[]) {
    super(String(refusal[0]));
    this.refusal = refusal;
  }
}

export class RegistryModel {
  private readonly nodes = new Map<string, ModelNode>();
  private readonly credits = new Map<string, bigint>();
  insured = 0n;
  burned = 0n;
  tiers: LoneSettings['tiers'];
  times: LoneSettings['times'];
  shares: LoneSettings['shares'];
  private readonly owner: string;
  private readonly settlements: readonly string[];

  constructor(settings: LoneSettings, owner: string, settlements: readonly string[]) {
    ({ tiers: this.tiers, times: this.times, shares: this.shares } = settings);
    this.owner = owner;
    this.settlements = settlements;
  }

  node(node: string): ModelNode {
    const found = this.nodes.get(node) ?? unregistered();
    this.nodes.set(node, found);
    return found;
  }

  credit(account: string): bigint {
    return this.credits.get(account) ?? 0n;
  }

  totalStake(): bigint {
    return [...this.nodes.values()].reduce((sum, { stake }) => sum + stake, 0n);
  }

  requiredStake(role: number, caps: bigint): bigint {
    if ((caps & 2n) !== 0n) return this.tiers.tee;
    return (caps & 1n) !== 0n && role === 0 ? this.tiers.gpu : this.tiers.basic;
  }

  tierOf(node: string): number {
    const { stake, caps } = this.node(node);
    if (stake >= this.tiers.priority) return 4;
    // The third tier takes a quote of a TEE, of which there are none here.
    if ((caps & 1n) !== 0n && stake >= this.tiers.gpu) return 2;
    return stake >= this.tiers.basic ? 1 : 0;
  }

  withdrawableAt(node: string): number {
    const { unbondingSince, lockedUntil } = this.node(node);
    return Math.max(unbondingSince + this.times.unbonding, lockedUntil);
  }

  freeStake(node: string, time: number): bigint {
    const [current, before] = this.exposureIn(this.node(node), Math.floor(time / this.times.challenge));
    const { stake } = this.node(node);
    return stake > current + before ? stake - current - before : 0n;
  }

  /** Makes the call at `time`; null, or what it is refused with, having changed nothing. */
  apply(caller: string, call: RegistryCall, time: number): readonly unknown[] | null {
    try {
      this.perform(caller, call, time);
      return null;
    } catch (error) {
      if (error instanceof Refused) return error.refusal;
      throw error;
    }
  }

  private perform(caller: string, call: RegistryCall, time: number): void {
    switch (call.does) {
      case 'registerNode':
        return this.register(caller, call, time);
      case 'topUp': {
        const node = this.staying(call.node);
        node.stake = stakeOf(node.stake + call.valueWei);
        if (node.status !== status.suspended || node.stake < this.requiredStake(node.role, node.caps)) return;
        node.status = status.active;
        node.lastHeartbeat = time;
        return;
      }
      case 'startUnbonding': {
        const node = this.operated(caller, call.node);
        if (node.status === status.unbonding) throw new Refused('AlreadyUnbonding', call.node);
        node.status = status.unbonding;
        node.unbondingSince = time;
        return;
      }
      case 'cancelUnbonding': {
        const node = this.unbonding(caller, call.node);
        this.requireStake(node.role, node.caps, node.stake);
        Object.assign(node, { status: status.active, unbondingSince: 0, lastHeartbeat: time });
        return;
      }
      case 'withdrawStake': {
        const node = this.unbonding(caller, call.node);
        const until = this.withdrawableAt(call.node);
        if (time < until) throw new Refused('StakeLocked', call.node, BigInt(until));
        this.give(node.operator, node.stake);
        node.stake = 0n;
        node.status = status.left;
        return;
      }
      case 'heartbeat': {
        const node = this.node(call.node);
        if (node.operator !== caller) throw new Refused('NotOperator', call.node, caller);
        if (node.status !== status.active && node.status !== status.suspended) throw new Refused('NodeNotActive', call.node);
        node.lastHeartbeat = time;
        return;
      }
      case 'reportMissedHeartbeats': {
        const node = this.node(call.node);
        if (node.status !== status.active) throw new Refused('NodeNotActive', call.node);
        const missed = Math.floor((time - node.lastHeartbeat) / this.times.heartbeat);
        if (missed === 0) throw new Refused('NoHeartbeatMissed', call.node, BigInt(node.lastHeartbeat));
        if (missed < 3) return;
        node.lastHeartbeat = time;
        this.take(node, 'missedHeartbeats', 0n, caller, zero);
        return;
      }
      case 'guard': {
        this.onlySettlement(caller);
        const node = this.staying(call.node);
        const window = Math.floor(time / this.times.challenge);
        const [current, before] = this.exposureIn(node, window);
        const exposed = current + before + call.amountWei;
        if (exposed > node.stake) throw new Refused('ExposureTooHigh', call.node, exposed, node.stake);
        node.lockedUntil = Math.max(node.lockedUntil, time + this.times.challenge);
        Object.assign(node, { exposure: current + call.amountWei, exposureBefore: before, exposureWindow: window });
        return;
      }
      case 'release': {
        this.onlySettlement(caller);
        const node = this.registered(call.node);
        const window = Math.floor(time / this.times.challenge);
        const [current, before] = this.exposureIn(node, window);
        const guardedIn = Math.floor(call.guardedAt / this.times.challenge);
        const exposure = guardedIn === window ? current - least(call.amountWei, current) : current;
        const exposureBefore = guardedIn + 1 === window ? before - least(call.amountWei, before) : before;
        Object.assign(node, { exposure, exposureBefore, exposureWindow: window });
        return;
      }
      case 'slash': {
        this.onlySettlement(caller);
        const node = this.registered(call.node);
        const offence = offenceNames[call.offence] ?? 'provenCheating';
        if (slashingTable[offence].counts) node.offences = Math.min(node.offences + 1, 255);
        this.take(node, offence, 0n, call.challenger, call.judge);
        return;
      }
      case 'slashFailedJob':
        this.onlySettlement(caller);
        this.take(this.registered(call.node), 'failedJob', call.amountWei, call.challenger, zero);
        return;
      case 'setStakeTiers': {
        this.onlyOwner(caller);
        const { basic, gpu, tee, priority } = call.tiers;
        if (basic > gpu || gpu > tee || tee > priority) throw new Refused('TiersNotAscending');
        this.tiers = call.tiers;
        return;
      }
      case 'setTimes': {
        this.onlyOwner(caller);
        const { heartbeat, challenge, unbonding } = call.times;
        const tooLong = heartbeat > longest || unbonding > longest;
        if (heartbeat === 0 || challenge === 0 || unbonding < challenge || tooLong) {
          throw new Refused('TimesInvalid', heartbeat, challenge, unbonding);
        }
        this.times = call.times;
        return;
      }
      case 'setSlashShares': {
        this.onlyOwner(caller);
        const sum = call.shares.challenger + call.shares.insurance + call.shares.burn;
        if (sum !== 10_000) throw new Refused('SharesInvalid', BigInt(sum));
        this.shares = call.shares;
        return;
      }
    }
    call satisfies never;
  }

  private register(caller: string, call: RegistryCall & { does: 'registerNode' }, time: number): void {
    if (BigInt(call.node) === 0n) throw new Refused('InvalidNodeKey');
    if (call.region.length > 64) throw new Refused('RegionTooLong', BigInt(call.region.length), 64n);
    this.requireStake(call.role, call.caps, call.valueWei);
    const node = this.node(call.node);
    const returning = node.status === status.left && node.operator === caller;
    if (node.status !== status.none && !returning) throw new Refused('NodeAlreadyRegistered', call.node);
    const stake = stakeOf(call.valueWei);
    const { role, caps } = call;
    Object.assign(node, { operator: caller, role, caps, stake, status: status.active, lastHeartbeat: time, unbondingSince: 0 });
  }

  private take(node: ModelNode, offence: Offence, shareWei: bigint, challenger: string, judge: string): void {
    if (node.stake === 0n) return;
    const { amountWei, deactivated } = penaltyOf(offence, node.stake, node.offences, shareWei);
    node.stake -= amountWei;
    if (deactivated) node.status = status.deactivated;
    else if (node.status === status.active && node.stake < this.requiredStake(node.role, node.caps)) node.status = status.suspended;
    const parts = divideSlash(amountWei, this.shares, challenger !== zero && challenger !== judge && challenger !== node.operator);
    this.give(challenger, parts.challengerWei);
    this.insured += parts.insuranceWei;
    this.burned += parts.burnedWei;
  }

  private exposureIn(node: ModelNode, window: number): [bigint, bigint] {
    if (node.exposureWindow === window) return [node.exposure, node.exposureBefore];
    return [0n, node.exposureWindow + 1 === window ? node.exposure : 0n];
  }

  private give(account: string, amountWei: bigint): void {
    this.credits.set(account, this.credit(account) + amountWei);
  }

  private registered(id: string): ModelNode {
    const node = this.node(id);
    if (node.status === status.none) throw new Refused('NodeNotRegistered', id);
    return node;
  }

  private staying(id: string): ModelNode {
    const node = this.registered(id);
    if (node.status === status.deactivated) throw new Refused('NodeDeactivated', id);
    if (node.status === status.left) throw new Refused('NodeHasLeft', id);
    return node;
  }

  private operated(caller: string, id: string): ModelNode {
    const node = this.staying(id);
    if (node.operator !== caller) throw new Refused('NotOperator', id, caller);
    return node;
  }

  private unbonding(caller: string, id: string): ModelNode {
    const node = this.operated(caller, id);
    if (node.status !== status.unbonding) throw new Refused('NotUnbonding', id);
    return node;
  }

  private requireStake(role: number, caps: bigint, stakeWei: bigint): void {
    const required = this.requiredStake(role, caps);
    if (stakeWei < required) throw new Refused('StakeTooLow', stakeWei, required);
  }

  private onlySettlement(caller: string): void {
    if (!this.settlements.includes(caller)) throw new Refused('NotThroughItsDoor', caller);
  }

  private onlyOwner(caller: string): void {
    if (caller !== this.owner) throw new Refused('OwnableUnauthorizedAccount', caller);
  }
}

const zero = '0x0000000000000000000000000000000000000000';
/** No time may be longer: ten years. */
const longest = 3_650 * 24 * 3_600;
const least = (one: bigint, two: bigint): bigint => (one < two ? one : two);

function stakeOf(wei: bigint): bigint {
  if (wei > maxStake) throw new Refused('StakeTooLarge', wei);
  return wei;
}
