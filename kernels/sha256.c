#include "types.h"
static u32 sha256_leaves(const u32 *d, const Context *context) { (void)d; (void)context; return 0; }
static u32 sha256_tree(const u32 *d, const Context *context) { (void)d; (void)context; return 0; }
