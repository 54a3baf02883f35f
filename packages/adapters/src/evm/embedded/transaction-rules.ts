/**
 * Which signed transactions the chain takes, and refusals in the words that clients know from go-ethereum.
 *
 * Legacy, access-list and fee-market transactions; no blobs, no set-code. Nonces are the pool's business.
 */
import type { Common } from '@ethereumjs/common';
import { createTxFromRLP, isAccessList2930Tx, isFeeMarket1559Tx, isLegacyTx, type TypedTransaction } from '@ethereumjs/tx';
import type { Account } from '@ethereumjs/util';
import { BLOCK_GAS_LIMIT } from './machine.ts';
import { price } from './pool.ts';
import { refused } from './rpc-error.ts';

/** Longest signed transaction taken, bytes, as in go-ethereum. */
export const MAX_TRANSACTION_BYTES = 128 * 1024;

/** A signed transaction from bytes. Throws an RpcError where it is malformed, of another chain or of a type not taken here. */
export function decodeTransaction(raw: Uint8Array, common: Common): TypedTransaction {
  if (raw.length > MAX_TRANSACTION_BYTES) throw refused('oversized data: transaction size limit is 128 KiB');
  let tx: TypedTransaction;
  try {
    tx = createTxFromRLP(raw, { common });
  } catch (error) {
    const text = error instanceof Error ? error.message : '';
    if (/chain id/i.test(text)) throw refused(`invalid chain id for signer: want ${common.chainId()}`);
    throw refused(`invalid transaction: ${text.slice(0, 200)}`);
  }
  if (!isLegacyTx(tx) && !isAccessList2930Tx(tx) && !isFeeMarket1559Tx(tx)) throw refused('transaction type not supported');
  if (!tx.isSigned() || !tx.verifySignature()) throw refused('invalid sender: the signature does not hold');
  if (tx.gasLimit > BLOCK_GAS_LIMIT) throw refused(`exceeds block gas limit ${BLOCK_GAS_LIMIT}`);
  const [invalid] = tx.getValidationErrors();
  if (invalid !== undefined) {
    throw refused(
      /gas ?limit/i.test(invalid) ? `intrinsic gas too low: gas ${tx.gasLimit}` : `invalid transaction: ${invalid.slice(0, 200)}`,
    );
  }
  return tx;
}

/** Throws where the account cannot pay for the transaction at its price and value. */
export function checkAffordable(tx: TypedTransaction, account: Account): void {
  const cost = tx.gasLimit * price(tx) + tx.value;
  if (account.balance < cost) {
    throw refused(`insufficient funds for gas * price + value: balance ${account.balance}, tx cost ${cost}`);
  }
}

/** ethereumjs' refusal of a transaction in the words that clients know. */
export function translateRefusal(error: unknown, tx: TypedTransaction, account: Account | undefined): Error {
  const text = error instanceof Error ? error.message : String(error);
  const nonce = account?.nonce ?? 0n;
  if (/enough funds/.test(text)) return refused('insufficient funds for gas * price + value');
  if (/correct nonce/.test(text)) {
    return refused(`nonce too ${tx.nonce < nonce ? 'low' : 'high'}: next nonce ${nonce}, tx nonce ${tx.nonce}`);
  }
  if (/EIP-3607/.test(text)) return refused('sender not an eoa');
  if (/GAS_TOO_LOW/.test(text)) return refused(`intrinsic gas too low: gas ${tx.gasLimit}`);
  return refused(`invalid transaction: ${text.slice(0, 200)}`);
}
