/**
 * Dropout (Srivastava et al., 2014), "inverted": what is kept is scaled up in training, so that nothing changes outside it.
 *
 * Who stays follows from the step's key by threefry, so it is the same on every machine. Not here: where the key comes from
 * (`build.ts`, docs/spec/02-programs.md).
 */
import { type Array as JaxArray, numpy as np, random } from '@jax-js/jax';
import { MusterError } from '@muster/protocol';
import type { ApplyContext } from './definition.ts';

/** The key uint32[2] numbered `site` of those that follow from `key`, which is borrowed: threefry of the counter `site`. */
export function keyAt(key: JaxArray, site: number): JaxArray {
  return random.split(key.ref, site + 1).slice(site);
}

/**
 * `x` with each element replaced by 0 with probability `rate` and divided by 1 − rate otherwise; `x` itself where the context has
 * no key or the rate is 0. `site` numbers the places of one model, from 0: two with the same number lose the same elements.
 * An element of `random_bits` (xor) of the site's key below ⌊rate · 2³²⌋ is lost. Throws MODEL_INVALID for a rate outside 0 ≤ rate < 1.
 */
export function dropout(context: ApplyContext, rate: number, x: JaxArray, site: number): JaxArray {
  if (!(rate >= 0 && rate < 1)) throw new MusterError('MODEL_INVALID', `dropout rate ${rate} is not in [0, 1)`, { field: 'dropout' });
  if (context.key === null || rate === 0) return x;
  const threshold = np.array(Math.floor(rate * 2 ** 32), { dtype: np.uint32 });
  const lost = np.less(random.bits(keyAt(context.key, site), [...x.shape]), threshold);
  return np.where(lost, 0, x.mul(1 / (1 - rate)));
}
