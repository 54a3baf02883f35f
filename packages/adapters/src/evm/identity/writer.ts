/**
 * One account that acts on the identity contracts, and who pays for it: the account itself, or another one that delivers its signed orders.
 */
import type { Address, Root } from '@muster/protocol';
import { formatLog, type Hex, parseEventLogs } from 'viem';
import { privateKeyToAccount, type PrivateKeyAccount } from 'viem/accounts';
import { lowerAddress } from '../contracts/events.ts';
import { AccountSender } from '../contracts/transactions.ts';
import { dataConsentAbi } from '../generated/index.ts';
import { didHashOf } from './did.ts';
import { encodeOrder, encodeSignedOrder, type IdentityOrder, isDidOrder, signOrder } from './orders.ts';
import { IdentityReader, type IdentityReaderOptions } from './reader.ts';

export type IdentityWriterOptions = IdentityReaderOptions & {
  /** secp256k1 key of the account that acts, 32 bytes 0x-hex. */
  readonly privateKey: Hex;
  /** Key of the account that pays; without it the acting account pays. */
  readonly payerKey?: Hex;
  /** How long a signed order stays good, by the chain's clock. Default 3600 s. */
  readonly orderSeconds?: number;
};

export interface OrderReceipt {
  readonly transaction: Hex;
  readonly block: number;
  readonly gasUsed: number;
  /** The DID's hash, or the consent's id, that the order made or was about. */
  readonly id: Root;
}

export class IdentityWriter extends IdentityReader {
  readonly account: Address;
  private readonly actor: PrivateKeyAccount;
  private readonly sender: AccountSender;
  private readonly relayed: boolean;
  private readonly orderSeconds: number;

  constructor(options: IdentityWriterOptions) {
    super(options);
    this.actor = privateKeyToAccount(options.privateKey);
    this.account = lowerAddress(this.actor.address);
    this.relayed = options.payerKey !== undefined;
    const payer = options.payerKey === undefined ? this.actor : privateKeyToAccount(options.payerKey);
    this.sender = new AccountSender(this.connection, this.contracts.chainId, payer);
    this.orderSeconds = options.orderSeconds ?? 3600;
  }

  /** Gives `order` and waits until it is in a block. Throws CHAIN_REVERTED with the contract's error, CHAIN_UNREACHABLE. */
  async send(order: IdentityOrder): Promise<OrderReceipt> {
    const request = this.relayed ? await this.signed(order) : encodeOrder(order, this.contracts);
    const { transaction, block, gasUsed, logs } = await this.sender.send(order.order, request);
    const granted = parseEventLogs({ abi: dataConsentAbi, eventName: 'ConsentGranted', logs: logs.map((log) => formatLog(log)) });
    return { transaction, block, gasUsed, id: idOf(order, this.account, granted[0]?.args.consentId as Root | undefined) };
  }

  private async signed(order: IdentityOrder) {
    const nonce = await this.nonce(isDidOrder(order) ? 'didRegistry' : 'dataConsent', this.account);
    const terms = { nonce, deadline: BigInt((await this.time()) + this.orderSeconds) };
    const signature = await signOrder(this.actor, this.contracts, order, terms);
    return encodeSignedOrder(order, this.contracts, this.account, terms, signature);
  }
}

function idOf(order: IdentityOrder, account: Address, granted: Root | undefined): Root {
  if (order.order === 'createDID') return didHashOf(order.authKey, account);
  if (isDidOrder(order)) return order.didHash;
  if (order.order !== 'grant') return order.consentId;
  if (granted === undefined) throw new Error('a grant without its event');
  return granted;
}
