/**
 * Importer of folders of pictures: one sub-folder per class, PNG or JPEG, all of one size.
 *
 * Pictures are added one file at a time, so that a caller holds one file's bytes only. A dataset whose pictures are all grey has the
 * shape [height, width], else [3, height, width]. Decoding of single files is `png.ts` and `jpeg.ts`.
 */
import { MusterError } from '@muster/protocol';
import { dataError, type RawDataset, type RawSplit, type SourceFile, storeClasses } from './dataset.ts';
import { type HeldOut, holdOut } from './heldout.ts';
import { decodeJpeg, isJpeg } from './jpeg.ts';
import { maxChunkBytes, maxClasses, type SplitName } from './manifest.ts';
import { decodePng, isPng } from './png.ts';

/** A decoded picture: `rgb` uint8 [height, width, 3]. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array;
}

/** `auto`: grey if every picture is; true: made grey by (77 r + 150 g + 29 b + 128) >> 8; false: three planes always. */
export type Grayscale = boolean | 'auto';

/** Largest picture: 1 Mi pixels (a record may not exceed 1 MiB anyway). */
export const maxPixels = maxChunkBytes;

/** The picture in `file`. Throws DATA_MALFORMED naming it. */
export function decodePicture(file: SourceFile): Picture {
  if (isPng(file.bytes)) return decodePng(file, maxPixels);
  if (isJpeg(file.bytes)) return decodeJpeg(file, maxPixels);
  throw dataError('DATA_MALFORMED', file.name, null, 'neither PNG nor JPEG');
}

interface Entry {
  readonly split: SplitName;
  readonly className: string;
  readonly file: string;
  readonly pixels: Uint8Array;
}

/** Collects pictures; nothing comes out unless every one was good. */
export class ImageCollector {
  readonly #grayscale: Grayscale;
  readonly #maxBytes: number;
  readonly #entries: Entry[] = [];
  #bytes = 0;
  #first: { readonly file: string; readonly width: number; readonly height: number } | null = null;

  constructor(grayscale: Grayscale, maxBytes: number) {
    this.#grayscale = grayscale;
    this.#maxBytes = maxBytes;
  }

  /** Takes one picture. Throws DATA_MALFORMED (damaged, another size) naming the file, BYTES_TOO_LARGE. */
  add(split: SplitName, className: string, file: SourceFile): void {
    const { width, height, rgb } = decodePicture(file);
    this.#first ??= { file: file.name, width, height };
    const { width: wanted, height: high, file: first } = this.#first;
    if (width !== wanted || height !== high) {
      throw dataError('DATA_MALFORMED', file.name, null, `${width} × ${height} pixels, ${first} has ${wanted} × ${high}`);
    }
    const isGrey = this.#grayscale === true || (this.#grayscale === 'auto' && hasGreyOnly(rgb));
    const pixels = isGrey ? greyOf(rgb) : planesOf(rgb);
    if (pixels.length > maxChunkBytes)
      throw dataError('DATA_MALFORMED', file.name, null, `a record of ${pixels.length} bytes, at most ${maxChunkBytes}`);
    this.#bytes += pixels.length;
    if (this.#bytes > this.#maxBytes)
      throw new MusterError('BYTES_TOO_LARGE', `${file.name}: more than ${this.#maxBytes} bytes of pictures`, {
        file: file.name,
        maxBytes: this.#maxBytes,
      });
    this.#entries.push({ split, className, file: file.name, pixels });
  }

  /**
   * The dataset: classes are the class names in code unit order, records in the order they were added.
   * Throws DATA_MALFORMED if there is no train picture or a test class without train pictures.
   */
  finish(name: string, heldOut: HeldOut): RawDataset {
    const train = this.#entries.filter((entry) => entry.split === 'train');
    const first = this.#first;
    if (train.length === 0 || first === null) throw dataError('DATA_MALFORMED', name, null, 'no pictures to train on');
    const names = [...new Set(train.map((entry) => entry.className))].sort();
    if (names.length > maxClasses) throw dataError('DATA_MALFORMED', name, null, `${names.length} classes, at most ${maxClasses}`);
    const size = first.width * first.height;
    const isGrey = this.#entries.every((entry) => entry.pixels.length === size);
    const build = (split: SplitName, entries: readonly Entry[]): RawSplit => {
      const length = isGrey ? size : 3 * size;
      const features = new Uint8Array(entries.length * length);
      entries.forEach(({ pixels }, row) => {
        for (let start = row * length; start < (row + 1) * length; start += pixels.length) features.set(pixels, start);
      });
      const targets = entries.map(({ className, file }) => {
        const index = names.indexOf(className);
        if (index < 0) throw dataError('DATA_MALFORMED', file, null, `class "${className}" has no train pictures`);
        return index;
      });
      return { name: split, records: entries.length, features, targets: storeClasses(targets, names.length) };
    };
    const test = this.#entries.filter((entry) => entry.split === 'test');
    const splits = [build('train', train)];
    if (test.length > 0) splits.push(build('test', test));
    const shape = isGrey ? [first.height, first.width] : [3, first.height, first.width];
    return holdOut(
      { name, record: { feature: { dtype: 'uint8', shape }, target: { kind: 'class', classes: names.length, names } }, splits },
      heldOut,
    );
  }
}

function hasGreyOnly(rgb: Uint8Array): boolean {
  for (let i = 0; i < rgb.length; i += 3) if (rgb[i] !== rgb[i + 1] || rgb[i] !== rgb[i + 2]) return false;
  return true;
}

/** The weights sum to 256, so a grey pixel keeps its value. */
function greyOf(rgb: Uint8Array): Uint8Array {
  const grey = new Uint8Array(rgb.length / 3);
  for (let i = 0; i < grey.length; i++)
    grey[i] = (77 * (rgb[3 * i] ?? 0) + 150 * (rgb[3 * i + 1] ?? 0) + 29 * (rgb[3 * i + 2] ?? 0) + 128) >> 8;
  return grey;
}

function planesOf(rgb: Uint8Array): Uint8Array {
  const size = rgb.length / 3;
  const planes = new Uint8Array(rgb.length);
  for (let i = 0; i < size; i++) for (let channel = 0; channel < 3; channel++) planes[channel * size + i] = rgb[3 * i + channel] ?? 0;
  return planes;
}
