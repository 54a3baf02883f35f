/**
 * `POST /relay`: a coordinator pays the gas for what nodes sign. `docs/spec/29-relaying.md`.
 *
 * It carries only the functions that a node needs, of this network's contracts, within limits on size, gas, rate and money. It decides
 * nothing about the call: that is the contract's business. Refusals are answers with a code; nothing that arrives makes it throw.
 */
import type { ChainInfo } from '@muster/ports';
import { addressText, type ErrorCode, type ErrorDetails, integer, MusterError, type Schema, struct, text } from '@muster/protocol';
import { type Hex, keccak256 } from 'viem';
import type { Connection } from '../evm/contracts/connection.ts';
import { type ForwardRequest, forwardNonce, isSignedForwardRequest, submitForwardRequest } from '../evm/contracts/relay.ts';
import type { CallSender, Included } from '../evm/contracts/transactions.ts';
import { chunksOf, readBody } from './body.ts';
import { errorResponse, jsonResponse, publicError } from './json.ts';
import { doorsOf, type RelayedFunctions } from './relayed-functions.ts';

export interface RelayLimits {
  readonly maxBodyBytes: number;
  /** Most gas of one call. */
  readonly maxGas: bigint;
  /** Gas of all calls together in an hour. */
  readonly maxGasPerHour: bigint;
  readonly maxPerSignerPerMinute: number;
  /** Requests that wait for their turn. */
  readonly maxWaiting: number;
  /** Most seconds that a deadline may lie ahead. */
  readonly maxDeadlineSeconds: number;
}

export const defaultRelayLimits: RelayLimits = {
  maxBodyBytes: 64 * 1024,
  maxGas: 1_500_000n,
  maxGasPerHour: 1_000_000_000n,
  maxPerSignerPerMinute: 120,
  maxWaiting: 256,
  maxDeadlineSeconds: 3600,
};

/** Stakes that the relayer gives away: a stake belongs to the operator it was registered for, who can leave with it. */
export interface Sponsorship {
  readonly functions: RelayedFunctions;
  readonly maxWei: bigint;
  /** For all requests since the relay was made. */
  readonly totalWei: bigint;
}

export interface RelayOptions {
  readonly info: ChainInfo;
  readonly connection: Connection;
  /** Signs and pays. With 0 confirmations it goes on at once: who signed waits for depth and hands over again what was taken back. */
  readonly relayer: CallSender;
  readonly functions: RelayedFunctions;
  readonly limits?: Partial<RelayLimits>;
  /** Default: no request may carry money. */
  readonly sponsorship?: Sponsorship;
  /** Looks at a request whose signature holds; throws the MusterError to refuse it with. */
  readonly admit?: (request: ForwardRequest) => void | Promise<void>;
  /** Told of errors that are the relay's own. */
  readonly onFault?: (error: unknown) => void;
  /** Milliseconds since 1970. Default: this machine's clock. */
  readonly now?: () => number;
}

export interface Relay {
  /** Answers `POST /relay`; null for any other request, so that it serves as a server's fallback. */
  answer(request: Request): Promise<Response | null>;
  /** Carries a request, as `POST /relay` does. Throws the refusal. */
  carry(request: ForwardRequest): Promise<Included>;
}

const decimal = text(78, /^(?:0|[1-9][0-9]*)$/);
const uint: Schema<bigint> = (value, path) => {
  const number = BigInt(decimal(value, path));
  if (number >> 256n !== 0n) throw new MusterError('FIELD_INVALID', `${path} does not fit 256 bits`, { field: path });
  return number;
};
const bytesOf = (maxBytes: number): Schema<Hex> => text(2 + 2 * maxBytes, /^0x(?:[0-9a-f]{2})*$/) as Schema<Hex>;
const requestSchema: Schema<ForwardRequest> = struct({
  from: addressText,
  to: addressText,
  valueWei: uint,
  gas: uint,
  nonce: uint,
  deadline: integer(0, 2 ** 48 - 1),
  data: bytesOf(64 * 1024),
  signature: bytesOf(65),
});

/** Outcomes kept for whoever asks again after an answer was lost. */
const MAX_REMEMBERED = 10_000;

export function createRelay(options: RelayOptions): Relay {
  const { info, connection, relayer, sponsorship } = options;
  const { forwarder } = info.contracts;
  const place = { chainId: info.chainId, forwarder };
  const limits: RelayLimits = { ...defaultRelayLimits, ...options.limits };
  const now = options.now ?? Date.now;
  const carried = doorsOf(info, options.functions);
  const sponsored = doorsOf(info, sponsorship?.functions ?? {});
  const running = new Map<Hex, Promise<Included>>();
  const done = new Map<Hex, Included>();
  const perSigner = meter(60_000, now);
  const gasMeter = meter(3_600_000, now);
  let sponsoredWei = 0n;

  const check = async (request: ForwardRequest): Promise<void> => {
    const door = `${request.to} ${request.data.slice(0, 10)}`;
    if (!carried.has(door)) {
      throw refused('FIELD_INVALID', 'this relay does not carry that function of that contract', { field: 'data', to: request.to });
    }
    if (request.gas > limits.maxGas) {
      throw refused('QUOTA_EXCEEDED', `gas ${request.gas}, at most ${limits.maxGas}`, { gas: request.gas, maxGas: limits.maxGas });
    }
    const seconds = now() / 1000;
    if (request.deadline < seconds) throw refused('REQUEST_EXPIRED', 'the deadline has passed', { deadline: request.deadline });
    if (request.deadline > seconds + limits.maxDeadlineSeconds) {
      throw refused('FIELD_INVALID', `the deadline lies more than ${limits.maxDeadlineSeconds} s ahead`, { field: 'deadline' });
    }
    if (request.valueWei > 0n) {
      if (sponsorship === undefined || !sponsored.has(door)) {
        throw refused('QUOTA_EXCEEDED', 'this relay sends no money along', { valueWei: request.valueWei, maxWei: 0n });
      }
      const { maxWei, totalWei } = sponsorship;
      const leftWei = totalWei - sponsoredWei;
      if (request.valueWei > maxWei || request.valueWei > leftWei) {
        const details = { valueWei: request.valueWei, maxWei, leftWei };
        throw refused('QUOTA_EXCEEDED', `${request.valueWei} wei, at most ${maxWei} and ${leftWei} in all`, details);
      }
    }
    if (!(await isSignedForwardRequest(place, request))) {
      throw refused('SIGNATURE_INVALID', 'not signed by its sender for this forwarder, chain and nonce', { from: request.from });
    }
    const nonce = await forwardNonce(connection, forwarder, request.from);
    if (request.nonce !== nonce) {
      throw refused(request.nonce < nonce ? 'REQUEST_REPLAYED' : 'STATE_CONFLICT', `nonce ${request.nonce}, the next one is ${nonce}`, {
        nonce: request.nonce,
        expected: nonce,
      });
    }
    // This one is among them.
    const waiting = running.size - 1;
    if (waiting >= limits.maxWaiting) throw refused('QUOTA_EXCEEDED', 'too many requests are waiting', { waiting });
    if (perSigner(request.from, 1n) > BigInt(limits.maxPerSignerPerMinute)) {
      throw refused('QUOTA_EXCEEDED', `more than ${limits.maxPerSignerPerMinute} requests in a minute`, { from: request.from });
    }
    await options.admit?.(request);
    if (gasMeter('gas', request.gas) > limits.maxGasPerHour) {
      throw refused('QUOTA_EXCEEDED', `more than ${limits.maxGasPerHour} gas in an hour`, { maxGasPerHour: limits.maxGasPerHour });
    }
  };

  const make = async (request: ForwardRequest): Promise<Included> => {
    await check(request);
    // Taken before it is sent, so that several at once stay within the total.
    sponsoredWei += request.valueWei;
    try {
      return await submitForwardRequest(relayer, connection, forwarder, request);
    } catch (error) {
      // What may still happen stays taken.
      if (error instanceof MusterError && error.code === 'CHAIN_REVERTED') sponsoredWei -= request.valueWei;
      throw error;
    }
  };

  const carry = async (request: ForwardRequest): Promise<Included> => {
    const id = keccak256(request.signature);
    const same = running.get(id);
    if (same !== undefined) return await same;
    const known = done.get(id);
    if (known !== undefined && (await forwardNonce(connection, forwarder, request.from)) > request.nonce) return known;
    const made = make(request);
    running.set(id, made);
    try {
      const included = await made;
      done.set(id, included);
      const [oldest] = done.keys();
      if (done.size > MAX_REMEMBERED && oldest !== undefined) done.delete(oldest);
      return included;
    } finally {
      running.delete(id);
    }
  };

  const read = async (request: Request): Promise<ForwardRequest> => {
    const body = request.body === null ? null : chunksOf(request.body);
    const bytes = await readBody(body, request.headers.get('content-length'), limits.maxBodyBytes);
    let value: unknown;
    try {
      value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
    } catch (cause) {
      throw new MusterError('FIELD_INVALID', 'the body is not JSON', { field: 'body' }, { cause });
    }
    return requestSchema(value, 'request');
  };

  return {
    carry,
    async answer(request) {
      if (new URL(request.url).pathname !== '/relay') return null;
      if (request.method !== 'POST') return errorResponse(refused('ROUTE_UNKNOWN', 'requests are sent by POST', {}), 405);
      try {
        const { transaction, block, gasUsed } = await carry(await read(request));
        return jsonResponse({ transaction, block, gasUsed });
      } catch (error) {
        const known = publicError(error);
        if (known.code === 'INTERNAL') options.onFault?.(error);
        return errorResponse(known);
      }
    },
  };
}

/** Counts amounts per key in windows of `windowMs`; each call adds one and returns the window's sum. Keeps what one window needs. */
function meter(windowMs: number, now: () => number): (key: string, amount: bigint) => bigint {
  let window = -1;
  const sums = new Map<string, bigint>();
  return (key, amount) => {
    const current = Math.floor(now() / windowMs);
    if (current !== window) sums.clear();
    window = current;
    const sum = (sums.get(key) ?? 0n) + amount;
    sums.set(key, sum);
    return sum;
  };
}

const refused = (code: ErrorCode, message: string, details: ErrorDetails): MusterError => new MusterError(code, message, details);
