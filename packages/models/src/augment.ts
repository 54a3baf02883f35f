/**
 * Augmentation of images inside the training program, drawn from the step's key: a random flip left to right and a random shift.
 * Evaluation and `apply` see the images as they are.
 */
import { type Array as JaxArray, numpy as np, random } from '@jax-js/jax';
import { bool, type Infer, integer, MusterError, struct } from '@muster/protocol';
import type { RecordType } from './definition.ts';
import { keyAt } from './dropout.ts';

/**
 * Decoder. `flip`: each image is mirrored with probability ½. `shift`: each image moves by a whole number of pixels from −shift to
 * +shift in either direction, zeros coming in (the random crop with padding of He et al., 2016).
 */
export const augmentSchema = struct({ flip: bool, shift: integer(0, 64) });
export type AugmentSpec = Infer<typeof augmentSchema>;

/** Throws MODEL_INVALID unless records of `input` are float32 images [height, width, channels] larger than the shift. */
export function checkAugment({ shift }: AugmentSpec, input: RecordType): void {
  const [height, width] = input.shape;
  if (input.dtype !== 'float32' || input.shape.length !== 3 || Math.min(height as number, width as number) <= shift) {
    throw new MusterError('MODEL_INVALID', `augment: ${input.dtype}[${input.shape.join(',')}] are no images larger than the shift`, {
      field: 'augment',
    });
  }
}

/**
 * `x` float32 [batch, height, width, channels] augmented by `key` uint32[2] (borrowed). Image i is mirrored where the top bit of
 * element i of key 0 is 0; its offsets are elements i of keys 1 (rows) and 2 (columns) modulo 2 · shift + 1, minus shift. The modulo
 * prefers small offsets by less than 2⁻²⁴.
 */
export function augment({ flip, shift }: AugmentSpec, x: JaxArray, key: JaxArray): JaxArray {
  const [batch, height, width] = x.shape as [number, number, number, number];
  let images = x;
  if (flip) {
    const mirrored = np.less(random.bits(keyAt(key, 0), [batch]), np.array(2 ** 31, { dtype: np.uint32 }));
    images = np.where(mirrored.reshape([batch, 1, 1, 1]), np.flip(images.ref, 2), images);
  }
  if (shift === 0) return images;
  const padded = np.pad(images, [
    [0, 0],
    [shift, shift],
    [shift, shift],
    [0, 0],
  ]);
  const places = (site: number, extent: number): JaxArray => {
    const drawn = np.remainder(random.bits(keyAt(key, site), [batch, 1]), np.array(2 * shift + 1, { dtype: np.uint32 }));
    return drawn.astype(np.int32).add(np.arange(extent).astype(np.int32));
  };
  const image = np.arange(batch).astype(np.int32).reshape([batch, 1, 1]);
  return padded.slice(image, places(1, height).reshape([batch, height, 1]), places(2, width).reshape([batch, 1, width]));
}
