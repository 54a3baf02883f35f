/**
 * Federated averaging as three programs (McMahan et al., 2017): `update` is what a task sends, `fold` adds one weighted update
 * to the accumulator, `finish` moves the base by the mean. Applied in ascending task order they are bit-exact, so an aggregator
 * is checked and disputed like a trainer.
 */
import { type NamedType, type Program, ProgramBuilder, type Value } from '@muster/engine';

type Parameters = readonly NamedType[];

const prefixed = (builder: ProgramBuilder, prefix: string, parameters: Parameters): Value[] =>
  parameters.map((parameter) => builder.input({ ...parameter, name: `${prefix}.${parameter.name}` }));

function finishWith(builder: ProgramBuilder, parameters: Parameters, valueOf: (index: number) => Value): Program {
  return builder.finish(parameters.map(({ name }, index) => ({ name, value: valueOf(index) })));
}

/** final − base, per parameter. Inputs `final.…` then `base.…`. */
export function updateProgram(name: string, parameters: Parameters): Program {
  const builder = new ProgramBuilder(name);
  const final = prefixed(builder, 'final', parameters);
  const base = prefixed(builder, 'base', parameters);
  return finishWith(builder, parameters, (i) => builder.apply('add', {}, final[i] as Value, builder.apply('neg', {}, base[i] as Value)));
}

/** acc + weight · update, per parameter. Inputs `acc.…`, `update.…`, `weight`. */
export function foldProgram(name: string, parameters: Parameters): Program {
  const builder = new ProgramBuilder(name);
  const acc = prefixed(builder, 'acc', parameters);
  const update = prefixed(builder, 'update', parameters);
  const weight = builder.input({ name: 'weight', dtype: 'float32', shape: [] });
  return finishWith(builder, parameters, (i) =>
    builder.apply('add', {}, acc[i] as Value, builder.apply('mul', {}, update[i] as Value, weight)),
  );
}

/** base + acc · (1 / total), per parameter. Inputs `base.…`, `acc.…`, `total`. */
export function finishProgram(name: string, parameters: Parameters): Program {
  const builder = new ProgramBuilder(name);
  const base = prefixed(builder, 'base', parameters);
  const acc = prefixed(builder, 'acc', parameters);
  const share = builder.apply('reciprocal', {}, builder.input({ name: 'total', dtype: 'float32', shape: [] }));
  return finishWith(builder, parameters, (i) =>
    builder.apply('add', {}, base[i] as Value, builder.apply('mul', {}, acc[i] as Value, share)),
  );
}
