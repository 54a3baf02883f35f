/** Dense layers: softmax regression, the multi-layer perceptron and least squares, and the dense end of convolutional models. */
import { type Array as JaxArray, nn } from '@jax-js/jax';
import type { ModelDefinition, ParameterDefinition } from '../definition.ts';
import { crossEntropy, meanSquaredError } from '../losses.ts';
import { flat, linear, linearKernels, type Parameters, product } from './layers.ts';

/** Parameters `dense1.kernel`, `dense1.bias`, … of layers `widths[i] → widths[i + 1]`. The last layer starts at Glorot, others at He. */
export function denseParameters(widths: readonly number[]): ParameterDefinition[] {
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
export function denseLayers(parameters: Parameters, x: JaxArray, layers: number): JaxArray {
  let value = x;
  for (let layer = 1; layer <= layers; layer++) {
    if (layer > 1) value = nn.relu(value);
    value = linear(parameters, `dense${layer}`, value);
  }
  return value;
}

export interface DenseOptions {
  /** Shape of one record; it is flattened. */
  readonly input: readonly number[];
  readonly hidden: readonly number[];
  readonly outputs: number;
  /** Targets are float32 [outputs] and the loss is the mean squared error; otherwise class numbers and cross-entropy. */
  readonly regression: boolean;
}

/** Dense layers with relu between them, named `name`. */
export function denseDefinition(name: string, { input, hidden, outputs, regression }: DenseOptions): ModelDefinition {
  const widths = [product(input), ...hidden, outputs];
  const parameters = denseParameters(widths);
  return {
    name,
    input: { dtype: 'float32', shape: input },
    target: regression ? { dtype: 'float32', shape: [outputs] } : { dtype: 'int32', shape: [] },
    parameters,
    frozen: [],
    frozenValues: null,
    generation: null,
    lowRank: linearKernels(parameters),
    loss: regression ? meanSquaredError : crossEntropy,
    apply: (parameters, x) => denseLayers(parameters, flat(x), widths.length - 1),
  };
}
