#pragma once
// The inner loops of Ingot: weights to blocks and back.
//
// How the folder is built
//
//     include/CKernels.h   what Swift sees: one function per block type and instruction set
//     bodies/Lanes.h       vector types of LANES lanes, loads and stores that transpose, roundings
//     bodies/*Search.h     the searches for scales that several block types share
//     bodies/Codebook.h    the nearest point of a codebook, for IQ1, IQ2 and IQ3
//     codebooks/           the points, and the neighbours of everything else, computed once
//     bodies/TYPE.h        one block type: its bytes, quantize, dequantize
//     bodies/Table.h       includes every body and lists its functions under the type's number
//     Kernels*.c           one file per instruction set: sets LANES and the target, includes Table.h
//     Dispatch.c           finds out what this processor runs
//
// One lane, one block. Reference quantizers are sequential sums over a block. A vector here holds
// the same weight of LANES different blocks, so each lane does the reference's operations in the
// reference's order and the bytes do not depend on LANES. Q4_0, Q4_1, Q5_0 and Q5_1 with importance
// need one sum over the whole row: for that sum a lane is a row. Where fewer blocks (or rows) are
// left than lanes, the last one fills the idle lanes and is written several times with the same
// bytes. Among the neighbours in a codebook a lane is a candidate.
//
// A sum is a chain of dependent additions, too slow alone: the searches advance several sub-blocks
// (AffineSearch.h, Q3_K.h) or several tries (ScaleSearch.h) together. That changes no sum.
//
// Rules for a body
//
// - Arithmetic is IEEE single precision, never contracted: each Kernels*.c says FP_CONTRACT OFF.
// - A branch on data becomes a select between lanes; work that no lane needs may be skipped.
// - No lane may trap, and no conversion may leave the range of its type: use the roundings of
//   Lanes.h, whose results are defined for every input.
// - What vector extensions cannot say (a table look-up by lane) stands under #if beside the general
//   form, with the same results.
// - A new block type: write bodies/TYPE.h, list it in Table.h. A new instruction set: write
//   Kernels<Set>.c, add it to the enumeration and to Dispatch.c.
//
// Numbers are little-endian in blocks and in memory.

#include <stddef.h>
#include <stdint.h>

/// Instruction sets that the bodies are compiled for.
enum {
  INGOT_SCALAR = 0,
  INGOT_AVX2 = 1,
  INGOT_AVX512 = 2,
  INGOT_NEON = 3,
  INGOT_KERNEL_SETS = 4,
};

/// Numbers of the types in a GGUF file; the last entry is one more than the highest.
enum {
  INGOT_F16 = 1,
  INGOT_Q4_0 = 2,
  INGOT_Q4_1 = 3,
  INGOT_Q5_0 = 6,
  INGOT_Q5_1 = 7,
  INGOT_Q8_0 = 8,
  INGOT_Q2_K = 10,
  INGOT_Q3_K = 11,
  INGOT_Q4_K = 12,
  INGOT_Q5_K = 13,
  INGOT_Q6_K = 14,
  INGOT_IQ2_XXS = 16,
  INGOT_IQ2_XS = 17,
  INGOT_IQ3_XXS = 18,
  INGOT_IQ1_S = 19,
  INGOT_IQ4_NL = 20,
  INGOT_IQ3_S = 21,
  INGOT_IQ2_S = 22,
  INGOT_IQ4_XS = 23,
  INGOT_F64 = 28,
  INGOT_IQ1_M = 29,
  INGOT_BF16 = 30,
  INGOT_TQ1_0 = 34,
  INGOT_TQ2_0 = 35,
  INGOT_MXFP4 = 39,
  INGOT_NVFP4 = 40,
  INGOT_Q1_0 = 41,
  INGOT_Q2_0 = 42,
  INGOT_TYPES = 43,
};

/// Quantizes `row_count` rows of `column_count` weights, both at least 1. `importance` has one entry
/// per column; it may be null but for the types that are not defined without (IQ1_S, IQ1_M, IQ2_XXS,
/// IQ2_XS, IQ2_S). `blocks` must not overlap the rows; no alignment is needed.
typedef void (*ingot_quantize)(
  const float *_Nonnull rows, size_t row_count, size_t column_count,
  const float *_Nullable importance, uint8_t *_Nonnull blocks);

/// Writes `weight_count` weights, whole blocks.
typedef void (*ingot_dequantize)(
  const uint8_t *_Nonnull blocks, size_t weight_count, float *_Nonnull weights);

/// The functions of one instruction set; null where a type has none.
typedef struct {
  ingot_quantize _Nullable quantize[INGOT_TYPES];
  ingot_dequantize _Nullable dequantize[INGOT_TYPES];
  /// Index of the first NaN or infinity, or `count`.
  size_t (*_Nonnull first_non_finite)(const float *_Nonnull values, size_t count);
} ingot_kernels;

/// Whether the processor runs kernel set `set` and this build contains it.
int ingot_is_runnable(int set);

/// The set's quantizer for a type's number; null when the set or the type has none.
ingot_quantize _Nullable ingot_find_quantize(int set, uint32_t type);

/// The set's dequantizer for a type's number; null when the set or the type has none.
ingot_dequantize _Nullable ingot_find_dequantize(int set, uint32_t type);

/// Index of the first NaN or infinity, or `count`.
size_t ingot_first_non_finite(int set, const float *_Nonnull values, size_t count);

/// Index of the first of `count` half precision numbers, `stride` bytes apart, that is NaN or
/// infinite, or `count`.
size_t ingot_first_non_finite_half(
  const uint8_t *_Nonnull halves, size_t stride, size_t count);

/// Value of the environment variable INGOT_KERNELS; null when it is not set.
const char *_Nullable ingot_forced_kernels(void);

// MARK: Distributions

/// A row of logits, summed up: its distribution's normaliser and favourite.
typedef struct {
  /// The largest logit so far; start with minus infinity.
  double maximum;
  /// Σ exp(logit − maximum).
  double sum;
  /// Index of the largest logit, the first of equals; start with −1.
  int32_t top;
} ingot_logit_sum;

/// Two models' logits at one position, summed up tile by tile.
///
/// KL(p ‖ q) = cross / p.sum − ln Σ exp p + ln Σ exp q.
typedef struct {
  ingot_logit_sum p, q;
  /// Σ exp(p − p.maximum) (p − q).
  double cross;
} ingot_logit_pair;

/// Adds `count` logits, the first of which has index `first` in the vocabulary. `q` may be null:
/// then only `p` is summed up. A logit that is NaN or infinite makes a sum NaN or infinite.
void ingot_add_logits(
  int set, const float *_Nonnull p, const float *_Nullable q, size_t count, int32_t first,
  ingot_logit_pair *_Nonnull pair);

// MARK: Vectors

/// Inner products of two vectors, added up; start with zeros.
typedef struct {
  double aa, ab, bb;
  /// Square of the difference, summed, and the largest of its entries.
  double dd, largest_dd;
} ingot_vector_pair;

/// Adds the products of `count` entries.
void ingot_compare(
  int set, const float *_Nonnull a, const float *_Nonnull b, size_t count,
  ingot_vector_pair *_Nonnull result);

// MARK: Sums of pages

#define INGOT_PAGE_BYTES 4096
#define INGOT_PAGE_SUM_BYTES 64

/// Of each of `count` pages adds up the 64 rows of 64 bytes, as 8 little-endian words of 64 bits:
/// `sums` gets a row for each page. `set` is one that the processor runs.
void ingot_sum_pages(int set, const uint8_t *_Nonnull pages, size_t count, uint8_t *_Nonnull sums);

// MARK: Planes

/// Takes `count` words of 1, 2, 4 or 8 bytes apart: `planes` holds their lowest bytes, then the next
/// ones, `count` each. With `rotate`, words are rotated left by one bit first.
void ingot_split_planes(
  const uint8_t *_Nonnull words, size_t count, int word_bytes, int rotate,
  uint8_t *_Nonnull planes);

/// The inverse; one pointer for each plane.
void ingot_join_planes(
  const uint8_t *_Nonnull const *_Nonnull planes, size_t count, int word_bytes, int rotate,
  uint8_t *_Nonnull words);
