/**
 * A residual network (He et al., 2016) of basic blocks with group normalization: a 3 × 3 convolution, stages of blocks of two 3 × 3
 * convolutions, the mean over all places, one dense layer. Three stages of one block are the eight layers of a small ResNet.
 *
 * Why not batch normalization: see `groupNorm`.
 */
import { type Array as JaxArray, nn, numpy as np } from '@jax-js/jax';
import type { ModelDefinition, ParameterDefinition } from '../definition.ts';
import { denseLayers, denseParameters } from './dense.ts';
import { classifier } from './kinds.ts';
import { channelsFirst, convolution, convolutionParameters, groupNorm, groupNormParameters } from './images.ts';
import type { Parameters } from './layers.ts';
import { mustDivide, type ResnetOptions } from './options.ts';

interface Block {
  readonly name: string;
  readonly inputs: number;
  readonly outputs: number;
  /** 2 in the first block of every stage but the first. */
  readonly stride: number;
}

function blocksOf(stages: ResnetOptions['stages']): Block[] {
  let inputs = stages[0]?.channels ?? 0;
  return stages.flatMap(({ channels, blocks }, stage) =>
    Array.from({ length: blocks }, (_, index): Block => {
      const block = {
        name: `stage${stage + 1}.block${index + 1}`,
        inputs,
        outputs: channels,
        stride: stage > 0 && index === 0 ? 2 : 1,
      };
      inputs = channels;
      return block;
    }),
  );
}

/** A shortcut that changes nothing needs no convolution. */
const projects = ({ inputs, outputs, stride }: Block): boolean => inputs !== outputs || stride !== 1;

function blockParameters(block: Block): ParameterDefinition[] {
  const { name, inputs, outputs } = block;
  return [
    ...convolutionParameters(`${name}.conv1`, inputs, outputs, 3, false),
    ...groupNormParameters(`${name}.norm1`, outputs),
    ...convolutionParameters(`${name}.conv2`, outputs, outputs, 3, false),
    ...groupNormParameters(`${name}.norm2`, outputs),
    ...(projects(block)
      ? [...convolutionParameters(`${name}.shortcut`, inputs, outputs, 1, false), ...groupNormParameters(`${name}.norm3`, outputs)]
      : []),
  ];
}

function applyBlock(parameters: Parameters, block: Block, x: JaxArray, groups: number): JaxArray {
  const { name, stride } = block;
  const first = nn.relu(groupNorm(parameters, `${name}.norm1`, convolution(parameters, `${name}.conv1`, x.ref, stride, 1), groups));
  const second = groupNorm(parameters, `${name}.norm2`, convolution(parameters, `${name}.conv2`, first, 1, 1), groups);
  const shortcut = projects(block)
    ? groupNorm(parameters, `${name}.norm3`, convolution(parameters, `${name}.shortcut`, x, stride, 0), groups)
    : x;
  return nn.relu(second.add(shortcut));
}

/** The residual network that `options` describes, named `resnet`. */
export function resnetDefinition({ input, classes, stages, groups }: ResnetOptions): ModelDefinition {
  for (const { channels } of stages) mustDivide(groups, channels, 'groups');
  const blocks = blocksOf(stages);
  const stem = stages[0]?.channels ?? 0;
  const widths = [stages.at(-1)?.channels ?? 0, classes];
  const parameters: ParameterDefinition[] = [
    ...convolutionParameters('stem', input[2] ?? 0, stem, 3, false),
    ...groupNormParameters('norm', stem),
    ...blocks.flatMap(blockParameters),
    ...denseParameters(widths),
  ];
  return {
    ...classifier('resnet', input, parameters),
    apply(parameters, x) {
      let value = nn.relu(groupNorm(parameters, 'norm', convolution(parameters, 'stem', channelsFirst(x), 1, 1), groups));
      for (const block of blocks) value = applyBlock(parameters, block, value, groups);
      const places = (value.shape[2] as number) * (value.shape[3] as number);
      const pooled = np.sum(value, [2, 3]).mul(1 / places);
      return denseLayers(parameters, pooled, 1);
    },
  };
}
