/**
 * Digests of tensors, states and results: SHA-256 Merkle trees (RFC 9162) over canonical bytes. Spec: `docs/spec/03-digests.md`.
 *
 * A tensor root commits to bytes only; type and name are bound where the tensor root becomes a leaf of a state root.
 */
import {
  bytesToHex,
  encodeCanonical,
  hexToBytes,
  type InclusionProof,
  inclusionProof,
  keccakOfWords,
  leafHash,
  merkleRoot,
  type MerkleTree,
  merkleTree,
  MusterError,
  type Root,
  sha256,
  verifyInclusion,
} from '@muster/protocol';
import type { DType, NamedType, Tensor, TensorData, TensorType } from './program.ts';

/** Bytes under one leaf of a tensor tree; the last leaf of a tensor may be shorter. */
export const leafBytes = 1024;

const widths = { float32: 4, int32: 4, uint32: 4, bool: 1 } as const satisfies Record<DType, number>;
const hostIsLittleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** A tensor with the name it has in a state. */
export interface NamedTensor extends Tensor {
  readonly name: string;
}

function byteLengthOf({ dtype, shape }: TensorType): number {
  return shape.reduce((size, extent) => size * extent, widths[dtype]);
}

function swapWords(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const swapped = bytes.slice();
  for (let i = 0; i < swapped.length; i += 4) swapped.subarray(i, i + 4).reverse();
  return swapped;
}

/** Canonical bytes of `tensor`: elements row-major, little-endian, bool one byte. A view of its data where the host allows: do not write. */
export function tensorBytes(tensor: Tensor): Uint8Array {
  const { data, dtype } = tensor;
  if (data.byteLength !== byteLengthOf(tensor)) {
    throw new MusterError('TENSOR_MISMATCH', `${data.byteLength} bytes for ${dtype}[${tensor.shape.join(',')}]`, {
      expected: byteLengthOf(tensor),
      actual: data.byteLength,
    });
  }
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return hostIsLittleEndian || widths[dtype] === 1 ? bytes : swapWords(bytes);
}

/** The tensor of `type` whose canonical bytes are `bytes`, copied. Throws TENSOR_MISMATCH for a wrong length or a bool other than 0 and 1. */
export function tensorFromBytes(type: TensorType, bytes: Uint8Array): Tensor {
  const { dtype, shape } = type;
  if (bytes.length !== byteLengthOf(type)) {
    throw new MusterError('TENSOR_MISMATCH', `${bytes.length} bytes for ${dtype}[${shape.join(',')}]`, {
      expected: byteLengthOf(type),
      actual: bytes.length,
    });
  }
  if (dtype === 'bool' && bytes.some((byte) => byte > 1)) throw new MusterError('TENSOR_MISMATCH', 'a bool other than 0 and 1');
  const { buffer } = hostIsLittleEndian || dtype === 'bool' ? new Uint8Array(bytes) : swapWords(bytes);
  return { dtype, shape: [...shape], data: dataOver(dtype, buffer) };
}

/** The typed array of `dtype` over `buffer`. */
export function dataOver(dtype: DType, buffer: ArrayBuffer): TensorData {
  switch (dtype) {
    case 'float32':
      return new Float32Array(buffer);
    case 'int32':
      return new Int32Array(buffer);
    case 'uint32':
      return new Uint32Array(buffer);
    case 'bool':
      return new Uint8Array(buffer);
    default:
      throw new MusterError('INTERNAL', `unknown dtype ${String(dtype satisfies never)}`);
  }
}

/** Leaf hashes of the tensor tree over canonical `bytes`, flat. One hash and one 1 KiB copy per leaf. */
function leafHashesOf(bytes: Uint8Array): Uint8Array {
  const count = Math.ceil(bytes.length / leafBytes);
  const hashes = new Uint8Array(32 * count);
  const input = new Uint8Array(1 + leafBytes); // input[0] = 0x00, the leaf prefix
  for (let leaf = 0; leaf < count; leaf++) {
    const chunk = bytes.subarray(leaf * leafBytes, (leaf + 1) * leafBytes);
    input.set(chunk, 1);
    hashes.set(sha256(input.subarray(0, 1 + chunk.length)), 32 * leaf);
  }
  return hashes;
}

function toRoot(bytes: Uint8Array): Root {
  return bytesToHex(bytes) as Root;
}

let treeHasher: ((bytes: Uint8Array) => Root) | null = null;
/** Bytes from which an installed hasher is used. */
const leastTreeBytes = 16 * leafBytes;

/** Makes `bytesRoot` use `hasher` for all but short input: the kernels' (`createTreeHasher`), which must give the same roots. Null undoes it. */
export function installTreeHasher(hasher: ((bytes: Uint8Array) => Root) | null): void {
  treeHasher = hasher;
}

/** Root over any bytes in 1 KiB leaves; SHA-256 of nothing for no bytes. */
export function bytesRoot(bytes: Uint8Array): Root {
  if (treeHasher !== null && bytes.length >= leastTreeBytes) return treeHasher(bytes);
  return toRoot(merkleRoot(leafHashesOf(bytes)));
}

/** Root over the canonical bytes of `tensor`. Does not bind dtype and shape. */
export function tensorRoot(tensor: Tensor): Root {
  return bytesRoot(tensorBytes(tensor));
}

/** The whole tensor tree, for openings and for a search from the root down. */
export function tensorTree(tensor: Tensor): MerkleTree {
  return merkleTree(leafHashesOf(tensorBytes(tensor)));
}

/**
 * Bytes of a tensor's leaf in a state tree: canonical DAG-CBOR of `[name, dtype, shape, root]`, the 32 bytes of `root` last, so that a
 * contract can check a prefix and a root.
 */
export function stateLeaf(name: string, { dtype, shape }: TensorType, root: Root): Uint8Array {
  return encodeCanonical([name, dtype, [...shape], hexToBytes(root)]);
}

/** `tensors` in the order of their state tree: ascending by name, compared by code unit. Throws FIELD_INVALID for a name that appears twice. */
function inStateOrder<T extends { readonly name: string }>(tensors: readonly T[]): T[] {
  const sorted = tensors.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  sorted.forEach(({ name }, index) => {
    if (index > 0 && sorted[index - 1]?.name === name)
      throw new MusterError('FIELD_INVALID', `name: "${name}" appears twice`, { field: 'name' });
  });
  return sorted;
}

/** Root over named tensors of which only types and tensor roots are at hand. Throws FIELD_INVALID for a name that appears twice. */
export function stateRootOf(tensors: readonly (NamedType & { readonly root: Root })[]): Root {
  return toRoot(merkleRoot(inStateOrder(tensors).map((tensor) => leafHash(stateLeaf(tensor.name, tensor, tensor.root)))));
}

function stateTree(tensors: readonly NamedTensor[]): { readonly names: string[]; readonly leaves: Uint8Array[] } {
  const sorted = inStateOrder(tensors);
  return {
    names: sorted.map(({ name }) => name),
    leaves: sorted.map((tensor) => leafHash(stateLeaf(tensor.name, tensor, tensorRoot(tensor)))),
  };
}

/** Root over named tensors, independent of the order given. Also the update root. Throws FIELD_INVALID for a name that appears twice. */
export function stateRoot(tensors: readonly NamedTensor[]): Root {
  return toRoot(merkleRoot(stateTree(tensors).leaves));
}

/** Proof that the tensor `name` is in the state: its leaf bytes are `stateLeaf`. Throws FIELD_INVALID for an unknown name. */
export function openTensor(tensors: readonly NamedTensor[], name: string): InclusionProof {
  const { names, leaves } = stateTree(tensors);
  if (!names.includes(name)) throw new MusterError('FIELD_INVALID', `name: there is no tensor "${name.slice(0, 80)}"`, { field: 'name' });
  return inclusionProof(leaves, names.indexOf(name));
}

/** Whether the state with root `state` holds the tensor `name` of `type` with root `root`. */
export function verifyTensor(state: Root, name: string, type: TensorType, root: Root, proof: InclusionProof): boolean {
  return verifyInclusion(hexToBytes(state), leafHash(stateLeaf(name, type, root)), proof);
}

/** One 1 KiB leaf of a tensor tree with its place. */
export interface ElementOpening {
  readonly leaf: Uint8Array;
  readonly proof: InclusionProof;
}

function leafOfElement(type: TensorType, index: number): number {
  const width = widths[type.dtype];
  if (!Number.isSafeInteger(index) || index < 0 || index >= byteLengthOf(type) / width) {
    throw new MusterError('FIELD_INVALID', `index: ${index} is no element of ${type.dtype}[${type.shape.join(',')}]`, { field: 'index' });
  }
  return Math.floor((index * width) / leafBytes);
}

/** The leaf that holds element `index` (row-major) and its proof. Throws FIELD_INVALID. */
export function openElement(tensor: Tensor, index: number): ElementOpening {
  const leaf = leafOfElement(tensor, index);
  const bytes = tensorBytes(tensor);
  return { leaf: bytes.slice(leaf * leafBytes, (leaf + 1) * leafBytes), proof: inclusionProof(leafHashesOf(bytes), leaf) };
}

/**
 * Element `index` of the tensor of `type` whose root is `root`, as `opening` shows it; null if the opening does not hold for this root,
 * type and index. Throws FIELD_INVALID for an index outside the tensor.
 */
export function verifyElement(root: Root, type: TensorType, index: number, opening: ElementOpening): number | null {
  const leafIndex = leafOfElement(type, index);
  const total = byteLengthOf(type);
  const { leaf, proof } = opening;
  if (proof.index !== leafIndex || proof.size !== Math.ceil(total / leafBytes)) return null;
  if (leaf.length !== Math.min(leafBytes, total - leafIndex * leafBytes)) return null;
  if (!verifyInclusion(hexToBytes(root), leafHash(leaf), proof)) return null;
  const view = new DataView(leaf.buffer, leaf.byteOffset, leaf.byteLength);
  const offset = index * widths[type.dtype] - leafIndex * leafBytes;
  switch (type.dtype) {
    case 'float32':
      return view.getFloat32(offset, true);
    case 'int32':
      return view.getInt32(offset, true);
    case 'uint32':
      return view.getUint32(offset, true);
    case 'bool':
      return view.getUint8(offset);
    default:
      throw new MusterError('INTERNAL', `unknown dtype ${String(type.dtype satisfies never)}`);
  }
}

/** Merkle root over `roots` in order, each 32 bytes a leaf. */
function rootOfRoots(roots: readonly Root[]): Root {
  return toRoot(merkleRoot(roots.map((root) => leafHash(hexToBytes(root)))));
}

/** Trace root: over the state roots at the agreed steps, in step order. */
export function traceRoot(stateRoots: readonly Root[]): Root {
  return rootOfRoots(stateRoots);
}

/** Proof of state root `index` in a trace; verify with `verifyTraceEntry`. */
export function openTraceEntry(stateRoots: readonly Root[], index: number): InclusionProof {
  return inclusionProof(
    stateRoots.map((root) => leafHash(hexToBytes(root))),
    index,
  );
}

/** Whether `entry` stands in the list under `root` (a trace root or result root) where `proof` says. */
export function verifyTraceEntry(root: Root, entry: Root, proof: InclusionProof): boolean {
  return verifyInclusion(hexToBytes(root), leafHash(hexToBytes(entry)), proof);
}

/** The four roots that a task's result consists of. */
export interface ResultRoots {
  readonly state: Root;
  readonly update: Root;
  readonly loss: Root;
  readonly trace: Root;
}

/** Result root of a task: over final state root, update root, loss root, trace root, in this order. */
export function resultRoot({ state, update, loss, trace }: ResultRoots): Root {
  return rootOfRoots([state, update, loss, trace]);
}

/** Tensor root of the losses, one per step: float32 [steps]. */
export function lossRoot(losses: Float32Array): Root {
  return tensorRoot({ dtype: 'float32', shape: [losses.length], data: losses });
}

/** keccak256(abi.encode(bytes32 root, uint256 byteLength)): the `bytes32` digest that goes on chain. */
export function onChainDigest(root: Root, byteLength: number): Root {
  return keccakOfWords([root, byteLength]);
}

/** Throws NUMERIC_FAULT {tensor, element} at the first NaN or infinity in a float32 tensor: state, update and loss must be finite. */
export function requireFinite(tensors: readonly NamedTensor[]): void {
  for (const { name, data } of tensors) {
    if (!(data instanceof Float32Array)) continue;
    const element = data.findIndex((value) => !Number.isFinite(value));
    if (element !== -1) throw new MusterError('NUMERIC_FAULT', `"${name}" is not finite at element ${element}`, { tensor: name, element });
  }
}
