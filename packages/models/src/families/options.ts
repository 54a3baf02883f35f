/** The sizes and choices of every family: the decoders of that part of a model specification, and the types that follow from them. */
import { bool, finite, type Infer, integer, list, MusterError, oneOf, struct } from '@muster/protocol';

const extent = integer(1, 65_536);
const width = integer(1, 65_536);
const image = list(extent, 3, 3);
const hidden = list(width, 16);
const classes = integer(2, 65_536);
const dropout = finite(0, 0.95);
const vocabulary = integer(2, 1_048_576);

/** `input` [height, width, channels]; `channels` the depths of the convolutions, `hidden` the widths of the dense layers after them. */
export const cnnFields = { input: image, classes, channels: list(integer(1, 4096), 8, 1), kernelSize: integer(1, 15), hidden };

/** `input` [height, width, channels], at least 12 × 12. */
export const lenetFields = { input: image, classes };

/**
 * `stages` gives each stage's channels and number of basic blocks; every stage but the first halves height and width.
 * `groups` is the number of groups of the normalization; it divides every stage's channels.
 */
export const resnetFields = {
  input: image,
  classes,
  stages: list(struct({ channels: integer(1, 4096), blocks: integer(1, 64) }), 8, 1),
  groups: integer(1, 4096),
};

export const gptFields = {
  vocabulary,
  /** Tokens of a record, and the longest text that generation reaches. */
  context: integer(1, 65_536),
  layers: integer(1, 256),
  /** Divides `width`. */
  heads: integer(1, 1024),
  width,
  norm: oneOf('layer', 'rms'),
  /** Biases in linear layers and layer normalization. */
  bias: bool,
  /** The head reads the token embedding instead of a matrix of its own. */
  tied: bool,
  /** Width of the hidden layer ÷ `width`. */
  hiddenMultiple: integer(1, 64),
  /** The exact Gaussian error linear unit, or GPT-2's approximation of it. */
  activation: oneOf('gelu', 'gelu-tanh'),
  /** Probability, in training, that an element is dropped: after the embedding, in attention, after both halves of every block. */
  dropout,
  /** Sequences that `generate` continues side by side. */
  generationBatch: integer(1, 65_536),
};

/** What a specification may leave out: nanoGPT's choices. */
export const gptDefaults = {
  norm: 'layer',
  bias: false,
  tied: true,
  hiddenMultiple: 4,
  activation: 'gelu',
  dropout: 0,
  generationBatch: 1,
} as const;

export const mambaFields = {
  vocabulary,
  /** Tokens of a record. Generation has no limit. */
  context: integer(1, 65_536),
  layers: integer(1, 256),
  width,
  /** Width of the inner stream ÷ `width`. */
  expansion: integer(1, 16),
  /** Divides the width of the inner stream. */
  headWidth: integer(1, 4096),
  /** Numbers of state per channel of the inner stream. */
  stateWidth: integer(1, 4096),
  /** Positions that the convolution sees. */
  convolutionWidth: integer(1, 16),
  /** Positions computed as one matrix; divides `context`. */
  chunk: integer(1, 65_536),
  /** Sequences that `generate` continues side by side. */
  generationBatch: integer(1, 65_536),
};

/** What a specification may leave out: the paper's choices. */
export const mambaDefaults = { expansion: 2, headWidth: 64, stateWidth: 64, convolutionWidth: 4, generationBatch: 1 } as const;

const options = {
  cnn: struct(cnnFields),
  lenet: struct(lenetFields),
  resnet: struct(resnetFields),
  gpt: struct(gptFields),
  mamba: struct(mambaFields),
};
export type CnnOptions = Infer<typeof options.cnn>;
export type LenetOptions = Infer<typeof options.lenet>;
export type ResnetOptions = Infer<typeof options.resnet>;
export type GptOptions = Infer<typeof options.gpt>;
export type MambaOptions = Infer<typeof options.mamba>;
export type Norm = GptOptions['norm'];

/** Throws MODEL_INVALID, naming `field`, unless `part` divides `whole`. */
export function mustDivide(part: number, whole: number, field: string): void {
  if (whole % part !== 0) throw new MusterError('MODEL_INVALID', `${field}: ${part} does not divide ${whole}`, { field });
}

/** Throws MODEL_INVALID, naming `field`, if `value` is under `least`. */
export function atLeast(least: number, value: number, field: string): void {
  if (value < least) throw new MusterError('MODEL_INVALID', `${field}: ${value} is under ${least}`, { field });
}
