/** Tensors for the Python peers: header length, JSON header, raw data, as `bench/python/tensors.py` reads it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dtypes, type NamedTensor, tensorBytes, tensorFromBytes } from '../../packages/engine/src/index.ts';

const dtypeNames = { float32: 'F32', int32: 'I32', uint32: 'U32', bool: 'BOOL' } as const;

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** Writes `tensors` to `path`. */
export function writeTensorFile(path: string, tensors: readonly NamedTensor[]): void {
  let offset = 0;
  const header: Record<string, object> = {};
  const parts = tensors.map((tensor) => {
    const bytes = tensorBytes(tensor);
    header[tensor.name] = { dtype: dtypeNames[tensor.dtype], shape: tensor.shape, data_offsets: [offset, offset + bytes.length] };
    offset += bytes.length;
    return bytes;
  });
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(path, Buffer.concat([length, text, ...parts]));
}

/** The tensors of the file at `path`, which `writeTensorFile` wrote, in its order. */
export function readTensorFile(path: string): NamedTensor[] {
  const content = readFileSync(path);
  const length = Number(content.readBigUInt64LE(0));
  const header = JSON.parse(content.toString('utf8', 8, 8 + length)) as Readonly<Record<string, Entry>>;
  return Object.entries(header).map(
    ([
      name,
      {
        dtype,
        shape,
        data_offsets: [start, end],
      },
    ]) => {
      const type = { dtype: dtypes.find((own) => dtypeNames[own] === dtype) ?? 'float32', shape };
      return { name, ...tensorFromBytes(type, content.subarray(8 + length + start, 8 + length + end)) };
    },
  );
}

/** Calls `use` with a new empty folder and removes the folder afterwards. */
export async function inTemporaryFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'muster-bench-'));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
