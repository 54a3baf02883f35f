/** The model families that a plain JSON specification can name, as definitions in jax-js terms. */
import { type Array as JaxArray, lax, nn, numpy as np } from '@jax-js/jax';
import { type ModelDefinition, type ParameterDefinition, unexpected } from './definition.ts';
import { crossEntropy, meanSquaredError } from './losses.ts';
import type { ModelSpec } from './spec.ts';

type Parameters = Readonly<Record<string, JaxArray>>;

const take = (parameters: Parameters, name: string): JaxArray => parameters[name] as JaxArray; // names come from the same definition

const product = (extents: readonly number[]): number => extents.reduce((total, extent) => total * extent, 1);

/** Parameters `dense1.kernel`, `dense1.bias`, … of layers `widths[i] → widths[i + 1]`. The last layer starts at Glorot, others at He. */
function denseParameters(widths: readonly number[]): ParameterDefinition[] {
  return widths.slice(1).flatMap((outputs, i): ParameterDefinition[] => [
    {
      name: `dense${i + 1}.kernel`,
      shape: [widths[i] as number, outputs],
      initial: i + 2 === widths.length ? 'glorotUniform' : 'heUniform',
    },
    { name: `dense${i + 1}.bias`, shape: [outputs], initial: 'zeros' },
  ]);
}

/** `layers` dense layers over `x` [batch, features], with relu between them. */
function denseLayers(parameters: Parameters, x: JaxArray, layers: number): JaxArray {
  let value = x;
  for (let layer = 1; layer <= layers; layer++) {
    if (layer > 1) value = nn.relu(value);
    value = np.dot(value, take(parameters, `dense${layer}.kernel`)).add(take(parameters, `dense${layer}.bias`));
  }
  return value;
}

const flat = (x: JaxArray): JaxArray => x.reshape([x.shape[0] ?? 1, -1]);

function dense(name: string, spec: ModelSpec, hidden: readonly number[], outputs: number): ModelDefinition {
  const widths = [product(spec.input), ...hidden, outputs];
  const regression = spec.family === 'regression';
  return {
    name,
    input: { dtype: 'float32', shape: spec.input },
    target: regression ? { dtype: 'float32', shape: [outputs] } : { dtype: 'int32', shape: [] },
    parameters: denseParameters(widths),
    frozen: [],
    frozenValues: null,
    generation: null,
    loss: regression ? meanSquaredError : crossEntropy,
    apply: (parameters, x) => denseLayers(parameters, flat(x), widths.length - 1),
  };
}

/**
 * Convolutions of stride 2 with relu, each halving height and width (rounded up), then dense layers. Images arrive as
 * [batch, height, width, channels]. Stride takes the place of pooling: fewer operations and cheaper in exact arithmetic.
 */
function convolutional(spec: Extract<ModelSpec, { family: 'cnn' }>): ModelDefinition {
  const [height, width, channels] = spec.input as readonly [number, number, number];
  const halved = (extent: number): number => spec.channels.reduce((left) => Math.ceil(left / 2), extent);
  const depths = [channels, ...spec.channels];
  const features = halved(height) * halved(width) * (depths.at(-1) as number);
  const widths = [features, ...spec.hidden, spec.classes];
  const k = spec.kernelSize;
  return {
    name: 'cnn',
    input: { dtype: 'float32', shape: spec.input },
    target: { dtype: 'int32', shape: [] },
    parameters: [
      ...spec.channels.flatMap((outputs, i): ParameterDefinition[] => [
        { name: `conv${i + 1}.kernel`, shape: [outputs, depths[i] as number, k, k], initial: 'heUniform' },
        { name: `conv${i + 1}.bias`, shape: [outputs], initial: 'zeros' },
      ]),
      ...denseParameters(widths),
    ],
    frozen: [],
    frozenValues: null,
    generation: null,
    loss: crossEntropy,
    apply(parameters, x) {
      let value = np.transpose(x, [0, 3, 1, 2]);
      spec.channels.forEach((outputs, i) => {
        const bias = take(parameters, `conv${i + 1}.bias`).reshape([outputs, 1, 1]);
        value = nn.relu(lax.conv(value, take(parameters, `conv${i + 1}.kernel`), [2, 2], 'SAME').add(bias));
      });
      return denseLayers(parameters, flat(value), widths.length - 1);
    },
  };
}

/** The definition that `spec` names. */
export function definitionOf(spec: ModelSpec): ModelDefinition {
  switch (spec.family) {
    case 'softmax':
      return dense('softmax', spec, [], spec.classes);
    case 'mlp':
      return dense('mlp', spec, spec.hidden, spec.classes);
    case 'regression':
      return dense('regression', spec, spec.hidden, spec.outputs);
    case 'cnn':
      return convolutional(spec);
    default:
      throw unexpected(spec);
  }
}
