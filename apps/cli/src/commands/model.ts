/**
 * `muster model …`: build, show, and the ways in and out: safetensors, ONNX, text.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { executorFromEnvironment, installFastSha256, openFolderStore } from '@muster/adapters';
import { decodeManifest, RandomStream } from '@muster/data';
import { decodeProgram, type Program, type Tensor } from '@muster/engine';
import {
  byteTokenizer,
  decodeSafetensors,
  generateTokens,
  Generator,
  huggingFaceTokenizer,
  loadTokenizer,
  maxTokenizerBytes,
  type ModelObject,
  type ParameterMapping,
  parametersFromSafetensors,
  parametersToSafetensors,
  programRoles,
  programToOnnx,
  type Tokenizer,
} from '@muster/models';
import { type CidText, type Codec, MusterError } from '@muster/protocol';
import { reader } from '@muster/roles';
import { encodeTensors, withNames } from '@muster/round';
import { readBytes, writeBytes } from '../files.ts';
import { asCid, buildFrom, storeModel } from '../jobs.ts';
import { loadWeights, modelNamed, type Weights, type WeightsFlags } from '../weights.ts';
import type { Context } from './context.ts';

/** Largest file of weights read: what Node reads at once, 2 GiB less one byte. */
const maxWeightBytes = 2 ** 31 - 1;

const usage = (option: string, expected: string): MusterError => new MusterError('USAGE', `${option} must be ${expected}`, { option });

const elementsOf = (types: readonly { readonly shape: readonly number[] }[]): number =>
  types.reduce((sum, { shape }) => sum + shape.reduce((product, extent) => product * extent, 1), 0);

/** Roles of the programs that `model` has. */
const rolesOf = (model: ModelObject): readonly (keyof ModelObject['programs'])[] =>
  model.programs.generate === null ? programRoles : [...programRoles, 'generate'];

export interface ModelBuildFlags {
  readonly out?: string;
}

export async function modelBuild({ paths, output }: Context, file: string, flags: ModelBuildFlags): Promise<void> {
  installFastSha256();
  const built = await buildFrom(file, process.cwd());
  const store = await openFolderStore(paths.store);
  const cid = await storeModel(built, (bytes, codec) => store.put(bytes, codec));
  if (flags.out !== undefined) {
    await mkdir(flags.out, { recursive: true });
    const bytesOf = new Map(built.objects.map((object) => [object.cid, object.bytes]));
    const write = async (name: string, object: CidText | null): Promise<void> => {
      const bytes = object === null ? undefined : bytesOf.get(object);
      if (bytes !== undefined) await writeBytes(join(flags.out ?? '', `${name}.dag-cbor`), bytes);
    };
    for (const role of rolesOf(built.model)) await write(role, built.model.programs[role]);
    await write('model', cid);
  }
  const parameters = elementsOf(built.model.parameters);
  output.event(
    'model.built',
    { model: cid, name: built.model.name, parameters, out: flags.out ?? null },
    `model ${cid}\n  "${built.model.name}", ${parameters} parameters`,
  );
}

/** `text` is a content id in the store, or the path of a description, which is then built but not stored. */
export async function modelShow({ paths, output }: Context, text: string): Promise<void> {
  installFastSha256();
  const stored = reader(await openFolderStore(paths.store));
  const { model, cid, built } = await modelNamed(stored, text);
  const blocks = new Map(built?.objects.map((object) => [object.cid, object.bytes]));
  const read = async (wanted: CidText): Promise<Uint8Array> => blocks.get(wanted) ?? (await stored(wanted));
  const [count, frozen] = [elementsOf(model.parameters), elementsOf(model.frozen)];
  output.line(`model "${model.name}", ${count} parameters${frozen > 0 ? ` over ${frozen} frozen ones` : ''}`);
  const width = Math.max(...model.parameters.map(({ name }) => name.length));
  for (const { name, dtype, shape } of model.parameters) output.line(`  ${name.padEnd(width)}  ${dtype}[${shape.join(' × ')}]`);
  output.line(`  optimizer state ${elementsOf(model.slots)} numbers; batch ${model.batch.x.shape[0] ?? 0}, x ${model.batch.x.dtype}`);
  const programs: Record<string, { readonly program: CidText; readonly operations: number }> = {};
  for (const role of rolesOf(model)) {
    const program = model.programs[role];
    if (program === null) continue;
    const { operations } = decodeProgram(await read(program));
    programs[role] = { program, operations: operations.length };
    output.line(`  ${role.padEnd(10)} ${String(operations.length).padStart(6)} operations  ${program}`);
  }
  const { name, parameters, slots } = model;
  output.event('model.shown', { model: cid, name, parameters, count, frozen, optimizerState: elementsOf(slots), programs }, null);
}

export interface ModelExportFlags extends WeightsFlags {
  readonly format: string;
  readonly out: string;
  readonly program: string;
}

export async function modelExport(context: Context, what: string, flags: ModelExportFlags): Promise<void> {
  installFastSha256();
  const { format, program: role } = flags;
  if (format !== 'safetensors' && format !== 'onnx') throw usage('--format', 'safetensors or onnx');
  if (role !== 'apply' && role !== 'generate') throw usage('--program', 'apply or generate');
  const weights = await loadWeights(context, what, flags);
  const { model, modelCid, source } = weights;
  const metadata = { name: model.name, model: modelCid, source };
  let bytes: Uint8Array;
  if (format === 'safetensors') bytes = parametersToSafetensors(model.parameters, weights.parameters, metadata);
  else {
    const program = await weights.program(role);
    if (program === null) throw new MusterError('MODEL_INVALID', `model ${modelCid} does not generate`, { model: modelCid });
    bytes = programToOnnx(program, valuesByName(weights), metadata);
  }
  await writeBytes(flags.out, bytes);
  context.output.event(
    'model.exported',
    { model: modelCid, name: model.name, source, format, file: flags.out, bytes: bytes.length },
    `${flags.out}: ${bytes.length} bytes, ${source}`,
  );
}

const valuesByName = ({ parameters, frozen }: Weights): ReadonlyMap<string, Tensor> =>
  new Map([...parameters, ...frozen].map((tensor) => [tensor.name, tensor]));

export interface ModelImportFlags {
  readonly model: string;
  readonly map: readonly string[];
  readonly transpose: readonly string[];
  readonly ignoreExtra?: boolean;
}

function mappingOf(flags: ModelImportFlags): ParameterMapping {
  const names = flags.map.map((pair) => {
    const [parameter, tensor, ...rest] = pair.split('=');
    if (parameter === undefined || parameter === '' || tensor === undefined || tensor === '' || rest.length > 0) {
      throw usage('--map', `parameter=tensor, not "${pair}"`);
    }
    return [parameter, tensor] as const;
  });
  return { names, transposed: flags.transpose, ignoreExtra: flags.ignoreExtra === true };
}

export async function modelImport({ paths, output }: Context, file: string, flags: ModelImportFlags): Promise<void> {
  installFastSha256();
  const mapping = mappingOf(flags);
  const store = await openFolderStore(paths.store);
  const put = (bytes: Uint8Array, codec: Codec): Promise<CidText> => store.put(bytes, codec);
  const { model, cid: modelCid, built } = await modelNamed(reader(store), flags.model);
  const values = parametersFromSafetensors(decodeSafetensors(await readBytes(file, maxWeightBytes)), model.parameters, mapping);
  const { cid, blocks } = encodeTensors(withNames(model.parameters, values));
  if (built !== null) await storeModel(built, put);
  const bar = output.progress('storing', blocks.length);
  try {
    for (const [index, { bytes, codec }] of blocks.entries()) {
      await put(bytes, codec);
      bar.update(index + 1);
    }
  } finally {
    bar.stop();
  }
  const parameters = elementsOf(model.parameters);
  output.event(
    'model.imported',
    { tensors: cid, model: modelCid, name: model.name, parameters },
    `tensors ${cid}\n  ${parameters} parameters of model ${modelCid}`,
  );
}

export interface ModelGenerateFlags extends WeightsFlags {
  readonly prompt: string;
  readonly tokens: string;
  readonly temperature: string;
  readonly topK?: string;
  readonly tokenizer?: string;
}

function numberOf(option: string, text: string, least: number, integer: boolean): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < least || (integer && !Number.isSafeInteger(value))) {
    throw usage(option, `${integer ? 'an integer' : 'a number'} from ${least}`);
  }
  return value;
}

/** The tokenizer that `given` names, else the one of the data that the job was trained on, else bytes. */
async function tokenizerFor({ spec, read }: Weights, given: string | undefined): Promise<Tokenizer> {
  if (given === 'bytes') return byteTokenizer();
  if (given !== undefined) {
    const cid = asCid(given);
    return cid === null ? huggingFaceTokenizer(await readBytes(given, maxTokenizerBytes)) : await tokenizerAt(cid, read);
  }
  if (spec === null) return byteTokenizer();
  const { target } = decodeManifest(await read(spec.dataset)).record;
  return target.kind === 'next-token' && target.tokenizer !== null ? await loadTokenizer(target.tokenizer, read) : byteTokenizer();
}

/** The tokenizer under `cid`, or that of the dataset under `cid`. */
async function tokenizerAt(cid: CidText, read: Weights['read']): Promise<Tokenizer> {
  try {
    const { target } = decodeManifest(await read(cid)).record;
    if (target.kind === 'next-token') return target.tokenizer === null ? byteTokenizer() : await loadTokenizer(target.tokenizer, read);
  } catch (error) {
    if (!(error instanceof MusterError) || error.code !== 'FIELD_INVALID') throw error;
  }
  return await loadTokenizer(cid, read);
}

/** Scores that `program` gives for each token. */
function vocabularyOf(program: Program): number {
  const types = [...program.inputs, ...program.constants, ...program.operations.flatMap(({ outputs }) => outputs)];
  return types[program.outputs.at(-1)?.value ?? -1]?.shape.at(-1) ?? 0;
}

export async function modelGenerate(context: Context, what: string, flags: ModelGenerateFlags): Promise<void> {
  installFastSha256();
  const { output } = context;
  const count = numberOf('--tokens', flags.tokens, 1, true);
  const temperature = numberOf('--temperature', flags.temperature, 0, false);
  const topK = flags.topK === undefined ? null : numberOf('--top-k', flags.topK, 1, true);
  const seed = numberOf('--seed', flags.seed ?? '1', 0, true);
  const weights = await loadWeights(context, what, flags);
  const { model, modelCid, source } = weights;
  const program = await weights.program('generate');
  if (program === null) throw new MusterError('MODEL_INVALID', `model ${modelCid} does not generate`, { model: modelCid });
  const tokenizer = await tokenizerFor(weights, flags.tokenizer);
  const vocabulary = vocabularyOf(program);
  if (tokenizer.vocabulary > vocabulary) {
    throw new MusterError(
      'USAGE',
      `the tokenizer has ${tokenizer.vocabulary} tokens, the model ${vocabulary}: --tokenizer names the one it was trained with`,
      { option: '--tokenizer' },
    );
  }
  const prompt = [...tokenizer.encode(flags.prompt)];
  if (prompt.length === 0) throw usage('--prompt', 'at least one token');
  const executor = await executorFromEnvironment(process.env);
  const generator = new Generator(executor, model, program, [...weights.parameters, ...weights.frozen]);
  const bar = output.progress('tokens', count);
  const random = new RandomStream(seed, 'generate');
  let made = 0;
  try {
    const prompts = Array.from({ length: generator.sequences }, () => prompt);
    const [tokens] = generateTokens(
      executor,
      generator,
      prompts,
      count,
      { temperature, topK },
      () => random.next(),
      () => bar.update(++made),
    );
    // A model may have more scores than its tokenizer has tokens; what stands for none is left out.
    const text = tokenizer.decode((tokens ?? []).filter((token) => token < tokenizer.vocabulary));
    bar.stop();
    output.event(
      'model.generated',
      { model: modelCid, source, tokenizer: tokenizer.cid, prompt: flags.prompt, text, tokens: tokens ?? [] },
      `${flags.prompt}${text}`,
    );
  } finally {
    bar.stop();
    generator.dispose();
  }
}
