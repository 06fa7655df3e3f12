// 512-bit vectors.

#include "CKernels.h"
#include "codebooks/Codebooks.h"

#if defined(__x86_64__)

#pragma STDC FP_CONTRACT OFF

#define LANES 16
#define KERNEL_SET ingot_kernels_avx512
#include <immintrin.h>
#define HALF_INSTRUCTIONS
#include <stdbool.h>
#include <string.h>

#pragma clang attribute push( \
  __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#include "bodies/Table.h"
#pragma clang attribute pop

#endif
