/*
 * exp, log, sin, cos, erf and the exact float remainder, four lanes at a time.
 *
 * A port of packages/engine/src/reference/math.ts, operation for operation in the same order, hence the same bits. There the
 * algorithms are explained and their errors held; here nothing may be reordered or contracted. Constants are bit patterns.
 */
#ifndef MUSTER_MATH_H
#define MUSTER_MATH_H
#include "types.h"

INLINE v4f bits4(u32 x) { return (v4f)splatu(x); }
#define HORNER(p, z, c) p = p * z + bits4(c)
#define ROUND_MAGIC 0x4b400000u
#define NAN4 bits4(0x7fc00000u)

INLINE v4f exp4(v4f x) {
  v4f v = select4(x < -104.0f, splat(-104.0f), x);
  v = select4(v > 89.0f, splat(89.0f), v);
  v4f shifted = v * bits4(0x3fb8aa3b) + bits4(ROUND_MAGIC);
  v4i n = (v4i)((v4u)shifted - ROUND_MAGIC);
  v4f t = shifted - bits4(ROUND_MAGIC);
  v4f r = v - t * bits4(0x3f318000);
  r = r - t * bits4(0xb95e8083);
  v4f z = r * r;
  v4f p = bits4(0x395127ce);
  HORNER(p, r, 0x3ab6a7cf);
  HORNER(p, r, 0x3c0887ff);
  HORNER(p, r, 0x3d2aaa73);
  HORNER(p, r, 0x3e2aaaab);
  HORNER(p, r, 0x3f000000);
  p = p * z + r;
  p = p + 1.0f;
  v4i half = n >> 1;
  v4i rest = (v4i)((v4u)n - (v4u)half);
  v4f y = (p * (v4f)(((v4u)half + 127u) << 23)) * (v4f)(((v4u)rest + 127u) << 23);
  return select4(x != x, x, y);
}

INLINE v4f log4(v4f x) {
  v4i tiny = x < bits4(0x00800000);
  v4f scaled = x * select4(tiny, splat(8388608.0f), splat(1.0f));
  v4u bits = (v4u)scaled - 0x3f3504f3u;
  v4i e = (v4i)((v4u)((v4i)bits >> 23) - ((v4u)tiny & 23u));
  v4f m = (v4f)((bits & 0x007fffffu) + 0x3f3504f3u);
  v4f d = m - 1.0f;
  v4f z = d * d;
  v4f p = bits4(0x3d8da1ba);
  HORNER(p, d, 0xbdf17241);
  HORNER(p, d, 0x3df326b8);
  HORNER(p, d, 0xbdfda1ef);
  HORNER(p, d, 0x3e119983);
  HORNER(p, d, 0xbe2ab170);
  HORNER(p, d, 0x3e4cd2a1);
  HORNER(p, d, 0xbe7ffff7);
  HORNER(p, d, 0x3eaaaaa3);
  v4f t = __builtin_convertvector(e, v4f);
  v4f y = (d * z) * p;
  y = y + t * bits4(0xb95e8083);
  y = y - z * 0.5f;
  y = d + y;
  y = y + t * bits4(0x3f318000);
  y = select4(x == bits4(0x7f800000), x, y);
  y = select4(x == 0.0f, bits4(0xff800000), y);
  return select4((x < 0.0f) | (x != x), NAN4, y);
}

/* What rounding lost in `difference = a - b`. */
INLINE v4f difference_error(v4f a, v4f b, v4f difference) {
  v4f t = difference - a;
  return (a - (difference - t)) - (b + t);
}

INLINE v4f sine_of_quadrant(v4f x, u32 quarter_turns) {
  v4i inside = (x <= 50000.0f) & (x >= -50000.0f);
  v4f v = select4(inside, x, splat(0.0f));
  v4f shifted = v * bits4(0x3f22f983) + bits4(ROUND_MAGIC);
  v4u n = (v4u)shifted - ROUND_MAGIC;
  v4f t = shifted - bits4(ROUND_MAGIC);
  v4f r2 = (v - t * bits4(0x3fc90000)) - t * bits4(0x39fe0000);
  v4f h3 = t * bits4(0xb52c0000);
  v4f r3 = r2 - h3;
  v4f h4 = t * bits4(0x30880000);
  v4f r4 = r3 - h4;
  v4f tail = t * bits4(0x2c34611a) - (difference_error(r2, h3, r3) + difference_error(r3, h4, r4));
  v4f r = r4 - tail;
  v4f low = (r4 - r) - tail;
  v4f z = r * r;
  v4f s = bits4(0xb94caad8);
  HORNER(s, z, 0x3c0883be);
  HORNER(s, z, 0xbe2aaaa3);
  s = ((r * z) * s + low) + r;
  v4f c = bits4(0x37ccf072);
  HORNER(c, z, 0xbab6060d);
  HORNER(c, z, 0x3d2aaaa5);
  v4f half = z * 0.5f;
  v4f w = 1.0f - half;
  c = w + (((1.0f - w) - half) + (c * (z * z) - r * low));
  v4u quadrant = (n + quarter_turns) & 3u;
  v4f y = select4((v4i)(quadrant & 1u) == 0, s, c);
  v4f turned = (v4f)((v4u)y ^ ((quadrant & 2u) << 30));
  return select4(inside, turned, NAN4);
}

INLINE v4f sin4(v4f x) { return select4(x == 0.0f, x, sine_of_quadrant(x, 0)); }
INLINE v4f cos4(v4f x) { return sine_of_quadrant(x, 1); }

INLINE v4f erf4(v4f x) {
  v4u bits = (v4u)x;
  v4f magnitude = (v4f)(bits & 0x7fffffffu);
  v4f z = magnitude * magnitude;
  v4f s = bits4(0x38a6fd4f);
  HORNER(s, z, 0xba52d5a1);
  HORNER(s, z, 0x3baa20b9);
  HORNER(s, z, 0xbcdc003b);
  HORNER(s, z, 0x3de716b0);
  HORNER(s, z, 0xbec093a0);
  HORNER(s, z, 0x3e0375d4);
  s = magnitude * s + magnitude;
  v4f a = select4(magnitude > 4.0f, splat(4.0f), magnitude);
  v4f l = bits4(0x373da0d0);
  HORNER(l, a, 0xb9a99ecd);
  HORNER(l, a, 0x3b6ee7e7);
  HORNER(l, a, 0xbcc2b5da);
  HORNER(l, a, 0x3dd99692);
  HORNER(l, a, 0x3f2298fc);
  HORNER(l, a, 0x3f907797);
  l = 1.0f - exp4((v4f)((v4u)(l * a) ^ 0x80000000u));
  v4f y = select4(magnitude < bits4(0x3f6c0000), s, l);
  v4f turned = (v4f)((v4u)y | (bits & 0x80000000u));
  return select4(x != x, x, turned);
}

/* Exact remainder with the sign of x, as C's fmod: long division on the significands. */
static f32 fmod1(f32 x, f32 y) {
  u32 ux = as_u32(x), uy = as_u32(y), sign = ux & 0x80000000u;
  ux &= 0x7fffffffu;
  uy &= 0x7fffffffu;
  if (ux >= 0x7f800000u || uy > 0x7f800000u || uy == 0) return as_f32(0x7fc00000u);
  if (ux < uy) return x;
  i32 ex = (i32)(ux >> 23), ey = (i32)(uy >> 23);
  u32 mx = ux & 0x7fffffu, my = uy & 0x7fffffu;
  if (ex > 0) mx |= 0x800000u;
  else ex = 1;
  if (ey > 0) my |= 0x800000u;
  else ey = 1;
  for (; ex > ey; ex--) mx = (mx % my) << 1; /* below 2 * my, so below 2^25 */
  mx %= my;
  if (mx == 0) return as_f32(sign);
  while (mx < 0x800000u && ex > 1) {
    mx <<= 1;
    ex--;
  }
  if (mx < 0x800000u) return as_f32(sign | mx);
  return as_f32(sign | ((u32)ex << 23) | (mx & 0x7fffffu));
}

INLINE v4f fmod4(v4f x, v4f y) { return (v4f){fmod1(x[0], y[0]), fmod1(x[1], y[1]), fmod1(x[2], y[2]), fmod1(x[3], y[3])}; }

#endif
