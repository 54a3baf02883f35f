/*
 * All kernels as one translation unit. Build: `node kernels/build.ts`.
 */
#include "types.h"

#ifdef __wasm__
void *memset(void *to, int value, __SIZE_TYPE__ bytes) { return __builtin_memset(to, value, bytes); }
void *memcpy(void *to, const void *from, __SIZE_TYPE__ bytes) { return __builtin_memcpy(to, from, bytes); }
#endif

#include "elementwise.c"
#include "movement.c"
#include "order.c"
#include "product.c"
#include "reduce.c"
