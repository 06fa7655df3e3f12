// The baseline of the architecture: runs everywhere, and every other set is compared with it.

#include "CKernels.h"
#include "codebooks/Codebooks.h"

#pragma STDC FP_CONTRACT OFF

#define LANES 4
#define KERNEL_SET ingot_kernels_scalar
#include <stdbool.h>
#include <string.h>

#include "bodies/Table.h"
