/*
 * SHA-256 Merkle trees as in RFC 9162 over bytes in 1 KiB leaves: leaf = SHA-256(0x00, chunk), node = SHA-256(0x01, left, right), an odd
 * node at the end of a level moves up unchanged. LANES messages at a time, one in each vector lane. FIPS 180-4.
 */
#include "types.h"

#define LEAF_BYTES 1024
#define HASH_BYTES 32
#define MOST_LEVELS 12

static const u32 sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};
static const u32 sha256_start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

#if defined(__AVX512F__) && !defined(__wasm__)
#define ROTATE(X, N) ((vu)_mm512_maskz_ror_epi32((__mmask16)-1, (__m512i)(X), N))
#define XOR3(X, Y, Z) ((vu)_mm512_ternarylogic_epi32((__m512i)(X), (__m512i)(Y), (__m512i)(Z), 0x96))
#define CHOOSE(X, Y, Z) ((vu)_mm512_ternarylogic_epi32((__m512i)(X), (__m512i)(Y), (__m512i)(Z), 0xca))
#define MAJORITY(X, Y, Z) ((vu)_mm512_ternarylogic_epi32((__m512i)(X), (__m512i)(Y), (__m512i)(Z), 0xe8))
#else
#define ROTATE(X, N) (((X) >> N) | ((X) << (32 - N)))
#define XOR3(X, Y, Z) ((X) ^ (Y) ^ (Z))
#define CHOOSE(X, Y, Z) ((Z) ^ ((X) & ((Y) ^ (Z))))
#define MAJORITY(X, Y, Z) (((X) & (Y)) | ((Z) & ((X) | (Y))))
#endif

#if LANES == 16
#define INTERLEAVE_LOW(X, Y) __builtin_shufflevector(X, Y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define INTERLEAVE_HIGH(X, Y) __builtin_shufflevector(X, Y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif LANES == 8
#define INTERLEAVE_LOW(X, Y) __builtin_shufflevector(X, Y, 0, 8, 1, 9, 2, 10, 3, 11)
#define INTERLEAVE_HIGH(X, Y) __builtin_shufflevector(X, Y, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define INTERLEAVE_LOW(X, Y) __builtin_shufflevector(X, Y, 0, 4, 1, 5)
#define INTERLEAVE_HIGH(X, Y) __builtin_shufflevector(X, Y, 2, 6, 3, 7)
#endif

INLINE vu swap_bytes(vu x) {
#if defined(__AVX512BW__) && !defined(__wasm__)
  const __m512i order = _mm512_set4_epi32(0x0c0d0e0f, 0x08090a0b, 0x04050607, 0x00010203);
  return (vu)_mm512_shuffle_epi8((__m512i)x, order);
#else
  x = ((x & 0x00ff00ffu) << 8) | ((x >> 8) & 0x00ff00ffu);
  return (x << 16) | (x >> 16);
#endif
}

/* Transposes a square: lane j of x[i] and lane i of x[j] change places. */
INLINE void transpose_square(vu *x) {
  UNROLL for (u32 stage = 1; stage < LANES; stage *= 2) {
    vu y[LANES];
    UNROLL for (u32 i = 0; i < LANES / 2; i++) {
      y[2 * i] = INTERLEAVE_LOW(x[i], x[i + LANES / 2]);
      y[2 * i + 1] = INTERLEAVE_HIGH(x[i], x[i + LANES / 2]);
    }
    UNROLL for (u32 i = 0; i < LANES; i++) x[i] = y[i];
  }
}

/* The sixteen words of one block: lane l has those at `blocks` + l * `stride`, read big-endian. */
INLINE void load_words(vu *w, const u8 *blocks, __SIZE_TYPE__ stride) {
  UNROLL for (u32 part = 0; part < 16; part += LANES) {
    UNROLL for (u32 l = 0; l < LANES; l++) w[part + l] = swap_bytes(loadu(blocks + l * stride + 4 * part));
    transpose_square(w + part);
  }
}

#define SHA_ROUND(A, B, C, D, E, F, G, H, I)                                                                           \
  {                                                                                                                    \
    vu t = H + XOR3(ROTATE(E, 6), ROTATE(E, 11), ROTATE(E, 25)) + CHOOSE(E, F, G) + (w[I] + sha256_constants[round + I]); \
    D += t;                                                                                                            \
    H = t + XOR3(ROTATE(A, 2), ROTATE(A, 13), ROTATE(A, 22)) + MAJORITY(A, B, C);                                      \
  }
#define SHA_WORD(I)                                                                                              \
  {                                                                                                              \
    vu x = w[(I + 1) & 15], y = w[(I + 14) & 15];                                                                \
    w[I] += XOR3(ROTATE(x, 7), ROTATE(x, 18), x >> 3) + w[(I + 9) & 15] + XOR3(ROTATE(y, 17), ROTATE(y, 19), y >> 10); \
  }

/* One block of every lane into the `state`. `w` is used up. */
NOINLINE void compress(vu *state, vu *w) {
  vu a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
  for (u32 round = 0;; round += 16) {
    SHA_ROUND(a, b, c, d, e, f, g, h, 0)
    SHA_ROUND(h, a, b, c, d, e, f, g, 1)
    SHA_ROUND(g, h, a, b, c, d, e, f, 2)
    SHA_ROUND(f, g, h, a, b, c, d, e, 3)
    SHA_ROUND(e, f, g, h, a, b, c, d, 4)
    SHA_ROUND(d, e, f, g, h, a, b, c, 5)
    SHA_ROUND(c, d, e, f, g, h, a, b, 6)
    SHA_ROUND(b, c, d, e, f, g, h, a, 7)
    SHA_ROUND(a, b, c, d, e, f, g, h, 8)
    SHA_ROUND(h, a, b, c, d, e, f, g, 9)
    SHA_ROUND(g, h, a, b, c, d, e, f, 10)
    SHA_ROUND(f, g, h, a, b, c, d, e, 11)
    SHA_ROUND(e, f, g, h, a, b, c, d, 12)
    SHA_ROUND(d, e, f, g, h, a, b, c, 13)
    SHA_ROUND(c, d, e, f, g, h, a, b, 14)
    SHA_ROUND(b, c, d, e, f, g, h, a, 15)
    if (round == 48) break;
    SHA_WORD(0) SHA_WORD(1) SHA_WORD(2) SHA_WORD(3) SHA_WORD(4) SHA_WORD(5) SHA_WORD(6) SHA_WORD(7)
    SHA_WORD(8) SHA_WORD(9) SHA_WORD(10) SHA_WORD(11) SHA_WORD(12) SHA_WORD(13) SHA_WORD(14) SHA_WORD(15)
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

INLINE void start_state(vu *state) {
  for (u32 i = 0; i < 8; i++) state[i] = splatu(sha256_start[i]);
}

/* The first `count` lanes' hashes, one after the other. */
INLINE void store_hashes(u8 *out, const vu *state, u32 count) {
  u32 words[8][LANES];
  for (u32 i = 0; i < 8; i++) storeu(words[i], swap_bytes(state[i]));
  for (u32 l = 0; l < count; l++, out += HASH_BYTES)
    for (u32 i = 0; i < 8; i++) __builtin_memcpy(out + 4 * i, &words[i][l], 4);
}

/*
 * Hashes of `count` <= LANES messages of a prefix byte and `bytes` (a multiple of 64) at `messages` + lane * `bytes`. A block is
 * read from the byte before it, but for the first, which the prefix begins. Missing lanes repeat the first message.
 */
NOINLINE void hash_prefixed(u8 *out, const u8 *messages, u32 bytes, u32 prefix, u32 count) {
  vu state[8], w[16], last = splatu(0);
  u8 first[LANES * 64] __attribute__((aligned(64)));
  start_state(state);
  for (u32 l = 0; l < LANES; l++) {
    const u8 *message = messages + (l < count ? l : 0) * (__SIZE_TYPE__)bytes;
    first[64 * l] = (u8)prefix;
    __builtin_memcpy(first + 64 * l + 1, message, 63);
    last[l] = (u32)message[bytes - 1] << 24 | 0x800000u;
  }
  load_words(w, first, 64);
  compress(state, w);
  for (u32 from = 63; from + 64 < bytes; from += 64) {
    if (count == LANES) {
      load_words(w, messages + from, bytes);
    } else {
      for (u32 l = 0; l < LANES; l++) __builtin_memcpy(first + 64 * l, messages + (l < count ? l : 0) * bytes + from, 64);
      load_words(w, first, 64);
    }
    compress(state, w);
  }
  w[0] = last;
  for (u32 i = 1; i < 15; i++) w[i] = splatu(0);
  w[15] = splatu(8 * (bytes + 1));
  compress(state, w);
  store_hashes(out, state, count);
}

/* Hash of one message of at most LEAF_BYTES, after a 0 byte if `prefixed`. */
static void hash_short(u8 *out, const u8 *message, u32 bytes, u32 prefixed) {
  u8 padded[LEAF_BYTES + 128] __attribute__((aligned(64)));
  vu state[8], w[16];
  u32 used = bytes + prefixed, blocks = (used + 9 + 63) / 64;
  __builtin_memset(padded, 0, 64 * blocks);
  if (bytes) __builtin_memcpy(padded + prefixed, message, bytes);
  padded[used] = 0x80;
  for (u32 i = 0; i < 4; i++) padded[64 * blocks - 1 - i] = (u8)(8 * used >> 8 * i);
  start_state(state);
  for (u32 b = 0; b < blocks; b++) {
    load_words(w, padded + 64 * b, 0);
    compress(state, w);
  }
  store_hashes(out, state, 1);
}

/* Replaces `count` nodes by the level above. Returns its number of nodes. */
static u64 hash_level(u8 *nodes, u64 count) {
  u64 pairs = count / 2;
  for (u64 i = 0; i < pairs; i += LANES) {
    u32 used = pairs - i < LANES ? (u32)(pairs - i) : LANES;
    hash_prefixed(nodes + (__SIZE_TYPE__)i * HASH_BYTES, nodes + (__SIZE_TYPE__)i * 2 * HASH_BYTES, 2 * HASH_BYTES, 1, used);
  }
  if (count % 2) __builtin_memmove(nodes + (__SIZE_TYPE__)pairs * HASH_BYTES, nodes + (__SIZE_TYPE__)(count - 1) * HASH_BYTES, HASH_BYTES);
  return pairs + count % 2;
}

/*
 * Nodes of one level of the tree over bytes. Descriptor: address of the bytes, their number (two words), address of the nodes (32
 * bytes each), level: 0 gives the hashes of the leaves, at most 12. Threads share the nodes. No bytes give no node.
 */
static u32 sha256_leaves(const u32 *d, const Context *context) {
  const u8 *data = AT(const u8, d);
  u64 bytes = (u64)d[3] << 32 | d[2], leaves = bytes / LEAF_BYTES + (bytes % LEAF_BYTES != 0);
  u8 *out = AT(u8, d + 4);
  u32 level = d[6] < MOST_LEVELS ? d[6] : MOST_LEVELS;
  u32 group = LANES > 1u << level ? LANES : 1u << level;
  u32 groups = (u32)(leaves / group + (leaves % group != 0));
  Share share = share_of(context, groups, 1);
  for (u32 g = share.begin; g < share.end; g++) {
    u64 first = (u64)g * group, count = leaves - first < group ? leaves - first : group;
    u8 *nodes = context->scratch;
    for (u64 i = 0; i < count; i += LANES) {
      const u8 *chunk = data + (__SIZE_TYPE__)(first + i) * LEAF_BYTES;
      u64 whole = bytes / LEAF_BYTES - (first + i), left = count - i < LANES ? count - i : LANES;
      u32 used = (u32)(whole < left ? whole : left);
      if (used) hash_prefixed(nodes + i * HASH_BYTES, chunk, LEAF_BYTES, 0, used);
      if (used < left) hash_short(nodes + (i + used) * HASH_BYTES, chunk + used * LEAF_BYTES, (u32)(bytes % LEAF_BYTES), 1);
    }
    for (u32 l = 0; l < level; l++) count = hash_level(nodes, count);
    __builtin_memcpy(out + (__SIZE_TYPE__)(first >> level) * HASH_BYTES, nodes, (__SIZE_TYPE__)count * HASH_BYTES);
  }
  return 0;
}

/*
 * The root over a level of nodes. Descriptor: address of the nodes, which are overwritten, their number (two words), address of the
 * root (32 bytes). No nodes give the hash of nothing. One thread does all.
 */
static u32 sha256_tree(const u32 *d, const Context *context) {
  if (context->thread > 0) return 0;
  u8 *nodes = AT(u8, d), *root = AT(u8, d + 4);
  u64 count = (u64)d[3] << 32 | d[2];
  if (count == 0) {
    hash_short(root, nodes, 0, 0);
    return 0;
  }
  while (count > 1) count = hash_level(nodes, count);
  __builtin_memcpy(root, nodes, HASH_BYTES);
  return 0;
}
