#pragma once
// Codebooks: the points that the types IQ1, IQ2 and IQ3 allow for 8 or 4 consecutive weights, and
// for everything else the points near it.
//
// A place is one code per weight, packed from the lowest bits, 8 × 2 or 4 × 3. With 2 bits only the
// codes 0 to 2 occur. Code l stands for the number 2·l + 1 during a search, so places lie on a
// cubic lattice and distances are sums of squared differences of codes.
//
//     entry of a place    bit 31 clear: the place is a point, and this is its number
//                         bit 31 set:   bits 16–30 neighbours, bits 0–15 start of their list / 8
//
// The neighbours of a place are the points at its 1, 2 or 3 smallest distances: nearest first, and
// in the order of their numbers where equally far. A list is filled up to a multiple of 8 or 16
// with its first neighbour. Everything but the points is computed at first use.

#include <stdint.h>

typedef struct {
  /// The places that are points, ascending: number `i` is `points[i]`.
  const uint16_t *points;
  /// By place.
  const uint32_t *entries;
  /// The lists of neighbours, as places.
  const uint16_t *lists;
} ingot_codebook;

enum {
  INGOT_BOOK_IQ1,
  INGOT_BOOK_IQ2_XXS,
  INGOT_BOOK_IQ2_XS,
  INGOT_BOOK_IQ2_S,
  INGOT_BOOK_IQ3_XXS,
  INGOT_BOOK_IQ3_S,
  INGOT_BOOKS,
};

extern const uint16_t ingot_points_iq1[2048];
extern const uint16_t ingot_points_iq2_xxs[256];
extern const uint16_t ingot_points_iq2_xs[512];
extern const uint16_t ingot_points_iq2_s[1024];
extern const uint16_t ingot_points_iq3_xxs[256];
extern const uint16_t ingot_points_iq3_s[512];

/// A codebook with its neighbours, which the first call computes; any thread may call.
const ingot_codebook *ingot_find_codebook(int book);
