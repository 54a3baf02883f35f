/** Small helpers of the data tests: coded errors, a store in memory, IDX files. */
import { type CidText, errorCatalogue, type ErrorCode, MusterError, toMusterError } from '@muster/protocol';
import type { DatasetBlock, SourceFile } from '../src/index.ts';

/** The MusterError `run` throws. */
export function errorOf(run: () => unknown): MusterError {
  try {
    run();
  } catch (error) {
    if (error instanceof MusterError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** Runs `decode`; anything it throws must be a MusterError with one of `codes`. */
export function onlyCoded(decode: () => unknown, codes: readonly ErrorCode[]): void {
  try {
    decode();
  } catch (error) {
    if (!(error instanceof MusterError) || !codes.includes(error.code) || !(error.code in errorCatalogue)) {
      throw new Error(`an error that is not one of ${codes.join(', ')}: ${toMusterError(error).stack ?? ''}`, { cause: error });
    }
  }
}

export function storeOf(blocks: readonly DatasetBlock[]): (cid: CidText) => Promise<Uint8Array> {
  const blocksByCid = new Map(blocks.map((block) => [block.cid, block.bytes]));
  return async (cid) => blocksByCid.get(cid) ?? new Uint8Array(0);
}

export function idxFile(name: string, type: 0x08 | 0x0c, shape: readonly number[], values: readonly number[]): SourceFile {
  const width = type === 0x08 ? 1 : 4;
  const bytes = new Uint8Array(4 + 4 * shape.length + width * values.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0, 0, type, shape.length]);
  shape.forEach((extent, axis) => view.setUint32(4 + 4 * axis, extent));
  values.forEach((value, i) =>
    width === 1 ? view.setUint8(4 + 4 * shape.length + i, value) : view.setInt32(4 + 4 * shape.length + 4 * i, value),
  );
  return { name, bytes };
}

export function textFile(name: string, content: string): SourceFile {
  return { name, bytes: new TextEncoder().encode(content) };
}
