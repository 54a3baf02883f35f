/**
 * GPT: a decoder-only transformer with learned positions (Radford et al., 2019), in nanoGPT's layout and with its initial values.
 *
 * Attention is written for few and cheap operations in both directions. The scores are scaled through the queries, the causal mask
 * is added (its gradient is the identity), and the softmax divides after the product with the values, where a row has as many
 * elements as a head is wide, not as many as there are positions. Training and evaluation always see `context` tokens.
 */
import { type Array as JaxArray, lax, numpy as np } from '@jax-js/jax';
import type { NamedType } from '@muster/engine';
import type { ApplyContext, GenerationDefinition, ModelDefinition, ParameterDefinition } from '../definition.ts';
import { dropout } from '../dropout.ts';
import { languageModel } from './kinds.ts';
import { gelu, geluTanh, linear, matrixProduct, normalize, normParameters, type Parameters, take } from './layers.ts';
import { type GptOptions, mustDivide } from './options.ts';

/** Added to scores that a position must not see. Finite, so that no difference of scores is a NaN; exp of it is 0. */
const hidden = -1e30;

function kernelParameters(name: string, inputs: number, outputs: number, std: number, bias: boolean): ParameterDefinition[] {
  const kernel: ParameterDefinition = { name: `${name}.kernel`, shape: [inputs, outputs], initial: { kind: 'normal', std } };
  return bias ? [kernel, { name: `${name}.bias`, shape: [outputs], initial: 'zeros' }] : [kernel];
}

function gptParameters(options: GptOptions): ParameterDefinition[] {
  const { vocabulary, context, layers, width, norm, bias, tied, hiddenMultiple } = options;
  const std = 0.02;
  const residualStd = std / Math.sqrt(2 * layers); // GPT-2: the residual path adds two terms per layer
  const hiddenWidth = hiddenMultiple * width;
  const blocks = Array.from({ length: layers }, (_, layer): ParameterDefinition[] => {
    const block = `block${layer + 1}`;
    return [
      ...normParameters(`${block}.norm1`, width, norm, bias),
      ...kernelParameters(`${block}.attention.qkv`, width, 3 * width, std, bias),
      ...kernelParameters(`${block}.attention.out`, width, width, residualStd, bias),
      ...normParameters(`${block}.norm2`, width, norm, bias),
      ...kernelParameters(`${block}.mlp.in`, width, hiddenWidth, std, bias),
      ...kernelParameters(`${block}.mlp.out`, hiddenWidth, width, residualStd, bias),
    ];
  });
  return [
    { name: 'embedding.token', shape: [vocabulary, width], initial: { kind: 'normal', std } },
    { name: 'embedding.position', shape: [context, width], initial: { kind: 'normal', std } },
    ...blocks.flat(),
    ...normParameters('norm', width, norm, bias),
    ...(tied ? [] : kernelParameters('head', width, vocabulary, std, false)),
  ];
}

/** `queries` [B, heads, Q, d], already scaled, against `keys` and `values` [B, heads, K, d]; `mask` [Q, K] is added. → [B, heads, Q, d]. */
function attend(queries: JaxArray, keys: JaxArray, values: JaxArray, mask: JaxArray, drop: (weights: JaxArray) => JaxArray): JaxArray {
  const scores = matrixProduct(queries, np.transpose(keys, [0, 1, 3, 2])).add(mask);
  const highest = lax.stopGradient(np.max(scores.ref, 3, { keepdims: true }));
  const weights = np.exp(scores.sub(highest));
  const total = weights.ref.sum(3, { keepdims: true });
  return matrixProduct(drop(weights), values).mul(np.reciprocal(total));
}

/** The definition of the GPT that `options` describes, named `gpt`. Inputs int32 [context], targets the next tokens, int32 [context]. */
export function gptDefinition(options: GptOptions): ModelDefinition {
  const { vocabulary, context, layers, heads, width } = options;
  mustDivide(heads, width, 'heads');
  const headWidth = width / heads;
  const activate = options.activation === 'gelu' ? gelu : geluTanh;

  const head = (parameters: Parameters, x: JaxArray): JaxArray => {
    const last = normalize(parameters, 'norm', x, options.norm);
    return options.tied ? np.dot(last, np.transpose(take(parameters, 'embedding.token'))) : linear(parameters, 'head', last);
  };

  /** [rows, width] of `sequences` times `length` rows → [sequences, heads, length, headWidth]. */
  const byHead = (x: JaxArray, length: number): JaxArray => np.transpose(x.reshape([-1, length, heads, headWidth]), [0, 2, 1, 3]);

  /** Queries (scaled), keys and values of `x` [rows, width], each [sequences, heads, length, headWidth]. */
  const projections = (parameters: Parameters, block: string, x: JaxArray, length: number): [JaxArray, JaxArray, JaxArray] => {
    const [q, k, v] = np.split(linear(parameters, `${block}.attention.qkv`, x), 3, 1) as [JaxArray, JaxArray, JaxArray];
    return [byHead(q.mul(1 / Math.sqrt(headWidth)), length), byHead(k, length), byHead(v, length)];
  };

  const attentionOut = (parameters: Parameters, block: string, attended: JaxArray): JaxArray =>
    linear(parameters, `${block}.attention.out`, np.transpose(attended, [0, 2, 1, 3]).reshape([-1, width]));

  const feedForward = (parameters: Parameters, block: string, x: JaxArray, training: boolean): JaxArray => {
    const normed = normalize(parameters, `${block}.norm2`, x, options.norm);
    return linear(parameters, `${block}.mlp.out`, activate(linear(parameters, `${block}.mlp.in`, normed), training));
  };

  const apply = (parameters: Parameters, tokens: JaxArray, training: ApplyContext): JaxArray => {
    const batch = tokens.shape[0] as number;
    let site = 0;
    const drop = (x: JaxArray): JaxArray => dropout(training, options.dropout, x, site++);
    const positions = np.arange(context).astype(np.int32);
    const mask = np.where(np.lessEqual(positions.ref, positions.reshape([context, 1])), 0, hidden);
    const embedded = np.take(take(parameters, 'embedding.token').ref, tokens, 0).add(take(parameters, 'embedding.position'));
    let x = drop(embedded.reshape([batch * context, width]));
    for (let layer = 1; layer <= layers; layer++) {
      const block = `block${layer}`;
      const normed = normalize(parameters, `${block}.norm1`, x.ref, options.norm);
      const attended = attend(...projections(parameters, block, normed, context), mask.ref, drop);
      x = x.add(drop(attentionOut(parameters, block, attended)));
      x = x.ref.add(drop(feedForward(parameters, block, x, training.key !== null)));
    }
    mask.dispose();
    return head(parameters, x).reshape([batch, context, vocabulary]);
  };

  const batch = options.generationBatch;
  const cache = Array.from({ length: layers }, (_, layer): NamedType[] =>
    ['keys', 'values'].map((what) => ({
      name: `cache${layer + 1}.${what}`,
      dtype: 'float32',
      shape: [batch, heads, context, headWidth],
    })),
  ).flat();

  const step: GenerationDefinition['step'] = (parameters, given, token, position) => {
    const next: JaxArray[] = [];
    const places = np.arange(context).astype(np.int32);
    const mask = np.where(np.lessEqual(places.ref, position.ref), 0, hidden);
    const written = np.equal(places, position.ref).reshape([context, 1]);
    let x = np.take(take(parameters, 'embedding.token').ref, token, 0).add(np.take(take(parameters, 'embedding.position'), position, 0));
    for (let layer = 1; layer <= layers; layer++) {
      const block = `block${layer}`;
      const [q, k, v] = projections(parameters, block, normalize(parameters, `${block}.norm1`, x.ref, options.norm), 1);
      const keys = np.where(written.ref, k, take(given, `cache${layer}.keys`));
      const values = np.where(written.ref, v, take(given, `cache${layer}.values`));
      next.push(keys.ref, values.ref);
      x = x.add(
        attentionOut(
          parameters,
          block,
          attend(q, keys, values, mask.ref, (weights) => weights),
        ),
      );
      x = x.ref.add(feedForward(parameters, block, x, false));
    }
    return { cache: next, logits: head(parameters, x) };
  };

  const parameters = gptParameters(options);
  return {
    ...languageModel('gpt', context, parameters),
    generation: { cache, step },
    apply,
  };
}
