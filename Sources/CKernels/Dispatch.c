// Which kernel sets this build contains and this processor runs.

#include <stdlib.h>
#include <string.h>

#include "CKernels.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "blocks are assembled as little-endian words"
#endif

extern const ingot_kernels ingot_kernels_scalar;
#if defined(__x86_64__)
extern const ingot_kernels ingot_kernels_avx2;
extern const ingot_kernels ingot_kernels_avx512;
#elif defined(__aarch64__)
extern const ingot_kernels ingot_kernels_neon;
#endif

int ingot_is_runnable(int set) {
  switch (set) {
  case INGOT_SCALAR: return 1;
#if defined(__x86_64__)
  case INGOT_AVX2:
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c");
  case INGOT_AVX512:
    return ingot_is_runnable(INGOT_AVX2) && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
#elif defined(__aarch64__)
  case INGOT_NEON: return 1;
#endif
  default: return 0;
  }
}

static const ingot_kernels *kernels(int set) {
  switch (set) {
  case INGOT_SCALAR: return &ingot_kernels_scalar;
#if defined(__x86_64__)
  case INGOT_AVX2: return &ingot_kernels_avx2;
  case INGOT_AVX512: return &ingot_kernels_avx512;
#elif defined(__aarch64__)
  case INGOT_NEON: return &ingot_kernels_neon;
#endif
  default: return NULL;
  }
}

ingot_quantize ingot_find_quantize(int set, uint32_t type) {
  const ingot_kernels *table = kernels(set);
  return table && type < INGOT_TYPES ? table->quantize[type] : NULL;
}

ingot_dequantize ingot_find_dequantize(int set, uint32_t type) {
  const ingot_kernels *table = kernels(set);
  return table && type < INGOT_TYPES ? table->dequantize[type] : NULL;
}

size_t ingot_first_non_finite(int set, const float *values, size_t count) {
  const ingot_kernels *table = kernels(set);
  return (table ? table : &ingot_kernels_scalar)->first_non_finite(values, count);
}

size_t ingot_first_non_finite_half(const uint8_t *halves, size_t stride, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    uint16_t half;
    memcpy(&half, halves + i * stride, sizeof half);
    if ((half & 0x7C00) == 0x7C00) return i;
  }
  return count;
}

const char *ingot_forced_kernels(void) { return getenv("INGOT_KERNELS"); }
