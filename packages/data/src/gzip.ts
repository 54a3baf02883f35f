/**
 * Decompression with a limit: what comes out of gzip and zlib data is counted while it is inflated.
 *
 * A gzip file is recognised by its two magic bytes. CRC and length of each member are checked; several members are joined, as gzip
 * does. Input goes in by small pieces, because one piece may inflate a thousandfold before the limit can act.
 */
import { Gunzip, Unzlib } from 'fflate';
import { dataError, type SourceFile } from './dataset.ts';

/** At most 1032 × this is inflated beyond the limit: 4 MiB. */
const pieceBytes = 4096;

/** Header, empty block and trailer. */
const shortestGzip = 20;

export function isGzip(bytes: Uint8Array): boolean {
  return bytes.length >= 2 && bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/** `file` itself, or its content if it is gzip. Throws DATA_MALFORMED if damaged or more than `maxBytes` inflated. */
export function gunzipFile(file: SourceFile, maxBytes: number): SourceFile {
  if (!isGzip(file.bytes)) return file;
  if (file.bytes.length < shortestGzip) throw dataError('DATA_MALFORMED', file.name, null, 'the compressed data is cut short');
  const bytes = inflate(new Gunzip(), file, maxBytes);
  checkTrailer(file, bytes);
  return { name: file.name, bytes };
}

/** The content of zlib data `file`. Throws DATA_MALFORMED if damaged or more than `maxBytes` inflated. */
export function unzlibFile(file: SourceFile, maxBytes: number): Uint8Array {
  return inflate(new Unzlib(), file, maxBytes);
}

function inflate(inflator: Gunzip | Unzlib, file: SourceFile, maxBytes: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let length = 0;
  let ended = false;
  inflator.ondata = (part, final) => {
    length += part.length;
    if (length <= maxBytes) parts.push(part);
    ended = final;
  };
  try {
    for (let start = 0; start < file.bytes.length; start += pieceBytes) {
      if (length > maxBytes) break;
      inflator.push(file.bytes.subarray(start, start + pieceBytes), start + pieceBytes >= file.bytes.length);
    }
  } catch (cause) {
    throw dataError('DATA_MALFORMED', file.name, null, 'the compressed data is damaged', cause);
  }
  if (length > maxBytes) throw dataError('DATA_MALFORMED', file.name, null, `more than ${maxBytes} bytes when decompressed`);
  if (!ended) throw dataError('DATA_MALFORMED', file.name, null, 'the compressed data is cut short');
  const joined = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** The last eight bytes of a single-member file are CRC-32 and length of its content; with several members only the length fits less. */
function checkTrailer(file: SourceFile, content: Uint8Array): void {
  const view = new DataView(file.bytes.buffer, file.bytes.byteOffset, file.bytes.byteLength);
  const end = file.bytes.length;
  const length = view.getUint32(end - 4, true);
  if (length > content.length || crc32(content.subarray(content.length - length)) !== view.getUint32(end - 8, true)) {
    throw dataError('DATA_MALFORMED', file.name, null, 'the checksum of the compressed data is wrong');
  }
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value >>> 0;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crcTable[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
