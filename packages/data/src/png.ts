/**
 * PNG to RGB bytes, safe for files from anywhere.
 *
 * The chunk structure and the inflated size are checked before `fast-png` sees the file, and ancillary chunks (profiles, texts) are
 * dropped, since they may inflate without limit. 16-bit samples keep their high byte; an alpha channel lays the picture on black.
 */
import { convertIndexedToRgb, decode } from 'fast-png';
import { dataError, type SourceFile } from './dataset.ts';
import { unzlibFile } from './gzip.ts';
import type { Picture } from './images.ts';

const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a] as const;
/** Samples per pixel by colour type. */
const channelsOf = new Map([
  [0, 1],
  [2, 3],
  [3, 1],
  [4, 2],
  [6, 4],
]);

export function isPng(bytes: Uint8Array): boolean {
  return signature.every((byte, index) => bytes[index] === byte);
}

/** The picture in `file`, of at most `maxPixels`. Throws DATA_MALFORMED naming the file. */
export function decodePng(file: SourceFile, maxPixels: number): Picture {
  const cleaned = cleanPng(file, maxPixels);
  let png: ReturnType<typeof decode>;
  try {
    png = decode(cleaned, { checkCrc: true });
    if (png.palette !== undefined) {
      const data = convertIndexedToRgb(png);
      const channels = data.length / (png.width * png.height);
      return toRgb(file, png.width, png.height, channels, (i) => data[i] ?? 0);
    }
  } catch (cause) {
    throw dataError('DATA_MALFORMED', file.name, null, 'damaged PNG', cause);
  }
  const { width, height, channels, depth, data } = png;
  if (depth >= 8) return toRgb(file, width, height, channels, depth === 16 ? (i) => (data[i] ?? 0) >> 8 : (i) => data[i] ?? 0);
  const rowBytes = Math.ceil((width * depth) / 8);
  const largest = (1 << depth) - 1;
  return toRgb(file, width, height, 1, (i) => {
    const bit = (i % width) * depth;
    const byte = data[Math.floor(i / width) * rowBytes + (bit >> 3)] ?? 0;
    return (((byte >> (8 - depth - (bit & 7))) & largest) * 255) / largest;
  });
}

/** Samples 8-bit by `sample(index)`, row-major with `channels` each: grey, grey + alpha, RGB or RGBA. */
function toRgb(file: SourceFile, width: number, height: number, channels: number, sample: (index: number) => number): Picture {
  if (channels < 1 || channels > 4 || !Number.isInteger(channels)) throw dataError('DATA_MALFORMED', file.name, null, 'damaged PNG');
  const rgb = new Uint8Array(width * height * 3);
  const colours = channels < 3 ? 1 : 3;
  for (let pixel = 0; pixel < width * height; pixel++) {
    const from = pixel * channels;
    const alpha = channels > colours ? sample(from + colours) : 255;
    for (let channel = 0; channel < 3; channel++) {
      const value = sample(from + (colours === 1 ? 0 : channel));
      rgb[3 * pixel + channel] = alpha === 255 ? value : Math.floor((value * alpha + 127) / 255);
    }
  }
  return { width, height, rgb };
}

/** `file` with its critical chunks (and palette transparency) only, header and inflated size checked. */
function cleanPng(file: SourceFile, maxPixels: number): Uint8Array {
  const { bytes } = file;
  const fail = (problem: string) => dataError('DATA_MALFORMED', file.name, null, problem);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kept: Uint8Array[] = [bytes.subarray(0, 8)];
  const data: Uint8Array[] = [];
  let inflatedBytes = -1;
  let colourType = -1;
  for (let at = 8; ;) {
    if (at + 12 > bytes.length) throw fail('the PNG is cut short');
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (at + 12 + length > bytes.length) throw fail('the PNG is cut short');
    const content = bytes.subarray(at + 8, at + 8 + length);
    if ((at === 8) !== (type === 'IHDR') || (type === 'IHDR' && length !== 13)) throw fail('the PNG does not start with one header');
    if (type === 'IHDR') {
      colourType = content[9] ?? -1;
      inflatedBytes = imageBytes(view.getUint32(at + 8), view.getUint32(at + 12), content, maxPixels, fail);
    }
    if (type === 'PLTE' && (length === 0 || length > 768 || length % 3 !== 0)) throw fail('the PNG palette is damaged');
    if (type === 'IDAT') data.push(content);
    if (['IHDR', 'PLTE', 'IDAT', 'IEND'].includes(type) || (type === 'tRNS' && colourType === 3))
      kept.push(bytes.subarray(at, at + 12 + length));
    at += 12 + length;
    if (type === 'IEND') break;
  }
  const inflated = unzlibFile({ name: file.name, bytes: concatenate(data) }, inflatedBytes);
  if (inflated.length !== inflatedBytes) throw fail('the PNG does not hold as many pixels as its header says');
  return concatenate(kept);
}

/** Bytes of the filtered rows. */
function imageBytes(width: number, height: number, header: Uint8Array, maxPixels: number, fail: (problem: string) => Error): number {
  const depth = header[8] ?? 0;
  const channels = channelsOf.get(header[9] ?? -1);
  if (width < 1 || height < 1 || width * height > maxPixels) throw fail(`${width} × ${height} pixels, at most ${maxPixels} in all`);
  if (![1, 2, 4, 8, 16].includes(depth) || channels === undefined || (depth < 8 && channels > 1))
    throw fail('a PNG sample type that does not exist');
  const rows = (wide: number, high: number): number =>
    wide === 0 || high === 0 ? 0 : high * (1 + Math.ceil((wide * channels * depth) / 8));
  if (header[12] === 0) return rows(width, height);
  if (header[12] !== 1) throw fail('an unknown PNG interlace method');
  if (depth < 8) throw fail('interlaced PNG with less than 8 bits per sample is not supported');
  const passes = [
    [0, 0, 8, 8],
    [4, 0, 8, 8],
    [0, 4, 4, 8],
    [2, 0, 4, 4],
    [0, 2, 2, 4],
    [1, 0, 2, 2],
    [0, 1, 1, 2],
  ] as const;
  return passes.reduce(
    (sum, [x, y, dx, dy]) => sum + rows(Math.ceil(Math.max(0, width - x) / dx), Math.ceil(Math.max(0, height - y) / dy)),
    0,
  );
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
