/** Verification of a chain's own record. */
export { openVerifiedChain, verifyChainFile, type ChainReport, type VerifiedChain, type VerifyChainOptions } from './verify-chain.ts';
