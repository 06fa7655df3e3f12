// Compares two models' numbers: logits without keeping them, weights and hidden states.

#include <math.h>
#include <string.h>

#include "CKernels.h"

#pragma STDC FP_CONTRACT ON

#define LANES 4
#define NAME(name) name##_scalar
#include "bodies/LogitPair.h"
#include "bodies/VectorPair.h"
#undef LANES
#undef NAME

#if defined(__x86_64__)

#define LANES 8
#define NAME(name) name##_avx2
#pragma clang attribute push( \
  __attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "bodies/LogitPair.h"
#include "bodies/VectorPair.h"
#pragma clang attribute pop
#undef LANES
#undef NAME

#define LANES 16
#define NAME(name) name##_avx512
#pragma clang attribute push( \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
  apply_to = function)
#include "bodies/LogitPair.h"
#include "bodies/VectorPair.h"
#pragma clang attribute pop

#endif

void ingot_add_logits(
  int set, const float *p, const float *q, size_t count, int32_t first, ingot_logit_pair *pair) {
  if (count == 0) return;
  switch (set) {
#if defined(__x86_64__)
  case INGOT_AVX2: add_logits_avx2(p, q, count, first, pair); return;
  case INGOT_AVX512: add_logits_avx512(p, q, count, first, pair); return;
#endif
  // Four lanes are what NEON has.
  default: add_logits_scalar(p, q, count, first, pair);
  }
}

void ingot_compare(
  int set, const float *a, const float *b, size_t count, ingot_vector_pair *result) {
  switch (set) {
#if defined(__x86_64__)
  case INGOT_AVX2: compare_avx2(a, b, count, result); return;
  case INGOT_AVX512: compare_avx512(a, b, count, result); return;
#endif
  default: compare_scalar(a, b, count, result);
  }
}
