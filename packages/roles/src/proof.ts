/**
 * R22: the training proof a node puts on chain with its reveal.
 */
import { type NamedType, onChainDigest } from '@muster/engine';
import type { NodeKey, SlotId, TrainProof, VerifySignature } from '@muster/ports';
import { bytesToHex, type CidText, encodeCanonical, hexToBytes, type NodeId, type Root, sha256, type TaskOutcome } from '@muster/protocol';

const byteLength = (types: readonly NamedType[]): number =>
  types.reduce((sum, { dtype, shape }) => sum + shape.reduce((product, extent) => product * extent, dtype === 'bool' ? 1 : 4), 0);

/** Digests of `outcome` in their on-chain form. A fault has nothing to digest but its result root. */
export function proofDigests(
  outcome: TaskOutcome,
  resultRoot: Root,
  model: { readonly parameters: readonly NamedType[]; readonly slots: readonly NamedType[] },
): Pick<TrainProof, 'lossDigest' | 'gradientDigest' | 'weightsDigest'> {
  if (outcome.kind === 'fault') {
    const digest = onChainDigest(resultRoot, 0);
    return { lossDigest: digest, gradientDigest: digest, weightsDigest: digest };
  }
  const parameters = byteLength(model.parameters);
  const slots = byteLength(model.slots);
  return {
    lossDigest: onChainDigest(outcome.lossRoot, outcome.losses.length),
    gradientDigest: onChainDigest(outcome.updateRoot, parameters + (outcome.slotState === null ? 0 : slots)),
    weightsDigest: onChainDigest(outcome.stateRoot, parameters + slots),
  };
}

/** What the node key signs: every field of the proof, its place and the stored result it speaks of. */
function statement(place: SlotId, node: NodeId, resultCid: CidText, proof: Omit<TrainProof, 'signature'>): Uint8Array {
  const { step, lossDigest, gradientDigest, weightsDigest, timestamp } = proof;
  const fields = [
    place.job,
    place.round,
    place.task,
    place.slot,
    node,
    resultCid,
    step,
    lossDigest,
    gradientDigest,
    weightsDigest,
    timestamp,
  ];
  return sha256(encodeCanonical(['muster/train-proof/1', ...fields]));
}

export function signProof(key: NodeKey, place: SlotId, resultCid: CidText, proof: Omit<TrainProof, 'signature'>): TrainProof {
  return { ...proof, signature: bytesToHex(key.sign(statement(place, key.node, resultCid, proof))) };
}

export function verifyProof(verify: VerifySignature, place: SlotId, node: NodeId, resultCid: CidText, proof: TrainProof): boolean {
  const { signature, ...unsigned } = proof;
  return verify(node, statement(place, node, resultCid, unsigned), hexToBytes(signature));
}
