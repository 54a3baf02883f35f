/**
 * LeNet-5 (LeCun et al., 1998) as it is trained today: relu and maximum pooling in the place of tanh and scaled sums, dense layers in
 * the place of radial units. Bias and relu come after the pooling: both never exchange larger and smaller, so the values are the
 * same for a quarter of the work.
 */
import { type Array as JaxArray, nn } from '@jax-js/jax';
import type { ModelDefinition, ParameterDefinition } from '../definition.ts';
import { denseLayers, denseParameters } from './dense.ts';
import { classifier } from './kinds.ts';
import { channelBias, channelsFirst, convolution, convolutionParameters, maxPool } from './images.ts';
import { flat } from './layers.ts';
import { atLeast, type LenetOptions } from './options.ts';

/** What is left of an extent: pooled, 5 × 5 without padding, pooled. */
const remaining = (extent: number): number => ((extent >> 1) - 4) >> 1;

/** The LeNet for images `input` [height, width, channels], named `lenet`: 6 and 16 channels, then 120, 84 and `classes` outputs. */
export function lenetDefinition({ input, classes }: LenetOptions): ModelDefinition {
  const [height, width, channels] = input as readonly [number, number, number];
  atLeast(12, Math.min(height, width), 'input');
  const widths = [16 * remaining(height) * remaining(width), 120, 84, classes];
  const parameters: ParameterDefinition[] = [
    ...convolutionParameters('conv1', channels, 6, 5, true),
    ...convolutionParameters('conv2', 6, 16, 5, true),
    ...denseParameters(widths),
  ];
  return {
    ...classifier('lenet', input, parameters),
    apply(parameters, x) {
      const stage = (name: string, image: JaxArray, padding: number): JaxArray =>
        nn.relu(channelBias(parameters, name, maxPool(convolution(parameters, name, image, 1, padding))));
      const second = stage('conv2', stage('conv1', channelsFirst(x), 2), 0);
      return denseLayers(parameters, flat(second), widths.length - 1);
    },
  };
}
