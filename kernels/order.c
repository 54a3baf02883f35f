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

/*
 * Sorts `rows` rows of `width` elements from `from` into `to` (values) or their positions (`positions` = 1).
 * `scratch` holds 16 bytes per element of one row: two halves of (key, position) pairs.
 */
void EXPORT(sort_rows) sort_rows(u32 to, u32 from, u32 rows, u32 width, u32 kind, u32 positions, u32 scratch) {
  for (u32 r = 0; r < rows; r++) {
    u64 *a = AT(u64, scratch), *b = a + width;
    for (u32 i = 0; i < width; i++) {
      u32 bits = kind == 3 ? AT(const u8, from)[r * width + i] : AT(const u32, from)[r * width + i];
      a[i] = ((u64)sort_key(bits, kind) << 32) | i;
    }
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
    for (u32 i = 0; i < width; i++) {
      u32 position = (u32)a[i];
      if (positions) AT(u32, to)[r * width + i] = position;
      else if (kind == 3) AT(u8, to)[r * width + i] = AT(const u8, from)[r * width + position];
      else AT(u32, to)[r * width + i] = AT(const u32, from)[r * width + position];
    }
  }
}

#define TURN(R) x0 = x0 + x1, x1 = ((x1 << R) | (x1 >> (32 - R))) ^ x0;

/*
 * threefry-2x32, 20 rounds: `counts` words for each of `keys` pairs (k0, k1), counter (0, i). `mode`: 0 or 1 takes that word, 2 both by xor.
 */
void EXPORT(threefry) threefry(u32 to, u32 first_keys, u32 second_keys, u32 keys, u32 counts, u32 mode) {
  u32 *out = AT(u32, to);
  for (u32 key = 0; key < keys; key++) {
    u32 k0 = AT(const u32, first_keys)[key], k1 = AT(const u32, second_keys)[key], k2 = k0 ^ k1 ^ 0x1bd11bdau;
    for (u32 i = 0; i < counts; i++) {
      u32 x0 = k0, x1 = i + k1;
      TURN(13) TURN(15) TURN(26) TURN(6)
      x0 += k1, x1 += k2 + 1;
      TURN(17) TURN(29) TURN(16) TURN(24)
      x0 += k2, x1 += k0 + 2;
      TURN(13) TURN(15) TURN(26) TURN(6)
      x0 += k0, x1 += k1 + 3;
      TURN(17) TURN(29) TURN(16) TURN(24)
      x0 += k1, x1 += k2 + 4;
      TURN(13) TURN(15) TURN(26) TURN(6)
      x0 += k2, x1 += k0 + 5;
      *out++ = mode == 0 ? x0 : mode == 1 ? x1 : x0 ^ x1;
    }
  }
}
