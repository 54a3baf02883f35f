/** What definitions of one kind of model have in common: their records, losses, and that nothing is frozen. */
import type { ModelDefinition, ParameterDefinition } from '../definition.ts';
import { crossEntropy, tokenCrossEntropy } from '../losses.ts';
import { linearKernels } from './layers.ts';

type Common = Omit<ModelDefinition, 'apply' | 'generation'>;

const trained = (parameters: readonly ParameterDefinition[]): Pick<Common, 'parameters' | 'frozen' | 'frozenValues' | 'lowRank'> => ({
  parameters,
  frozen: [],
  frozenValues: null,
  lowRank: linearKernels(parameters),
});

/** Records float32 [`input`] against class numbers; it generates nothing. */
export function classifier(
  name: string,
  input: readonly number[],
  parameters: readonly ParameterDefinition[],
): Omit<ModelDefinition, 'apply'> {
  const target = { dtype: 'int32', shape: [] } as const;
  return { name, input: { dtype: 'float32', shape: input }, target, ...trained(parameters), generation: null, loss: crossEntropy };
}

/** Records of `context` tokens against the tokens that follow them. */
export function languageModel(name: string, context: number, parameters: readonly ParameterDefinition[]): Common {
  const tokens = { dtype: 'int32', shape: [context] } as const;
  return { name, input: tokens, target: tokens, ...trained(parameters), loss: tokenCrossEntropy };
}
