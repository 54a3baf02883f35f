/*
 * Stable sorting along contiguous rows, and random bits.
 */
#include "types.h"

/* Order-preserving map to unsigned: kind 0 float32 (-0 before +0), 1 int32, 2 uint32, 3 bool. */
INLINE u32 sort_key(u32 bits, u32 kind) {
  if (kind == 0) return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  if (kind == 1) return bits ^ 0x80000000u;
  return bits;
}

/* Stable sort of the `width` pairs in `a` by their keys; `b` is as large. Returns the one that holds the result. By merging, for short rows. */
static u64 *sort_by_merging(u64 *a, u64 *b, u32 width) {
  for (u32 span = 1; span < width; span *= 2) {
    for (u32 lo = 0; lo < width; lo += 2 * span) {
      u32 mid = lo + span < width ? lo + span : width, hi = lo + 2 * span < width ? lo + 2 * span : width;
      u32 i = lo, j = mid;
      for (u32 k = lo; k < hi; k++) b[k] = i < mid && (j >= hi || a[i] < a[j]) ? a[i++] : a[j++];
    }
    u64 *swap = a;
    a = b;
    b = swap;
  }
  return a;
}

/* The same by digits of `digit_bits`, from the lowest on; a digit that all keys share is left out. */
#define MOST_DIGIT_BITS 11
static u64 *sort_by_digits(u64 *a, u64 *b, u32 width, u32 digit_bits) {
  u32 starts[1 << MOST_DIGIT_BITS], size = 1u << digit_bits;
  for (u32 shift = 32; shift < 64; shift += digit_bits) {
    for (u32 i = 0; i < size; i++) starts[i] = 0;
    for (u32 i = 0; i < width; i++) starts[(u32)(a[i] >> shift) & (size - 1)]++;
    if (starts[(u32)(a[0] >> shift) & (size - 1)] == width) continue;
    for (u32 i = 0, sum = 0; i < size; i++) {
      u32 count = starts[i];
      starts[i] = sum;
      sum += count;
    }
    for (u32 i = 0; i < width; i++) b[starts[(u32)(a[i] >> shift) & (size - 1)]++] = a[i];
    u64 *swap = a;
    a = b;
    b = swap;
  }
  return a;
}

/*
 * Sorts rows of `width` elements into values or their positions. Descriptor: address of the result, address of the elements,
 * rows, width, kind, 1 for positions (else values), address of 16 bytes for each element of a row, which are used where the
 * thread's scratch is too small: two halves of (key, position) pairs. Threads share the rows; one does all where they need the shared bytes.
 */
static u32 sort_rows(const u32 *d, const Context *context) {
  u8 *to = AT(u8, d);
  const u8 *from = AT(const u8, d + 2);
  u32 rows = d[4], width = d[5], kind = d[6], positions = d[7];
  u32 fits = width <= SCRATCH_BYTES / 16;
  if (!fits && context->thread > 0) return 0;
  Share share = fits ? share_of(context, rows, 1) : (Share){0, rows};
  for (u32 r = share.begin; r < share.end; r++) {
    u64 *a = fits ? (u64 *)context->scratch : AT(u64, d + 8), *b = a + width;
    const u8 *in = from + (i64)r * width * (kind == 3 ? 1 : 4);
    for (u32 i = 0; i < width; i++) {
      u32 bits = kind == 3 ? in[i] : ((const u32 *)in)[i];
      a[i] = ((u64)sort_key(bits, kind) << 32) | i;
    }
    if (width < 48) a = sort_by_merging(a, b, width);
    else a = sort_by_digits(a, b, width, width < 2048 ? 8 : MOST_DIGIT_BITS);
    u8 *out = to + (i64)r * width * (kind == 3 && !positions ? 1 : 4);
    for (u32 i = 0; i < width; i++) {
      u32 position = (u32)a[i];
      if (positions) ((u32 *)out)[i] = position;
      else if (kind == 3) out[i] = in[position];
      else ((u32 *)out)[i] = ((const u32 *)in)[position];
    }
  }
  return 0;
}

/* Vectors that are mixed side by side: one alone waits for its own results. */
#define STREAMS 2
#define EACH_STREAM UNROLL for (u32 s = 0; s < STREAMS; s++)
#define TURN(R) EACH_STREAM x0[s] += x1[s], x1[s] = ((x1[s] << R) | (x1[s] >> (32 - R))) ^ x0[s];
#define INJECT(K0, K1, N) EACH_STREAM x0[s] += K0[s], x1[s] += K1[s] + N;

/* The words of keys (k0, k1) and counters (0, counter). */
INLINE void threefry_words(vu *words, const vu *k0, const vu *k1, const vu *counter, u32 mode) {
  vu k2[STREAMS], x0[STREAMS], x1[STREAMS];
  EACH_STREAM k2[s] = k0[s] ^ k1[s] ^ 0x1bd11bdau, x0[s] = k0[s], x1[s] = counter[s] + k1[s];
  TURN(13) TURN(15) TURN(26) TURN(6)
  INJECT(k1, k2, 1)
  TURN(17) TURN(29) TURN(16) TURN(24)
  INJECT(k2, k0, 2)
  TURN(13) TURN(15) TURN(26) TURN(6)
  INJECT(k0, k1, 3)
  TURN(17) TURN(29) TURN(16) TURN(24)
  INJECT(k1, k2, 4)
  TURN(13) TURN(15) TURN(26) TURN(6)
  INJECT(k2, k0, 5)
  EACH_STREAM words[s] = mode == 0 ? x0[s] : mode == 1 ? x1[s] : x0[s] ^ x1[s];
}

/*
 * threefry-2x32, 20 rounds: `counts` words for each of `keys` pairs (k0, k1), counter (0, i). Descriptor: address of the words,
 * of the first and of the second halves of the keys, keys, counts, mode: 0 or 1 takes that word, 2 both by xor.
 */
static u32 threefry(const u32 *d, const Context *context) {
  u32 *out = AT(u32, d);
  const u32 *first = AT(const u32, d + 2), *second = AT(const u32, d + 4);
  u32 counts = d[7], mode = d[8];
  Share share = share_of(context, d[6] * counts, 64);
  if (share.begin == share.end) return 0;
  u32 key = share.begin / counts, counter = share.begin % counts;
  for (u32 i = share.begin; i < share.end;) {
    vu k0[STREAMS], k1[STREAMS], counters[STREAMS], words[STREAMS];
    if (counts - counter >= STREAMS * LANES && share.end - i >= STREAMS * LANES) {
      EACH_STREAM {
        k0[s] = splatu(first[key]);
        k1[s] = splatu(second[key]);
        counters[s] = splatu(counter + s * LANES) + (vu)lane_numbers();
      }
      threefry_words(words, k0, k1, counters, mode);
      EACH_STREAM storeu(out + i + s * LANES, words[s]);
      i += STREAMS * LANES;
      counter += STREAMS * LANES;
      if (counter == counts) key++, counter = 0;
      continue;
    }
    /* Few counters are left of this key: words of several keys, or of none. */
    u32 lanes[4][STREAMS * LANES], used = 0;
    for (u32 l = 0; l < STREAMS * LANES; l++) {
      u32 within = i + l < share.end;
      lanes[0][l] = within ? first[key] : 0;
      lanes[1][l] = within ? second[key] : 0;
      lanes[2][l] = counter;
      used += within;
      if (within && ++counter == counts) key++, counter = 0;
    }
    EACH_STREAM k0[s] = loadu(lanes[0] + s * LANES), k1[s] = loadu(lanes[1] + s * LANES), counters[s] = loadu(lanes[2] + s * LANES);
    threefry_words(words, k0, k1, counters, mode);
    EACH_STREAM storeu(lanes[3] + s * LANES, words[s]);
    for (u32 l = 0; l < used; l++) out[i + l] = lanes[3][l];
    i += used;
  }
  return 0;
}
