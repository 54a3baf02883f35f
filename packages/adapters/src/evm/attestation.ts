/**
 * Signed statements about a node's hardware, as the contracts read them: an attester's for NodeCertRegistry, an attestation service's
 * about a TEE quote for SignedQuoteVerifier (docs/spec/27-attestation.md). Signs; looks at no hardware and checks no quote.
 */
import type { Address, NodeId, Root } from '@muster/protocol';
import { encodeAbiParameters, type Hex, type PrivateKeyAccount } from 'viem';

/** What an attester found. Times in seconds since 1970. */
export interface HardwareFindings {
  readonly node: NodeId;
  /** Digest of the hardware description, which stays off chain. */
  readonly hwHash: Root;
  /** Capability word. */
  readonly caps: Root;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** A TEE quote that an attestation service has verified, its report data bound to `node`. Times in seconds since 1970. */
export interface QuoteFindings {
  readonly node: NodeId;
  /** keccak256 of the quote's bytes. */
  readonly quoteHash: Root;
  /** The code that the enclave runs. */
  readonly measurement: Root;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** The contract that a statement is for, and its chain; it counts nowhere else. */
export interface StatementPlace {
  readonly chainId: number;
  readonly contract: Address;
}

/** Fields of the two statements, in the order that is hashed. */
const statementTypes = {
  HardwareAttestation: [
    { name: 'node', type: 'bytes32' },
    { name: 'hwHash', type: 'bytes32' },
    { name: 'caps', type: 'bytes32' },
    { name: 'issuedAt', type: 'uint64' },
    { name: 'expiresAt', type: 'uint64' },
    { name: 'registry', type: 'address' },
  ],
  TeeQuote: [
    { name: 'node', type: 'bytes32' },
    { name: 'quoteHash', type: 'bytes32' },
    { name: 'measurement', type: 'bytes32' },
    { name: 'issuedAt', type: 'uint64' },
    { name: 'expiresAt', type: 'uint64' },
  ],
} as const;

const domainOf = ({ chainId, contract }: StatementPlace) =>
  ({ name: 'Muster', version: '1', chainId, verifyingContract: contract }) as const;

const [word, time, bytes] = [{ type: 'bytes32' }, { type: 'uint64' }, { type: 'bytes' }] as const;

/** The `attestation` that `verifyHardware(node, hwHash, attestation)` of the registry at `place` takes, signed by the attester. */
export async function signHardwareAttestation(
  attester: PrivateKeyAccount,
  place: StatementPlace,
  findings: HardwareFindings,
): Promise<Hex> {
  const { node, hwHash, caps } = findings;
  const [issuedAt, expiresAt] = [BigInt(findings.issuedAt), BigInt(findings.expiresAt)];
  const signature = await attester.signTypedData({
    domain: domainOf(place),
    types: statementTypes,
    primaryType: 'HardwareAttestation',
    message: { node, hwHash, caps, issuedAt, expiresAt, registry: place.contract },
  });
  return encodeAbiParameters([word, time, time, bytes], [caps, issuedAt, expiresAt, signature]);
}

/** The `quote` that `verifyQuote(node, quote)` of the SignedQuoteVerifier at `place` takes, signed by the service. */
export async function signQuote(service: PrivateKeyAccount, place: StatementPlace, findings: QuoteFindings): Promise<Hex> {
  const { node, quoteHash, measurement } = findings;
  const [issuedAt, expiresAt] = [BigInt(findings.issuedAt), BigInt(findings.expiresAt)];
  const signature = await service.signTypedData({
    domain: domainOf(place),
    types: statementTypes,
    primaryType: 'TeeQuote',
    message: { node, quoteHash, measurement, issuedAt, expiresAt },
  });
  return encodeAbiParameters([word, word, time, time, bytes], [quoteHash, measurement, issuedAt, expiresAt, signature]);
}
