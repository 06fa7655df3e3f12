// Every body, compiled for one instruction set, and the table of its functions.

#include "Lanes.h"
#include "ScaleSearch.h"
#include "AffineSearch.h"
#include "Elements.h"
#include "SmallBlocks.h"
#include "Q4_K_Q5_K.h"
#include "Q2_K.h"
#include "Q3_K.h"
#include "Q6_K.h"
#include "Codebook.h"
#include "SharedTries.h"
#include "GridSearch.h"
#include "IQ2.h"
#include "IQ3.h"
#include "TernarySplit.h"
#include "IQ1.h"
#include "IQ4.h"
#include "TQ.h"
#include "FP4.h"
#include "Q1_0_Q2_0.h"

const ingot_kernels KERNEL_SET = {
  .quantize = {
    [INGOT_F16] = quantize_f16,
    [INGOT_BF16] = quantize_bf16,
    [INGOT_Q4_0] = quantize_q4_0,
    [INGOT_Q4_1] = quantize_q4_1,
    [INGOT_Q5_0] = quantize_q5_0,
    [INGOT_Q5_1] = quantize_q5_1,
    [INGOT_Q8_0] = quantize_q8_0,
    [INGOT_Q2_K] = quantize_q2_K,
    [INGOT_Q3_K] = quantize_q3_K,
    [INGOT_Q4_K] = quantize_q4_K,
    [INGOT_Q5_K] = quantize_q5_K,
    [INGOT_Q6_K] = quantize_q6_K,
    [INGOT_IQ2_XXS] = quantize_iq2_xxs,
    [INGOT_IQ2_XS] = quantize_iq2_xs,
    [INGOT_IQ3_XXS] = quantize_iq3_xxs,
    [INGOT_IQ1_S] = quantize_iq1_s,
    [INGOT_IQ3_S] = quantize_iq3_s,
    [INGOT_IQ2_S] = quantize_iq2_s,
    [INGOT_IQ1_M] = quantize_iq1_m,
    [INGOT_IQ4_NL] = quantize_iq4_nl,
    [INGOT_IQ4_XS] = quantize_iq4_xs,
    [INGOT_TQ1_0] = quantize_tq1_0,
    [INGOT_TQ2_0] = quantize_tq2_0,
    [INGOT_MXFP4] = quantize_mxfp4,
    [INGOT_NVFP4] = quantize_nvfp4,
    [INGOT_Q1_0] = quantize_q1_0,
    [INGOT_Q2_0] = quantize_q2_0,
  },
  .dequantize = {
    [INGOT_F16] = dequantize_f16,
    [INGOT_BF16] = dequantize_bf16,
    [INGOT_F64] = dequantize_f64,
    [INGOT_Q4_0] = dequantize_q4_0,
    [INGOT_Q4_1] = dequantize_q4_1,
    [INGOT_Q5_0] = dequantize_q5_0,
    [INGOT_Q5_1] = dequantize_q5_1,
    [INGOT_Q8_0] = dequantize_q8_0,
    [INGOT_Q2_K] = dequantize_q2_K,
    [INGOT_Q3_K] = dequantize_q3_K,
    [INGOT_Q4_K] = dequantize_q4_K,
    [INGOT_Q5_K] = dequantize_q5_K,
    [INGOT_Q6_K] = dequantize_q6_K,
    [INGOT_IQ2_XXS] = dequantize_iq2_xxs,
    [INGOT_IQ2_XS] = dequantize_iq2_xs,
    [INGOT_IQ3_XXS] = dequantize_iq3_xxs,
    [INGOT_IQ1_S] = dequantize_iq1_s,
    [INGOT_IQ3_S] = dequantize_iq3_s,
    [INGOT_IQ2_S] = dequantize_iq2_s,
    [INGOT_IQ1_M] = dequantize_iq1_m,
    [INGOT_IQ4_NL] = dequantize_iq4_nl,
    [INGOT_IQ4_XS] = dequantize_iq4_xs,
    [INGOT_TQ1_0] = dequantize_tq1_0,
    [INGOT_TQ2_0] = dequantize_tq2_0,
    [INGOT_MXFP4] = dequantize_mxfp4,
    [INGOT_NVFP4] = dequantize_nvfp4,
    [INGOT_Q1_0] = dequantize_q1_0,
    [INGOT_Q2_0] = dequantize_q2_0,
  },
  .first_non_finite = first_non_finite,
};
