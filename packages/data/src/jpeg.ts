/**
 * JPEG to RGB bytes, safe for files from anywhere: size read from the frame header first, memory bounded.
 *
 * The decoder is `jpeg-js`, whose inverse DCT is in integers; the pixels it gives are part of the dataset's content id.
 */
import { decode } from 'jpeg-js';
import { dataError, type SourceFile } from './dataset.ts';
import type { Picture } from './images.ts';

export function isJpeg(bytes: Uint8Array): boolean {
  return bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;
}

/** The picture in `file`, of at most `maxPixels`. Throws DATA_MALFORMED naming the file. */
export function decodeJpeg(file: SourceFile, maxPixels: number): Picture {
  try {
    const { width, height, data } = decode(file.bytes, {
      useTArray: true,
      formatAsRGBA: false,
      tolerantDecoding: false,
      maxResolutionInMP: maxPixels / 1_000_000,
      maxMemoryUsageInMB: 256,
    });
    if (width < 1 || height < 1 || width * height > maxPixels || data.length !== width * height * 3)
      throw new RangeError(`${width} × ${height} pixels`);
    return { width, height, rgb: data };
  } catch (cause) {
    throw dataError(
      'DATA_MALFORMED',
      file.name,
      null,
      `damaged or too large JPEG (${cause instanceof Error ? cause.message.slice(0, 100) : 'unreadable'})`,
      cause,
    );
  }
}
