/** The model families that a plain JSON specification can name, as definitions in jax-js terms. One file each in `families/`. */
import { adaptedDefinition } from './adapters.ts';
import { type ModelDefinition, unexpected } from './definition.ts';
import { cnnDefinition } from './families/cnn.ts';
import { denseDefinition } from './families/dense.ts';
import { gptDefinition } from './families/gpt.ts';
import { lenetDefinition } from './families/lenet.ts';
import { mambaDefinition } from './families/mamba.ts';
import { resnetDefinition } from './families/resnet.ts';
import type { ModelSpec } from './spec.ts';

export { cnnDefinition } from './families/cnn.ts';
export { denseDefinition, type DenseOptions } from './families/dense.ts';
export { gptDefinition } from './families/gpt.ts';
export { lenetDefinition } from './families/lenet.ts';
export { mambaDefinition } from './families/mamba.ts';
export {
  type CnnOptions,
  gptDefaults,
  type GptOptions,
  type LenetOptions,
  mambaDefaults,
  type MambaOptions,
  type ResnetOptions,
} from './families/options.ts';
export { resnetDefinition } from './families/resnet.ts';

/** The definition that `spec` names. Throws MODEL_INVALID for sizes that contradict each other and adapters that do not fit. */
export function definitionOf(spec: ModelSpec): ModelDefinition {
  const base = familyOf(spec);
  const adapter = spec.adapter ?? null;
  return adapter === null ? base : adaptedDefinition(base, adapter, adapter.base);
}

function familyOf(spec: ModelSpec): ModelDefinition {
  switch (spec.family) {
    case 'softmax':
      return denseDefinition('softmax', { input: spec.input, hidden: [], outputs: spec.classes, regression: false });
    case 'mlp':
      return denseDefinition('mlp', { input: spec.input, hidden: spec.hidden, outputs: spec.classes, regression: false });
    case 'regression':
      return denseDefinition('regression', { ...spec, regression: true });
    case 'cnn':
      return cnnDefinition(spec);
    case 'lenet':
      return lenetDefinition(spec);
    case 'resnet':
      return resnetDefinition(spec);
    case 'gpt':
      return gptDefinition(spec);
    case 'mamba':
      return mambaDefinition(spec);
    default:
      throw unexpected(spec);
  }
}
