// Takes words apart into planes of bytes, and puts them together again, for packed files.
//
// A plane holds the bytes of one position of all words. Where `rotate` is set, words are first
// rotated left by one bit: the sign of a float goes to the lowest place, and for BF16 and F32 the
// exponent fills the highest byte.

#include <string.h>

#include "CKernels.h"

#define WORDS(BITS)                                                                       \
  static inline uint##BITS##_t rotated_left_##BITS(uint##BITS##_t word) {                 \
    return (uint##BITS##_t)(word << 1 | word >> (BITS - 1));                              \
  }                                                                                       \
  static inline uint##BITS##_t rotated_right_##BITS(uint##BITS##_t word) {                \
    return (uint##BITS##_t)(word >> 1 | word << (BITS - 1));                              \
  }

WORDS(16)
WORDS(32)
WORDS(64)

// The compiler makes vectors of these loops where `rotate` is a constant.
#define SPLIT16(ROTATED)                                 \
  for (size_t i = 0; i < count; i++) {                   \
    uint16_t word;                                       \
    memcpy(&word, words + 2 * i, 2);                     \
    word = ROTATED(word);                                \
    low[i] = (uint8_t)word;                              \
    high[i] = (uint8_t)(word >> 8);                      \
  }

#define JOIN16(ROTATED)                                            \
  for (size_t i = 0; i < count; i++) {                             \
    uint16_t word = ROTATED((uint16_t)(low[i] | high[i] << 8));    \
    memcpy(words + 2 * i, &word, 2);                               \
  }

#define SPLIT32(ROTATED)                                 \
  for (size_t i = 0; i < count; i++) {                   \
    uint32_t word;                                       \
    memcpy(&word, words + 4 * i, 4);                     \
    word = ROTATED(word);                                \
    p0[i] = (uint8_t)word;                               \
    p1[i] = (uint8_t)(word >> 8);                        \
    p2[i] = (uint8_t)(word >> 16);                       \
    p3[i] = (uint8_t)(word >> 24);                       \
  }

#define JOIN32(ROTATED)                                                                \
  for (size_t i = 0; i < count; i++) {                                                 \
    uint32_t word = ROTATED(                                                           \
      (uint32_t)p0[i] | (uint32_t)p1[i] << 8 | (uint32_t)p2[i] << 16 | (uint32_t)p3[i] << 24); \
    memcpy(words + 4 * i, &word, 4);                                                   \
  }

#define SAME(word) (word)

static void split16(const uint8_t *words, size_t count, int rotate, uint8_t *planes) {
  uint8_t *restrict low = planes;
  uint8_t *restrict high = planes + count;
  if (rotate) {
    SPLIT16(rotated_left_16)
  } else {
    SPLIT16(SAME)
  }
}

static void join16(
  const uint8_t *restrict low, const uint8_t *restrict high, size_t count, int rotate,
  uint8_t *restrict words) {
  if (rotate) {
    JOIN16(rotated_right_16)
  } else {
    JOIN16(SAME)
  }
}

static void split32(const uint8_t *words, size_t count, int rotate, uint8_t *planes) {
  uint8_t *restrict p0 = planes;
  uint8_t *restrict p1 = planes + count;
  uint8_t *restrict p2 = planes + 2 * count;
  uint8_t *restrict p3 = planes + 3 * count;
  if (rotate) {
    SPLIT32(rotated_left_32)
  } else {
    SPLIT32(SAME)
  }
}

static void join32(
  const uint8_t *restrict p0, const uint8_t *restrict p1, const uint8_t *restrict p2,
  const uint8_t *restrict p3, size_t count, int rotate, uint8_t *restrict words) {
  if (rotate) {
    JOIN32(rotated_right_32)
  } else {
    JOIN32(SAME)
  }
}

void ingot_split_planes(
  const uint8_t *words, size_t count, int word_bytes, int rotate, uint8_t *planes) {
  switch (word_bytes) {
  case 1: memcpy(planes, words, count); return;
  case 2: split16(words, count, rotate, planes); return;
  case 4: split32(words, count, rotate, planes); return;
  case 8:
    for (size_t i = 0; i < count; i++) {
      uint64_t word;
      memcpy(&word, words + 8 * i, 8);
      if (rotate) word = rotated_left_64(word);
      for (int plane = 0; plane < 8; plane++) planes[plane * count + i] = (uint8_t)(word >> 8 * plane);
    }
  }
}

void ingot_join_planes(
  const uint8_t *const *planes, size_t count, int word_bytes, int rotate, uint8_t *words) {
  switch (word_bytes) {
  case 1: memcpy(words, planes[0], count); return;
  case 2: join16(planes[0], planes[1], count, rotate, words); return;
  case 4: join32(planes[0], planes[1], planes[2], planes[3], count, rotate, words); return;
  case 8:
    for (size_t i = 0; i < count; i++) {
      uint64_t word = 0;
      for (int plane = 0; plane < 8; plane++) word |= (uint64_t)planes[plane][i] << 8 * plane;
      if (rotate) word = rotated_right_64(word);
      memcpy(words + 8 * i, &word, 8);
    }
  }
}
