/** A plain convolutional network. */
import { lax, nn, numpy as np } from '@jax-js/jax';
import type { ModelDefinition, ParameterDefinition } from '../definition.ts';
import { denseLayers, denseParameters } from './dense.ts';
import { classifier } from './kinds.ts';
import { flat, take } from './layers.ts';
import type { CnnOptions } from './options.ts';

/**
 * Convolutions of stride 2 with relu, each halving height and width (rounded up), then dense layers. Images arrive as
 * [batch, height, width, channels]. Stride takes the place of pooling: fewer operations and cheaper in exact arithmetic.
 */
export function cnnDefinition(spec: CnnOptions): ModelDefinition {
  const [height, width, channels] = spec.input as readonly [number, number, number];
  const halved = (extent: number): number => spec.channels.reduce((left) => Math.ceil(left / 2), extent);
  const depths = [channels, ...spec.channels];
  const features = halved(height) * halved(width) * (depths.at(-1) as number);
  const widths = [features, ...spec.hidden, spec.classes];
  const k = spec.kernelSize;
  const parameters: ParameterDefinition[] = [
    ...spec.channels.flatMap((outputs, i): ParameterDefinition[] => [
      { name: `conv${i + 1}.kernel`, shape: [outputs, depths[i] as number, k, k], initial: 'heUniform' },
      { name: `conv${i + 1}.bias`, shape: [outputs], initial: 'zeros' },
    ]),
    ...denseParameters(widths),
  ];
  return {
    ...classifier('cnn', spec.input, parameters),
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
