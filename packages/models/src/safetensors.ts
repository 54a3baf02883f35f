/**
 * The safetensors container: named tensors as bytes and back. What the tensors mean to a model is `safetensors-parameters.ts`.
 *
 * A file is eight bytes N (little-endian), N bytes of JSON that starts with `{` and may end in spaces, and the data. The JSON maps
 * names to `{dtype, shape, data_offsets: [begin, end]}`, offsets from the start of the data, and `__metadata__` to texts by name. The
 * tensors fill the data without holes or overlaps. Source: the format's README and the reference implementation, huggingface/safetensors.
 */
import { type Tensor, tensorBytes } from '@muster/engine';
import { type ErrorDetails, MusterError } from '@muster/protocol';
import { decodeUtf8, encodeUtf8 } from './utf8.ts';

/** Longest JSON header, as in the reference implementation. */
export const maxSafetensorsHeader = 100_000_000;

/** Bits per element of every dtype of the format. Those that are not a multiple of 8 pack. */
const bitsOf = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;
export type SafetensorsDtype = keyof typeof bitsOf;

/** One tensor as stored; `bytes` is a view of the file. */
export interface SafetensorsTensor {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export interface SafetensorsFile {
  readonly metadata: Readonly<Record<string, string>>;
  /** In the order of their data. */
  readonly tensors: readonly SafetensorsTensor[];
}

function malformed(problem: string, details: ErrorDetails = {}, cause?: unknown): MusterError {
  return new MusterError('DATA_MALFORMED', `safetensors: ${problem}`, details, cause === undefined ? undefined : { cause });
}

/** `name` as an error may show it. */
export const shownName = (name: string): string => JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);

/**
 * The tensors in `bytes`. Throws DATA_MALFORMED for anything the format does not allow, naming the tensor where there is one, and
 * BYTES_TOO_LARGE for a header above `maxSafetensorsHeader`. Allocates in proportion to the header only.
 */
export function decodeSafetensors(bytes: Uint8Array): SafetensorsFile {
  if (bytes.length < 8) throw malformed(`${bytes.length} bytes, fewer than the 8 of the header's length`);
  const stated = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (stated > BigInt(maxSafetensorsHeader)) {
    throw new MusterError('BYTES_TOO_LARGE', `safetensors: a header of ${stated} bytes, at most ${maxSafetensorsHeader}`, {
      bytes: stated,
      maxBytes: maxSafetensorsHeader,
    });
  }
  const headerEnd = 8 + Number(stated);
  if (headerEnd > bytes.length) throw malformed(`a header of ${stated} bytes in a file of ${bytes.length}`);
  const data = bytes.subarray(headerEnd);
  const { metadata, entries } = readHeader(bytes.subarray(8, headerEnd));
  // Empty tensors first where they share an offset, so that the walk below meets them before what starts there.
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let end = 0;
  const tensors = entries.map((entry): SafetensorsTensor => {
    const { name, dtype, shape, begin } = entry;
    if (begin !== end) {
      const what = begin < end ? 'overlaps the tensor before it' : 'leaves a hole before it';
      throw malformed(`tensor ${shownName(name)} starts at ${begin} where ${end} is expected: it ${what}`, { tensor: name });
    }
    if (entry.end > data.length)
      throw malformed(`tensor ${shownName(name)} ends at ${entry.end} of ${data.length} bytes`, { tensor: name });
    end = entry.end;
    return { name, dtype, shape, bytes: data.subarray(begin, end) };
  });
  if (end !== data.length) throw malformed(`${data.length - end} bytes after the last tensor belong to none`);
  return { metadata, tensors };
}

interface Entry {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

function readHeader(bytes: Uint8Array): { readonly metadata: Record<string, string>; readonly entries: Entry[] } {
  if (bytes[0] !== 0x7b) throw malformed('the header does not start with "{"');
  const source = decodeUtf8(bytes);
  if (typeof source !== 'string') throw malformed(`the header is not UTF-8 at byte ${source.malformedAt}`);
  let header: unknown;
  try {
    header = JSON.parse(source);
  } catch (cause) {
    throw malformed('the header is not JSON', {}, cause);
  }
  const repeated = repeatedKey(source);
  if (repeated !== null) throw malformed(`the header has ${shownName(repeated)} twice`, { field: repeated });
  const fields = objectOf(header, 'the header');
  const metadata = new Map<string, string>();
  const entries: Entry[] = [];
  for (const [name, value] of fields) {
    if (name !== '__metadata__') entries.push(readEntry(name, value));
    else {
      for (const [key, text] of objectOf(value, '__metadata__')) {
        if (typeof text !== 'string') throw malformed(`__metadata__ ${shownName(key)} is not text`, { field: '__metadata__' });
        metadata.set(key, text);
      }
    }
  }
  return { metadata: Object.fromEntries(metadata), entries };
}

function objectOf(value: unknown, what: string): [string, unknown][] {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw malformed(`${what} is not an object`);
  return Object.entries(value);
}

function sizesOf(value: unknown, what: string, name: string): readonly number[] {
  if (!Array.isArray(value) || !value.every((item) => Number.isSafeInteger(item) && (item as number) >= 0 && !Object.is(item, -0))) {
    throw malformed(`tensor ${shownName(name)}: ${what} is not a list of sizes`, { tensor: name, field: what });
  }
  return value as readonly number[];
}

/** The product; NaN, which stays, once it is beyond exact integers. */
const times = (product: number, extent: number): number => (Number.isSafeInteger(product * extent) ? product * extent : Number.NaN);

function readEntry(name: string, value: unknown): Entry {
  const fields = new Map(objectOf(value, `tensor ${shownName(name)}`));
  for (const field of fields.keys()) {
    if (!['dtype', 'shape', 'data_offsets'].includes(field)) {
      throw malformed(`tensor ${shownName(name)} has an unknown field ${shownName(field)}`, { tensor: name, field });
    }
  }
  const dtype = fields.get('dtype');
  if (typeof dtype !== 'string' || !Object.hasOwn(bitsOf, dtype)) {
    throw malformed(`tensor ${shownName(name)} has the unknown dtype ${typeof dtype === 'string' ? shownName(dtype) : String(dtype)}`, {
      tensor: name,
      field: 'dtype',
    });
  }
  const known = dtype as SafetensorsDtype;
  const shape = sizesOf(fields.get('shape'), 'shape', name);
  const offsets = sizesOf(fields.get('data_offsets'), 'data_offsets', name);
  const [begin, end] = offsets;
  if (begin === undefined || end === undefined || offsets.length !== 2 || begin > end) {
    throw malformed(`tensor ${shownName(name)}: data_offsets is not [begin, end]`, { tensor: name, field: 'data_offsets' });
  }
  if (shape.reduce(times, bitsOf[known]) !== 8 * (end - begin)) {
    throw malformed(`tensor ${shownName(name)}: ${end - begin} bytes do not hold ${known}[${shape.slice(0, 16).join(', ')}]`, {
      tensor: name,
      field: 'data_offsets',
    });
  }
  return { name, dtype: known, shape, begin, end };
}

/** A key that some object of the JSON text `source` has twice, or null. `JSON.parse`, which has accepted the text, would take the last. */
function repeatedKey(source: string): string | null {
  const open: Set<string>[] = [];
  for (let at = 0; at < source.length; at++) {
    const unit = source[at];
    if (unit === '{') open.push(new Set());
    else if (unit === '}') open.pop();
    if (unit !== '"') continue;
    const start = at++;
    while (source[at] !== '"') at += source[at] === '\\' ? 2 : 1;
    let next = at + 1;
    while (/[\t\n\r ]/.test(source[next] ?? '')) next++;
    if (source[next] !== ':') continue;
    const key = JSON.parse(source.slice(start, at + 1)) as string;
    const keys = open.at(-1);
    if (keys?.has(key) === true) return key;
    keys?.add(key);
  }
  return null;
}

/** A named value to write. */
export interface NamedTensor {
  readonly name: string;
  readonly tensor: Tensor;
}

const dtypeNames = { float32: 'F32', int32: 'I32', uint32: 'U32', bool: 'BOOL' } as const;

const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/**
 * The file that holds `tensors`. Deterministic, and as the reference implementation lays it out: wide dtypes first, then by name;
 * metadata keys ascend; the header is padded with spaces to a multiple of 8. Throws DATA_MALFORMED for a name that is `__metadata__`, repeated or not
 * well-formed text, BYTES_TOO_LARGE for a header above the limit.
 */
export function encodeSafetensors(
  tensors: readonly NamedTensor[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const ordered = [...tensors].sort((a, b) => width(b.tensor) - width(a.tensor) || byCodeUnit(a.name, b.name));
  const seen = new Set(['__metadata__']);
  const fields: string[] = [];
  const keys = Object.keys(metadata).sort(byCodeUnit);
  if (keys.length > 0)
    fields.push(`"__metadata__":{${keys.map((key) => `${JSON.stringify(key)}:${JSON.stringify(metadata[key])}`).join(',')}}`);
  let end = 0;
  for (const { name, tensor } of ordered) {
    if (seen.has(name)) throw malformed(`the name ${shownName(name)} is taken`, { tensor: name });
    seen.add(name);
    const begin = end;
    end += tensor.data.byteLength;
    const { dtype, shape } = tensor;
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype: dtypeNames[dtype], shape, data_offsets: [begin, end] })}`);
  }
  const header = encodeUtf8(`{${fields.join(',')}}`);
  if (!(header instanceof Uint8Array)) throw malformed('a name is not well-formed text');
  const padded = Math.ceil(header.length / 8) * 8;
  if (padded > maxSafetensorsHeader) {
    throw new MusterError('BYTES_TOO_LARGE', `safetensors: a header of ${padded} bytes`, { bytes: padded, maxBytes: maxSafetensorsHeader });
  }
  const file = new Uint8Array(8 + padded + end);
  new DataView(file.buffer).setBigUint64(0, BigInt(padded), true);
  file.set(header, 8);
  file.fill(0x20, 8 + header.length, 8 + padded);
  let at = 8 + padded;
  for (const { tensor } of ordered) {
    file.set(tensorBytes(tensor), at);
    at += tensor.data.byteLength;
  }
  return file;
}

const width = (tensor: Tensor): number => (tensor.dtype === 'bool' ? 1 : 4);
