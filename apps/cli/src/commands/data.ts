/**
 * `muster data …`: data sets that go into the store before a job.
 */
import { resolve } from 'node:path';
import { type DataFormat, type ImportOptions, installFastSha256, openFolderStore } from '@muster/adapters';
import { decodeManifest, type TextOptions } from '@muster/data';
import { characterTokenizer, huggingFaceTokenizer, maxTokenizerBytes } from '@muster/models';
import { MusterError, parseCid } from '@muster/protocol';
import { reader } from '@muster/roles';
import { readBytes } from '../files.ts';
import { storeDataset } from '../jobs.ts';
import type { Context } from './context.ts';

export interface DataImportFlags {
  readonly format?: string;
  readonly name?: string;
  readonly label?: string;
  readonly test?: string;
  readonly heldOut?: string;
  readonly seed: string;
  readonly context?: string;
  readonly stride?: string;
  readonly tokenizer?: string;
}

const formats: readonly DataFormat[] = ['idx', 'csv', 'images', 'text'];

/** The tokenizer that `--tokenizer` names; null for bytes. Throws DATA_UNREADABLE, DATA_MALFORMED. */
async function tokenizerOf(name: string | undefined): Promise<TextOptions['tokenizer']> {
  if (name === undefined || name === 'bytes') return null;
  if (name === 'chars') return characterTokenizer;
  const tokenizer = huggingFaceTokenizer(await readBytes(name, maxTokenizerBytes));
  return () => tokenizer;
}

function importOptions(flags: DataImportFlags, tokenizer: TextOptions['tokenizer']): ImportOptions {
  const format = formats.find((known) => known === flags.format);
  if (flags.format !== undefined && format === undefined) throw usage('--format', formats.join(', '));
  const number = (option: string, text: string, least: number): number => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < least) throw usage(option, `an integer from ${least}`);
    return value;
  };
  const fraction = flags.heldOut === undefined ? null : Number(flags.heldOut);
  if (fraction !== null && !(fraction > 0 && fraction < 1)) throw usage('--held-out', 'a share between 0 and 1');
  return {
    ...(format === undefined ? {} : { format }),
    ...(flags.name === undefined ? {} : { name: flags.name }),
    ...(flags.test === undefined ? {} : { testPath: resolve(flags.test) }),
    ...(fraction === null ? {} : { heldOut: { fraction, seed: number('--seed', flags.seed, 0) } }),
    ...(flags.label === undefined ? {} : { csv: { label: /^-?\d+$/.test(flags.label) ? Number(flags.label) : flags.label } }),
    text: {
      tokenizer,
      ...(flags.context === undefined ? {} : { context: number('--context', flags.context, 1) }),
      ...(flags.stride === undefined ? {} : { stride: number('--stride', flags.stride, 1) }),
    },
  };
}

function usage(option: string, expected: string): MusterError {
  return new MusterError('USAGE', `${option} must be ${expected}`, { option });
}

export async function dataImport({ paths, output }: Context, path: string, flags: DataImportFlags): Promise<void> {
  installFastSha256();
  const options = importOptions(flags, await tokenizerOf(flags.tokenizer));
  const store = await openFolderStore(paths.store);
  const { cid, records, bytes } = await storeDataset(resolve(path), options, 1, (block, codec) => store.put(block, codec), output);
  output.event('data.imported', { dataset: cid, records, bytes }, `dataset ${cid}\n  ${records} records, ${bytes} bytes`);
}

export async function dataShow({ paths, output }: Context, cid: string): Promise<void> {
  const store = await openFolderStore(paths.store);
  const manifest = decodeManifest(await reader(store)(parseCid(cid)));
  const { record, splits, name } = manifest;
  const shown = splits.map((split) => ({ name: split.name, records: split.records, bytes: split.features.bytes + split.targets.bytes }));
  output.line(`dataset "${name}"`);
  output.line(`  record  ${record.feature.dtype}[${record.feature.shape.join(' × ')}] → ${record.target.kind}`);
  if (record.target.kind === 'next-token')
    output.line(`  tokens  vocabulary of ${record.target.vocabulary}, ${record.target.tokenizer ?? 'the bytes of the text'}`);
  for (const split of shown) output.line(`  ${split.name.padEnd(6)}  ${split.records} records, ${split.bytes} bytes`);
  output.event('data.shown', { dataset: cid, name, record, splits: shown }, null);
}
