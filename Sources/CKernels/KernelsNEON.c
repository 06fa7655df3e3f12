// 128-bit vectors of ARM. These are that architecture's baseline too: no target attribute.

#include "CKernels.h"
#include "codebooks/Codebooks.h"

#if defined(__aarch64__)

#pragma STDC FP_CONTRACT OFF

#define LANES 4
#define KERNEL_SET ingot_kernels_neon
#define HALF_INSTRUCTIONS
#include <stdbool.h>
#include <string.h>

#include "bodies/Table.h"

#endif
