/**
 * A file or folder becomes a dataset with a content id.
 *
 * Finds out the format, reads the files within limits, hands them to the pure importers of `@muster/data`, and stores the blocks only
 * after everything was found good: chunks first, the manifest last. The formats are described in docs/spec/04-data.md.
 */
import { basename, dirname, join } from 'node:path';
import {
  type CsvOptions,
  type DatasetManifest,
  dataError,
  defaultCsvOptions,
  defaultTextOptions,
  type Grayscale,
  type HeldOut,
  ImageCollector,
  importCsv,
  importIdx,
  importText,
  noHeldOut,
  packDataset,
  type RawDataset,
  type TextOptions,
} from '@muster/data';
import { type CidText, type Codec, MusterError } from '@muster/protocol';
import { type FolderEntry, isFolder, listFolder, readSource } from './files.ts';

export type DataFormat = 'idx' | 'csv' | 'images' | 'text';

/** Everything may be left out. What belongs to another format is ignored. */
export interface ImportOptions {
  /** Default: the name of the file or folder. */
  readonly name?: string;
  readonly format?: DataFormat;
  /** File (CSV, text, IDX images) that is the test split. A folder says it by its own structure. */
  readonly testPath?: string;
  /** Test split drawn from the records where there is none; default: no test split. */
  readonly heldOut?: HeldOut;
  readonly csv?: Partial<CsvOptions>;
  readonly text?: Partial<TextOptions>;
  readonly grayscale?: Grayscale;
  /** Largest file read and largest dataset built, bytes; default 1 GiB. */
  readonly maxBytes?: number;
}

export interface ImportProgress {
  readonly stage: 'read' | 'store';
  /** Files read or blocks stored. */
  readonly done: number;
  readonly total: number;
}

export interface ImportedDataset {
  readonly manifest: DatasetManifest;
  readonly cid: CidText;
  /** Records of all splits. */
  readonly records: number;
  /** Bytes of all chunks. */
  readonly bytes: number;
}

/** Stores a block and returns its content id. */
export type PutBlock = (bytes: Uint8Array, codec: Codec) => Promise<CidText>;

const defaultMaxBytes = 2 ** 30;
const maxPictureFileBytes = 64 * 1024 * 1024;
const maxEntries = 1_000_000;
const idxName = /^(train|t10k|test)-(images|labels)[-.]idx\d-(?:ubyte|int)(?:\.gz)?$/;

/**
 * The dataset at `path`, stored through `put`. Throws DATA_UNREADABLE (path, size, unknown format), DATA_MALFORMED, DATA_UNLABELLED,
 * DATA_NOT_FINITE naming file and row, BYTES_TOO_LARGE; then nothing was stored. CID_MISMATCH if `put` returns another id.
 */
export async function importDataset(
  path: string,
  options: ImportOptions,
  put: PutBlock,
  onProgress: (progress: ImportProgress) => void = () => undefined,
): Promise<ImportedDataset> {
  const packed = packDataset(await readDataset(path, options, onProgress));
  let done = 0;
  for (const block of packed.blocks) {
    const cid = await put(block.bytes, block.codec);
    if (cid !== block.cid)
      throw new MusterError('CID_MISMATCH', `the store calls block ${block.cid} ${cid}`, { cid: block.cid, actual: cid });
    onProgress({ stage: 'store', done: ++done, total: packed.blocks.length });
  }
  const records = packed.manifest.splits.reduce((sum, split) => sum + split.records, 0);
  return { manifest: packed.manifest, cid: packed.cid, records, bytes: packed.bytes };
}

/** The dataset at `path` in memory, checked; nothing is stored. Throws as `importDataset`. */
export async function readDataset(
  path: string,
  options: ImportOptions,
  onProgress: (progress: ImportProgress) => void = () => undefined,
): Promise<RawDataset> {
  const maxBytes = options.maxBytes ?? defaultMaxBytes;
  const heldOut = options.heldOut ?? noHeldOut;
  const name = options.name ?? basename(path).slice(0, 200);
  const entries = (await isFolder(path)) ? await listFolder(path, maxEntries) : null;
  const format = options.format ?? detectFormat(path, entries);
  if (format === 'images') return await readImages(path, entries, name, options.grayscale ?? 'auto', heldOut, maxBytes, onProgress);
  if (format === 'idx') return await readIdx(path, entries, options.testPath ?? null, name, heldOut, maxBytes, onProgress);
  if (entries !== null) throw dataError('DATA_UNREADABLE', path, null, `a folder, a ${format} file is expected`);
  const train = await readSource(path, maxBytes);
  const test = options.testPath === undefined ? null : await readSource(options.testPath, maxBytes);
  onProgress({ stage: 'read', done: test === null ? 1 : 2, total: test === null ? 1 : 2 });
  if (format === 'text') return importText(name, train, test, { ...defaultTextOptions, ...options.text }, heldOut, maxBytes);
  const separator = options.csv?.separator ?? (/\.tsv(\.gz)?$/i.test(path) ? '\t' : ',');
  return importCsv(name, train, test, { ...defaultCsvOptions, ...options.csv, separator }, heldOut, maxBytes);
}

function detectFormat(path: string, entries: readonly FolderEntry[] | null): DataFormat {
  if (entries !== null) {
    if (entries.some((entry) => idxName.test(entry.name))) return 'idx';
    if (entries.some((entry) => entry.isFolder)) return 'images';
    throw dataError(
      'DATA_UNREADABLE',
      path,
      null,
      'the folder holds neither IDX files (train-images-idx3-ubyte …) nor a sub-folder of pictures per class',
    );
  }
  if (/images?[-.]idx\d-ubyte(\.gz)?$/i.test(path)) return 'idx';
  if (/\.[ct]sv(\.gz)?$/i.test(path)) return 'csv';
  if (/\.(txt|text|md)(\.gz)?$/i.test(path)) return 'text';
  throw dataError(
    'DATA_UNREADABLE',
    path,
    null,
    'unknown format: .csv, .tsv, .txt, IDX files or a folder of pictures are expected; name the format',
  );
}

/** The images file and the labels file beside it. */
function idxPair(images: string): readonly [string, string] {
  return [images, join(dirname(images), basename(images).replace('images', 'labels').replace('idx3', 'idx1'))];
}

async function readIdx(
  path: string,
  entries: readonly FolderEntry[] | null,
  testPath: string | null,
  name: string,
  heldOut: HeldOut,
  maxBytes: number,
  onProgress: (progress: ImportProgress) => void,
): Promise<RawDataset> {
  const find = (split: RegExp, part: string): string | null => {
    const found = entries?.filter((entry) => idxName.test(entry.name) && split.test(entry.name) && entry.name.includes(part)) ?? [];
    if (found.length > 1)
      throw dataError('DATA_UNREADABLE', path, null, `${found.length} files for ${part}: ${found.map((entry) => entry.name).join(', ')}`);
    return found[0]?.path ?? null;
  };
  const trainPaths = entries === null ? idxPair(path) : [find(/^train-/, 'images'), find(/^train-/, 'labels')];
  const testPaths = testPath === null ? [find(/^(?:t10k|test)-/, 'images'), find(/^(?:t10k|test)-/, 'labels')] : idxPair(testPath);
  const [trainImages, trainLabels, testImages, testLabels] = [...trainPaths, ...testPaths];
  if (!trainImages) throw dataError('DATA_UNREADABLE', path, null, 'no train-images file');
  if (!trainLabels) throw dataError('DATA_UNLABELLED', path, null, 'no train-labels file');
  if (testImages && !testLabels) throw dataError('DATA_UNLABELLED', path, null, 'test images without a labels file');
  if (!testImages && testLabels) throw dataError('DATA_UNREADABLE', path, null, 'test labels without an images file');
  const total = testImages ? 4 : 2;
  let done = 0;
  const read = async (file: string) => {
    const source = await readSource(file, maxBytes);
    onProgress({ stage: 'read', done: ++done, total });
    return source;
  };
  const train = { images: await read(trainImages), labels: await read(trainLabels) };
  const test = testImages && testLabels ? { images: await read(testImages), labels: await read(testLabels) } : null;
  return importIdx(name, { train, test }, heldOut, maxBytes);
}

/** `path`/class/picture, or `path`/train/class/picture and `path`/test/class/picture. */
async function readImages(
  path: string,
  entries: readonly FolderEntry[] | null,
  name: string,
  grayscale: Grayscale,
  heldOut: HeldOut,
  maxBytes: number,
  onProgress: (progress: ImportProgress) => void,
): Promise<RawDataset> {
  if (entries === null) throw dataError('DATA_UNREADABLE', path, null, 'a file, a folder of pictures is expected');
  const names = entries.map((entry) => entry.name);
  const hasSplits = names.includes('train') && names.every((entry) => entry === 'train' || entry === 'test');
  const files: { readonly split: 'train' | 'test'; readonly className: string; readonly path: string; readonly name: string }[] = [];
  const collect = async (split: 'train' | 'test', folders: readonly FolderEntry[], prefix: string) => {
    for (const folder of folders) {
      if (!folder.isFolder) throw dataError('DATA_UNLABELLED', prefix + folder.name, null, 'the file is in no class folder');
      const pictures = await listFolder(folder.path, maxEntries);
      if (pictures.length === 0) throw dataError('DATA_MALFORMED', prefix + folder.name, null, 'the class folder is empty');
      for (const picture of pictures) {
        if (picture.isFolder)
          throw dataError('DATA_MALFORMED', `${prefix}${folder.name}/${picture.name}`, null, 'a folder inside a class folder');
        files.push({ split, className: folder.name, path: picture.path, name: `${prefix}${folder.name}/${picture.name}` });
      }
    }
  };
  if (!hasSplits) await collect('train', entries, '');
  else {
    await collect('train', await listFolder(join(path, 'train'), maxEntries), 'train/');
    if (names.includes('test')) await collect('test', await listFolder(join(path, 'test'), maxEntries), 'test/');
  }
  const collector = new ImageCollector(grayscale, maxBytes);
  let done = 0;
  for (const file of files) {
    collector.add(file.split, file.className, await readSource(file.path, maxPictureFileBytes, file.name));
    onProgress({ stage: 'read', done: ++done, total: files.length });
  }
  return collector.finish(name, heldOut);
}
