// Adds up pages of memory, so that a hash of the sums sees every byte and costs next to nothing.
//
// A page is 64 rows of 64 bytes; the sums of a page are one row: 8 words of 64 bits, each the sum,
// modulo 2^64, of the words below each other.

#include <string.h>

#include "CKernels.h"

typedef uint64_t quad __attribute__((vector_size(32)));

static inline __attribute__((always_inline)) void add(quad *sum, const uint8_t *bytes) {
  quad value;
  memcpy(&value, bytes, sizeof value);
  *sum += value;
}

static inline __attribute__((always_inline)) void sum_pages(
  const uint8_t *pages, size_t count, uint8_t *sums) {
  for (; count > 0; count--, sums += INGOT_PAGE_SUM_BYTES) {
    quad a = {0}, b = {0}, c = {0}, d = {0};
    const uint8_t *end = pages + INGOT_PAGE_BYTES;
    // Two rows at a time, so that sums do not wait for each other.
#pragma clang loop unroll_count(8)
    for (; pages < end; pages += 2 * INGOT_PAGE_SUM_BYTES) {
      add(&a, pages);
      add(&b, pages + 32);
      add(&c, pages + 64);
      add(&d, pages + 96);
    }
    a += c;
    b += d;
    memcpy(sums, &a, 32);
    memcpy(sums + 32, &b, 32);
  }
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void sum_pages_avx2(
  const uint8_t *pages, size_t count, uint8_t *sums) {
  sum_pages(pages, count, sums);
}
#endif

void ingot_sum_pages(int set, const uint8_t *pages, size_t count, uint8_t *sums) {
#if defined(__x86_64__)
  if (set == INGOT_AVX2 || set == INGOT_AVX512) {
    sum_pages_avx2(pages, count, sums);
    return;
  }
#else
  (void)set;
#endif
  sum_pages(pages, count, sums);
}
