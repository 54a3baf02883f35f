/**
 * The capability word a node registers with (R31): the twin of the contract library Capabilities.
 * GPU bit 0, TEE bit 1, disk GB bits 8–39, Mbps bits 40–71, compute units bits 72–103; the other bits are 0.
 */
import { MusterError, type Root } from '@muster/protocol';

export interface NodeCaps {
  readonly hasGPU: boolean;
  readonly hasTEE: boolean;
  /** Each of these below 2³². */
  readonly diskGB: number;
  readonly bandwidthMbps: number;
  readonly computeUnits: number;
}

/** Throws FIELD_INVALID for a quantity that does not fit 32 bits. */
export function packCapabilities(caps: NodeCaps): Root {
  const field = (name: 'diskGB' | 'bandwidthMbps' | 'computeUnits'): bigint => {
    const value = caps[name];
    if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
      throw new MusterError('FIELD_INVALID', `${name} must be an integer from 0 to 4294967295, got ${value}`, { field: name });
    }
    return BigInt(value);
  };
  const flags = (caps.hasGPU ? 1n : 0n) | (caps.hasTEE ? 2n : 0n);
  const word = flags | (field('diskGB') << 8n) | (field('bandwidthMbps') << 40n) | (field('computeUnits') << 72n);
  return `0x${word.toString(16).padStart(64, '0')}` as Root;
}

/** The capabilities in a word; reserved bits are ignored. */
export function unpackCapabilities(word: Root): NodeCaps {
  const bits = BigInt(word);
  const field = (shift: bigint): number => Number((bits >> shift) & 0xffff_ffffn);
  return { hasGPU: (bits & 1n) !== 0n, hasTEE: (bits & 2n) !== 0n, diskGB: field(8n), bandwidthMbps: field(40n), computeUnits: field(72n) };
}
