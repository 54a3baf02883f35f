/*
 * Kernels that a tape can call, by number. `build.ts` reads this list and writes the same numbers into the generated TypeScript,
 * so the order here is the only definition.
 */
#define KERNELS(X) \
  X(jump) X(choose) X(elementwise) X(product) X(product_direct) X(reduce_f32) X(reduce_integer) X(copy4) X(copy1) X(fill_zero) \
  X(check_nan) X(check_finite) X(index_offsets) X(gather4) X(gather1) X(scatter_add_f32) X(scatter_add_i32) X(scatter_add_bool) \
  X(scatter_set4) X(scatter_set1) X(sort_rows) X(threefry) X(sha256_leaves) X(sha256_tree)
