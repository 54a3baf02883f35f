export { type EncryptionKey, loadOrCreateEncryptionKey, sealFor } from './keys.ts';
export type {
  AccessEntry,
  ConsentRecord,
  ConsentTerms,
  DidChange,
  DidRecord,
  DidVersion,
  IdentityContracts,
  KeyValidity,
} from './contracts.ts';
export { didHashOf, didText, multikeyOf, parseDid, purposeOf } from './did.ts';
export { encodeOrder, encodeSignedOrder, type IdentityOrder, type OrderTerms, signOrder } from './orders.ts';
export { accessLogHead, IdentityReader, type IdentityReaderOptions } from './reader.ts';
export { arthaDidResolver, type DidResolutionError, type DidSource, resolveDidUrl } from './resolver.ts';
export { IdentityWriter, type IdentityWriterOptions, type OrderReceipt } from './writer.ts';
