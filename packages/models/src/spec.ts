/** The model specification: plain JSON that names a family, its sizes, and how it is trained. */
import { finite, type Infer, integer, list, literal, MusterError, nullable, type Schema, struct, variant } from '@muster/protocol';
import { adapterSchema, type AdapterSpec } from './adapters.ts';
import { type AugmentSpec, augmentSchema } from './augment.ts';
import { withDefaults } from './defaults.ts';
import { cnnFields, gptDefaults, gptFields, lenetFields, mambaDefaults, mambaFields, resnetFields } from './families/options.ts';
import { type OptimizerSpec, optimizerSchema } from './optimizers.ts';
import { type ScheduleSpec, scheduleSchema } from './schedules.ts';

const extent = integer(1, 65_536);
const width = integer(1, 65_536);
const input = list(extent, 4, 1);
const hidden = list(width, 16);
const classes = integer(2, 65_536);

const training = {
  /** Records of one step. */
  batchSize: integer(1, 65_536),
  /** Records of one run of `evaluate` and `apply`. */
  evaluationBatch: integer(1, 65_536),
  optimizer: optimizerSchema,
  /** How the optimizer's learning rate changes. */
  schedule: scheduleSchema,
  /** Largest Euclidean norm of all gradients together; null: whatever it is. */
  clipNorm: nullable(finite(1e-12, 1e12)),
  /** Micro-batches into which a step's batch is cut: memory of one, gradients of all. A divisor of `batchSize`. */
  accumulation: integer(1, 256),
  augment: nullable(augmentSchema),
};
const trainingDefaults = { schedule: { kind: 'constant' }, clipNorm: null, accumulation: 1, augment: null } as const;

/** What every family has besides its own fields. */
const common = { ...training, /** Trains low-rank adapters on the model instead of the model itself. */ adapter: nullable(adapterSchema) };
const commonDefaults = { ...trainingDefaults, adapter: null } as const;

/**
 * Decoder of a specification. `input` is the shape of one record, which dense families flatten; `hidden` lists the widths of hidden
 * layers. The other families' fields are in `families/options.ts`.
 */
export const modelSpecSchema = withDefaults(
  variant('family', {
    softmax: struct({ family: literal('softmax'), input, classes, ...common }),
    mlp: struct({ family: literal('mlp'), input, classes, hidden, ...common }),
    cnn: struct({ family: literal('cnn'), ...cnnFields, ...common }),
    lenet: struct({ family: literal('lenet'), ...lenetFields, ...common }),
    resnet: struct({ family: literal('resnet'), ...resnetFields, ...common }),
    gpt: withDefaults(struct({ family: literal('gpt'), ...gptFields, ...common }), gptDefaults),
    mamba: withDefaults(struct({ family: literal('mamba'), ...mambaFields, ...common }), mambaDefaults),
    regression: struct({ family: literal('regression'), input, outputs: integer(1, 65_536), hidden, ...common }),
  }),
  commonDefaults,
);
/** A specification, decoded. */
export type CompleteModelSpec = Infer<typeof modelSpecSchema>;

const trainingSpecSchema = withDefaults(struct(training), trainingDefaults);
/** What training needs besides the definition, decoded. */
export type CompleteTraining = Infer<typeof trainingSpecSchema>;

/** The training part as an organizer writes it: what is missing has its default. */
export interface TrainingSpec {
  readonly batchSize: number;
  readonly evaluationBatch: number;
  readonly optimizer: OptimizerSpec;
  readonly schedule?: ScheduleSpec;
  readonly clipNorm?: number | null;
  readonly accumulation?: number;
  readonly augment?: AugmentSpec | null;
}
/** A specification as an organizer writes it. */
export type ModelSpec = WithTraining<CompleteModelSpec>;
type Common = TrainingSpec & { readonly adapter?: AdapterSpec | null };
type WithTraining<T> = T extends unknown ? Omit<T, keyof Common> & Common : never;

function decoded<T>(schema: Schema<T>, value: unknown): T {
  try {
    return schema(value, 'model');
  } catch (cause) {
    if (cause instanceof MusterError) throw new MusterError('MODEL_INVALID', cause.message, cause.details, { cause });
    throw cause;
  }
}

/** The specification in a decoded JSON value. Throws MODEL_INVALID naming the field. */
export function decodeModelSpec(value: unknown): CompleteModelSpec {
  return decoded(modelSpecSchema, value);
}

/** The training part alone, for models that come as a definition. Throws MODEL_INVALID naming the field. */
export function decodeTrainingSpec(value: unknown): CompleteTraining {
  return decoded(trainingSpecSchema, value);
}

/** The training part of a decoded specification. */
export function trainingOf(spec: CompleteModelSpec): CompleteTraining {
  const { batchSize, evaluationBatch, optimizer, schedule, clipNorm, accumulation, augment } = spec;
  return { batchSize, evaluationBatch, optimizer, schedule, clipNorm, accumulation, augment };
}
