/** The model specification: plain JSON that names a family, its sizes, the batch and the optimizer. */
import { type Infer, integer, list, literal, MusterError, type Schema, struct, variant } from '@muster/protocol';
import { cnnFields, gptFields } from './families/options.ts';
import { optimizerSchema } from './optimizers.ts';

const extent = integer(1, 65_536);
const width = integer(1, 65_536);
const input = list(extent, 4, 1);
const hidden = list(width, 16);
const classes = integer(2, 65_536);
const training = { batchSize: integer(1, 65_536), evaluationBatch: integer(1, 65_536), optimizer: optimizerSchema };

/**
 * Decoder of a specification. `input` is the shape of one record, which dense families flatten; `hidden` lists the widths of hidden
 * layers. The other families' fields are in `families/options.ts`.
 */
export const modelSpecSchema = variant('family', {
  softmax: struct({ family: literal('softmax'), input, classes, ...training }),
  mlp: struct({ family: literal('mlp'), input, classes, hidden, ...training }),
  cnn: struct({ family: literal('cnn'), ...cnnFields, ...training }),
  gpt: struct({ family: literal('gpt'), ...gptFields, ...training }),
  regression: struct({ family: literal('regression'), input, outputs: integer(1, 65_536), hidden, ...training }),
});
export type ModelSpec = Infer<typeof modelSpecSchema>;

/** What training needs besides the definition. */
export type TrainingSpec = Pick<ModelSpec, 'batchSize' | 'evaluationBatch' | 'optimizer'>;

const trainingSpecSchema = struct(training);

function decoded<T>(schema: Schema<T>, value: unknown): T {
  try {
    return schema(value, 'model');
  } catch (cause) {
    if (cause instanceof MusterError) throw new MusterError('MODEL_INVALID', cause.message, cause.details, { cause });
    throw cause;
  }
}

/** The specification in a decoded JSON value. Throws MODEL_INVALID naming the field. */
export function decodeModelSpec(value: unknown): ModelSpec {
  return decoded(modelSpecSchema, value);
}

/** The training part alone, for models that come as a definition. Throws MODEL_INVALID naming the field. */
export function decodeTrainingSpec(value: unknown): TrainingSpec {
  return decoded(trainingSpecSchema, value);
}
