/**
 * Mamba-2 as a language model (Dao and Gu, 2024): blocks of a gated state-space layer after a short causal convolution, each behind a
 * root-mean-square norm, with the token embedding as the head. One group: all heads share the projections B and C.
 *
 * Training and evaluation use the chunked form, generation the recurrent one. Initial values as in the authors' code, but the decay
 * rates, which it draws uniformly from 1 to 16, are drawn log-uniformly from there; the steps' logarithms are drawn between the
 * same limits, 0.001 and 0.1.
 */
import { type Array as JaxArray, numpy as np } from '@jax-js/jax';
import type { NamedType } from '@muster/engine';
import type { GenerationDefinition, Initial, ModelDefinition, ParameterDefinition } from '../definition.ts';
import { languageModel } from './kinds.ts';
import { linear, normParameters, type Parameters, softplus, take } from './layers.ts';
import { causalConvolution, gatedBy, linearParts, rootMeanSquareFactor, rootMeanSquareNorm, scaledInputs, silu } from './mamba-layers.ts';
import { type MambaOptions, mustDivide } from './options.ts';
import { advance, scanChunks } from './state-space.ts';

interface Sizes {
  /** Width of the inner stream. */
  readonly inner: number;
  readonly heads: number;
  /** Width of what the convolution sees: the inner stream, B and C. */
  readonly mixed: number;
}

function sizesOf({ width, expansion, headWidth, stateWidth }: MambaOptions): Sizes {
  const inner = width * expansion;
  mustDivide(headWidth, inner, 'headWidth');
  return { inner, heads: inner / headWidth, mixed: inner + 2 * stateWidth };
}

/** log(exp(y) − 1), where softplus is y. */
const inverseSoftplus = (y: number): number => Math.log(Math.expm1(y));

const within = (limit: number): Initial => ({ kind: 'uniform', low: -limit, high: limit });

function blockParameters(block: string, options: MambaOptions): ParameterDefinition[] {
  const { width, layers, convolutionWidth } = options;
  const { inner, heads, mixed } = sizesOf(options);
  return [
    ...normParameters(`${block}.norm`, width, 'rms', false),
    { name: `${block}.in.kernel`, shape: [width, inner + mixed + heads], initial: within(1 / Math.sqrt(width)) },
    { name: `${block}.convolution.kernel`, shape: [convolutionWidth, mixed], initial: within(1 / Math.sqrt(convolutionWidth)) },
    { name: `${block}.convolution.bias`, shape: [mixed], initial: within(1 / Math.sqrt(convolutionWidth)) },
    { name: `${block}.decay`, shape: [heads], initial: { kind: 'uniform', low: 0, high: Math.log(16) } },
    { name: `${block}.step`, shape: [heads], initial: { kind: 'uniform', low: inverseSoftplus(0.001), high: inverseSoftplus(0.1) } },
    { name: `${block}.skip`, shape: [heads], initial: 'ones' },
    ...normParameters(`${block}.gate`, inner, 'rms', false),
    { name: `${block}.out.kernel`, shape: [inner, width], initial: within(1 / Math.sqrt(inner * layers)) },
  ];
}

/** The rates A < 0 of the heads. */
const rates = (parameters: Parameters, block: string): JaxArray => np.negative(np.exp(take(parameters, `${block}.decay`)));

const head = (parameters: Parameters, x: JaxArray): JaxArray =>
  np.dot(rootMeanSquareNorm(x, take(parameters, 'norm.scale')), np.transpose(take(parameters, 'embedding.token')));

/** The definition of the Mamba-2 that `options` describes, named `mamba`. Inputs int32 [context], targets the next tokens, int32 [context]. */
export function mambaDefinition(options: MambaOptions): ModelDefinition {
  const { vocabulary, context, layers, width, headWidth, stateWidth, convolutionWidth, chunk } = options;
  const { inner, heads, mixed } = sizesOf(options);
  mustDivide(chunk, context, 'chunk');

  /**
   * Of `x` [rows, width]: the gate z [rows, inner], what the convolution sees as input [rows, inner] and as B and C [rows, 2 · stateWidth],
   * the steps [rows, heads] > 0. A product for each, so that nothing has to be put together in the backward pass.
   */
  const projections = (parameters: Parameters, block: string, x: JaxArray): [JaxArray, JaxArray, JaxArray, JaxArray] => {
    const normed = rootMeanSquareNorm(x, take(parameters, `${block}.norm.scale`));
    const [z, input, bc, steps] = linearParts(parameters, `${block}.in`, normed, [inner, inner, 2 * stateWidth, heads]) as [
      JaxArray,
      JaxArray,
      JaxArray,
      JaxArray,
    ];
    return [z, input, bc, softplus(steps.add(take(parameters, `${block}.step`)))];
  };

  /** Taps [K, …] or bias […] of the convolution, those of the input as [heads, headWidth], then those of B and C. */
  const channels = (x: JaxArray): [JaxArray, JaxArray] => {
    const [input, bc] = np.split(x, [inner], -1) as [JaxArray, JaxArray];
    return [input.reshape([...input.shape.slice(0, -1), heads, headWidth]), bc];
  };

  /** From y [lead…, heads, headWidth], the layer's input and the gate of the same shape to the block's result [rows, width]. */
  const gated = (parameters: Parameters, block: string, y: JaxArray, input: JaxArray, gate: JaxArray): JaxArray => {
    const whole = input.mul(take(parameters, `${block}.skip`).reshape([heads, 1])).add(y);
    const product = gatedBy(whole, gate);
    // The norm divides whole rows, so it may do so after the projection, which leaves fewer numbers to a row; its scale goes into the kernel.
    const factor = rootMeanSquareFactor(product.ref, 2).reshape([-1, 1]);
    const scaled = scaledInputs(parameters, `${block}.out`, take(parameters, `${block}.gate.scale`));
    return linear(scaled, `${block}.out`, product.reshape([-1, inner])).mul(factor);
  };

  const apply = (parameters: Parameters, tokens: JaxArray): JaxArray => {
    const batch = tokens.shape[0] as number;
    const rows = batch * context;
    const places = [batch, context, heads, headWidth];
    let x = np.take(take(parameters, 'embedding.token').ref, tokens, 0).reshape([rows, width]);
    for (let layer = 1; layer <= layers; layer++) {
      const block = `block${layer}`;
      const [z, seen, seenBc, steps] = projections(parameters, block, x.ref);
      const [taps, tapsBc] = channels(take(parameters, `${block}.convolution.kernel`));
      const [bias, biasBc] = channels(take(parameters, `${block}.convolution.bias`));
      const bc = silu(causalConvolution(seenBc.reshape([batch, context, 2 * stateWidth]), tapsBc, biasBc));
      const [b, c] = np.split(bc, 2, 2) as [JaxArray, JaxArray];
      const input = silu(causalConvolution(seen.reshape(places), taps, bias));
      const y = scanChunks({
        x: input.ref,
        steps: steps.ref.reshape([batch, context, heads]),
        a: steps.mul(rates(parameters, block)).reshape([batch, context, heads]),
        b,
        c,
        chunk,
      });
      x = x.add(gated(parameters, block, y, input, z.reshape(places)));
    }
    return head(parameters, x).reshape([batch, context, vocabulary]);
  };

  const sequences = options.generationBatch;
  const cache = Array.from({ length: layers }, (_, layer): NamedType[] => [
    { name: `cache${layer + 1}.window`, dtype: 'float32', shape: [sequences, convolutionWidth, mixed] },
    { name: `cache${layer + 1}.state`, dtype: 'float32', shape: [sequences, heads, headWidth, stateWidth] },
  ]).flat();

  const step: GenerationDefinition['step'] = (parameters, given, token, position) => {
    position.dispose(); // the state knows where it stands
    const next: JaxArray[] = [];
    let x = np.take(take(parameters, 'embedding.token').ref, token, 0);
    for (let layer = 1; layer <= layers; layer++) {
      const block = `block${layer}`;
      const [z, into, bc, steps] = projections(parameters, block, x.ref);
      const older = take(given, `cache${layer}.window`).slice([], [1, convolutionWidth]);
      const window = np.concatenate([older, np.concatenate([into, bc], 1).reshape([sequences, 1, mixed])], 1);
      const sum = window.ref
        .mul(take(parameters, `${block}.convolution.kernel`))
        .sum(1)
        .add(take(parameters, `${block}.convolution.bias`));
      const [channelsOfInput, b, c] = np.split(silu(sum), [inner, inner + stateWidth], 1) as [JaxArray, JaxArray, JaxArray];
      const input = channelsOfInput.reshape([sequences, heads, headWidth]);
      const after = advance(take(given, `cache${layer}.state`), {
        u: input.ref.mul(steps.ref.reshape([sequences, heads, 1])),
        a: steps.mul(rates(parameters, block)),
        b,
        c,
      });
      next.push(window, after.state);
      x = x.add(gated(parameters, block, after.y, input, z.reshape([sequences, heads, headWidth])));
    }
    return { cache: next, logits: head(parameters, x) };
  };

  const parameters: ParameterDefinition[] = [
    { name: 'embedding.token', shape: [vocabulary, width], initial: { kind: 'normal', std: 0.02 } },
    ...Array.from({ length: layers }, (_, layer) => blockParameters(`block${layer + 1}`, options)).flat(),
    ...normParameters('norm', width, 'rms', false),
  ];
  return {
    ...languageModel('mamba', context, parameters),
    generation: { cache, step },
    apply,
  };
}
