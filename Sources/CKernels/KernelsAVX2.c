// 256-bit vectors. The fused multiply-add that the target allows is never used.

#include "CKernels.h"
#include "codebooks/Codebooks.h"

#if defined(__x86_64__)

#pragma STDC FP_CONTRACT OFF

#define LANES 8
#define KERNEL_SET ingot_kernels_avx2
#define HALF_INSTRUCTIONS
#include <stdbool.h>
#include <string.h>

#pragma clang attribute push( \
  __attribute__((target("avx2,fma,f16c"))), apply_to = function)
#include "bodies/Table.h"
#pragma clang attribute pop

#endif
