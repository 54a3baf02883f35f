/**
 * The state-space layer of Mamba-2 (Dao and Gu, 2024) in its two equal forms. For every head with state h [P, N], h starting at zero,
 *
 *   h_t = exp(a_t) · h_(t−1) + u_t ⊗ B_t      y_t = h_t · C_t      a_t ≤ 0
 *
 * `scanChunks` computes it for a whole sequence with matrix products: inside a chunk of Q positions through the masked decay matrix
 * exp(a_(j+1) + … + a_i), between chunks through their states. `advance` computes one position from the state before it. Letters
 * as in the paper: B batch (and the input projection), H heads, P head width, N state width, Q chunk length.
 */
import { type Array as JaxArray, lax, numpy as np } from '@jax-js/jax';
import { matrixProduct } from './layers.ts';
import { decayed, tilted } from './mamba-layers.ts';

/** Added to a logarithm that stands for nothing: exp of it is 0, and no difference of two is a NaN. */
const nothing = -1e30;

const numbers = (count: number): JaxArray => np.arange(count).astype(np.int32);

/** 1 where row ≤ column, else 0; float32 [size, size]. From the right it sums each row up to a place. */
const sumsUpTo = (size: number): JaxArray => np.lessEqual(numbers(size).reshape([size, 1]), numbers(size)).astype(np.float32);

/** 0 where column ≤ row − `behind`, else `nothing`; [size, size]. */
function visible(size: number, behind: number): JaxArray {
  const rows = numbers(size).reshape([size, 1]).sub(behind);
  return np.where(np.lessEqual(numbers(size), rows), 0, nothing);
}

/** Running sums along the last axis of `x` […, size]. */
function runningSums(x: JaxArray): JaxArray {
  const { shape } = x;
  const size = shape.at(-1) as number;
  return np.dot(x.reshape([-1, size]), sumsUpTo(size)).reshape(shape);
}

/** `sums` […, size] as the decays exp(sums_i − sums_j) from j to i ≥ j, 1 for j > i: […, size, size]. */
function decays(sums: JaxArray): JaxArray {
  const { shape } = sums;
  const size = shape.at(-1) as number;
  const differences = sums.ref.reshape([...shape, 1]).sub(sums.reshape([...shape.slice(0, -1), 1, size]));
  return np.exp(np.minimum(differences, 0));
}

export interface ScanInputs {
  /** The input u [B, T, H, P] is `x` · `steps` (the latter [B, T, H]). */
  readonly x: JaxArray;
  readonly steps: JaxArray;
  /** Logarithms of the decays, ≤ 0: [B, T, H]. */
  readonly a: JaxArray;
  /** [B, T, N], the same for all heads. */
  readonly b: JaxArray;
  readonly c: JaxArray;
  /** Q; divides T. */
  readonly chunk: number;
}

/**
 * y [B, T, H, P]. Consumes its inputs.
 *
 * y is linear in u with the factors exp(s_i − s_j), where s are sums of a from the beginning. So its change by ds is y · ds less what
 * becomes of u · ds: the factors themselves are taken for constant, and the backward pass needs no gradient of any of them.
 */
export function scanChunks({ x, steps, a, b, c, chunk }: ScanInputs): JaxArray {
  const [batch, length, heads] = steps.shape as [number, number, number];
  const [perHead, sizes] = [np.transpose(steps, [2, 0, 1]), [heads, batch, length, 1]];
  const everywhere = runningSums(np.transpose(a.ref, [2, 0, 1]));
  // Heads first, as the product that reads u and the one that gives its gradient have them.
  const u = np.transpose(x, [2, 0, 1, 3]).mul(tilted(perHead, everywhere.ref, -1).reshape(sizes));
  const y = scan({ u, a: lax.stopGradient(a), b, c, chunk });
  return tilted(y, np.transpose(everywhere.reshape(sizes), [1, 2, 0, 3]), 1);
}

interface LinearScan {
  /** [H, B, T, P]. */
  readonly u: JaxArray;
  /** Taken for constant. */
  readonly a: JaxArray;
  readonly b: JaxArray;
  readonly c: JaxArray;
  readonly chunk: number;
}

function scan({ u, a, b, c, chunk }: LinearScan): JaxArray {
  const [heads, batch, length, width] = u.shape as [number, number, number, number];
  const stateWidth = b.shape[2] as number;
  const chunks = length / chunk;
  const inputs = u.reshape([heads, batch, chunks, chunk, width]);
  const [into, out] = [b, c].map((x) => x.reshape([batch, chunks, chunk, stateWidth])) as [JaxArray, JaxArray];
  // Sums of the logarithms from the chunk's beginning, heads first: [H, B, chunks, Q].
  const sums = runningSums(np.transpose(a.reshape([batch, chunks, chunk, heads]), [3, 0, 1, 2]));

  const likeness = matrixProduct(out.ref, np.transpose(into.ref, [0, 1, 3, 2])).mul(np.transpose(sumsUpTo(chunk)));
  const mixing = decayed(decays(sums.ref), likeness.reshape([1, batch, chunks, chunk, chunk]));
  const within = matrixProduct(mixing, inputs.ref);
  const near = np.transpose(within, [1, 2, 3, 0, 4]);
  if (chunks === 1) {
    for (const unused of [inputs, into, out, sums]) unused.dispose();
    return near.reshape([batch, length, heads, width]);
  }

  const perPlace = (x: JaxArray): JaxArray => np.transpose(x, [1, 2, 3, 0]).reshape([batch, chunks, chunk, heads, 1]);
  // What each chunk adds to the state at its end, [B, chunks, N, H · P].
  const totals = sums.ref.slice([], [], [], [chunk - 1, chunk]);
  const atEnd = np
    .transpose(inputs, [1, 2, 3, 0, 4])
    .mul(perPlace(np.exp(totals.ref.sub(sums.ref))))
    .reshape([batch, chunks, chunk, heads * width]);
  const added = matrixProduct(np.transpose(into, [0, 1, 3, 2]), atEnd);
  // The states in which the chunks begin: sums over earlier chunks, decayed by the chunks in between.
  const perHead = np.transpose(totals.reshape([heads, batch, chunks]), [1, 0, 2]);
  const entering = enterChunks(added.reshape([batch, chunks, stateWidth, heads, width]), perHead);
  const far = matrixProduct(out, entering).reshape([batch, chunks, chunk, heads, width]);
  return near.add(far.mul(perPlace(np.exp(sums)))).reshape([batch, length, heads, width]);
}

/** `added` [B, chunks, N, H, P] and the sums of logarithms of whole chunks [B, H, chunks] → states at their beginnings [B, chunks, N, H · P]. */
function enterChunks(added: JaxArray, perHead: JaxArray): JaxArray {
  const [batch, chunks, stateWidth, heads, width] = added.shape as [number, number, number, number, number];
  const sums = runningSums(perHead.ref);
  // From the end of chunk j to the beginning of chunk i > j: the sums up to i − 1 less those up to j.
  const before = sums.ref.sub(perHead).reshape([batch, heads, chunks, 1]);
  const between = np.exp(before.sub(sums.reshape([batch, heads, 1, chunks])).add(visible(chunks, 1)));
  const states = np.transpose(added, [0, 3, 1, 2, 4]).reshape([batch, heads, chunks, stateWidth * width]);
  const entering = matrixProduct(between, states).reshape([batch, heads, chunks, stateWidth, width]);
  return np.transpose(entering, [0, 2, 3, 1, 4]).reshape([batch, chunks, stateWidth, heads * width]);
}

/** One position: `state` [G, H, P, N], u [G, H, P], a [G, H], b and c [G, N] → the next state and y [G, H, P]. */
export function advance(
  state: JaxArray,
  { u, a, b, c }: { readonly u: JaxArray; readonly a: JaxArray; readonly b: JaxArray; readonly c: JaxArray },
): { readonly state: JaxArray; readonly y: JaxArray } {
  const [batch, heads, width, stateWidth] = state.shape as [number, number, number, number];
  const decayed = state.mul(np.exp(a).reshape([batch, heads, 1, 1]));
  const next = decayed.add(u.reshape([batch, heads, width, 1]).mul(b.reshape([batch, 1, 1, stateWidth])));
  return { state: next.ref, y: next.mul(c.reshape([batch, 1, 1, stateWidth])).sum(3) };
}
