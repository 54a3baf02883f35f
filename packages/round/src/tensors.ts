/**
 * Tensors as stored objects: a tensor set names its tensors and links raw blocks of at most 1 MiB of little-endian bytes.
 * The same tensors give the same content id whoever stores them.
 */
import { type NamedTensor, type NamedType, type Tensor, tensorBytes, tensorFromBytes } from '@muster/engine';
import { type CidText, cidOfBytes, type Codec, decodeLinked, encodeLinked, MusterError, objectKinds } from '@muster/protocol';

export const chunkBytes = 1024 * 1024;

/** An object ready to be stored. */
export interface Block {
  readonly cid: CidText;
  readonly bytes: Uint8Array;
  readonly codec: Codec;
}

/** The tensor set of `tensors`: its id and every block, the set itself last. */
export function encodeTensors(tensors: readonly NamedTensor[]): { readonly cid: CidText; readonly blocks: readonly Block[] } {
  const blocks: Block[] = [];
  const entries = tensors.map((tensor) => {
    const bytes = tensorBytes(tensor);
    const chunks: CidText[] = [];
    for (let offset = 0; offset < bytes.length; offset += chunkBytes) {
      const chunk = bytes.subarray(offset, offset + chunkBytes);
      const cid = cidOfBytes(chunk, 'raw');
      chunks.push(cid);
      blocks.push({ cid, bytes: chunk, codec: 'raw' });
    }
    return { name: tensor.name, dtype: tensor.dtype, shape: tensor.shape, chunks };
  });
  const { cid, bytes } = encodeLinked({ version: 1, tensors: entries });
  blocks.push({ cid, bytes, codec: 'dag-cbor' });
  return { cid, blocks };
}

/** Reads a verified block, or throws OBJECT_MISSING. */
export type ReadBlock = (cid: CidText) => Promise<Uint8Array>;

/**
 * The tensors of set `cid`, which must be exactly of `types`, in order.
 * Throws TENSOR_MISMATCH where names, types or lengths differ, NUMERIC_FAULT for a value that is not finite.
 */
export async function loadTensors(read: ReadBlock, cid: CidText, types: readonly NamedType[]): Promise<NamedTensor[]> {
  const set = decodeLinked(objectKinds.tensorSet, await read(cid));
  if (set.tensors.length !== types.length) throw mismatch(cid, 'number of tensors', set.tensors.length, types.length);
  const tensors: NamedTensor[] = [];
  for (const [index, type] of types.entries()) {
    const entry = set.tensors[index];
    const found = entry === undefined ? 'nothing' : `${entry.name} ${entry.dtype}[${entry.shape.join()}]`;
    const wanted = `${type.name} ${type.dtype}[${type.shape.join()}]`;
    if (entry === undefined || found !== wanted) throw mismatch(cid, `tensor ${index}`, found, wanted);
    const length = type.shape.reduce((product, extent) => product * extent, type.dtype === 'bool' ? 1 : 4);
    if (entry.chunks.length !== Math.ceil(length / chunkBytes))
      throw mismatch(cid, `${type.name}'s chunks`, entry.chunks.length, Math.ceil(length / chunkBytes));
    const bytes = new Uint8Array(length);
    for (const [at, chunk] of entry.chunks.entries()) {
      const part = await read(chunk);
      const expected = Math.min(chunkBytes, length - at * chunkBytes);
      if (part.length !== expected) throw mismatch(cid, `${type.name}'s chunk ${at}`, `${part.length} bytes`, `${expected} bytes`);
      bytes.set(part, at * chunkBytes);
    }
    const tensor = { name: type.name, ...tensorFromBytes(type, bytes) };
    checkFinite(tensor, cid);
    tensors.push(tensor);
  }
  return tensors;
}

function checkFinite(tensor: NamedTensor, cid: CidText): void {
  const at = firstNotFinite(tensor);
  if (at !== null)
    throw new MusterError('NUMERIC_FAULT', `${tensor.name}[${at}] in ${cid} is not finite`, {
      object: cid,
      tensor: tensor.name,
      index: at,
    });
}

/** Index of the first NaN or infinity of a float32 tensor; null if there is none. */
export function firstNotFinite(tensor: Tensor): number | null {
  if (tensor.dtype !== 'float32') return null;
  const { data } = tensor;
  for (let index = 0; index < data.length; index++) if (!Number.isFinite(data[index])) return index;
  return null;
}

function mismatch(cid: CidText, what: string, actual: string | number, expected: string | number): MusterError {
  return new MusterError('TENSOR_MISMATCH', `${cid}: ${what}: ${actual}, expected ${expected}`, { object: cid, what, actual, expected });
}
