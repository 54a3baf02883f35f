/*
 * All kernels as one translation unit. Build: `node kernels/build.ts`.
 */
#include "types.h"

#ifdef __wasm__
/* First byte after the kernels' own data: tensors may begin here. */
extern u8 __heap_base;
u32 EXPORT(heap_base) heap_base(void) { return (u32)(__UINTPTR_TYPE__)&__heap_base; }

void *memset(void *to, int value, __SIZE_TYPE__ bytes) { return __builtin_memset(to, value, bytes); }
void *memcpy(void *to, const void *from, __SIZE_TYPE__ bytes) { return __builtin_memcpy(to, from, bytes); }
#endif

#include "elementwise.c"
#include "movement.c"
#include "order.c"
#include "product.c"
#include "reduce.c"
