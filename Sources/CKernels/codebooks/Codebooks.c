// Neighbours of the places that are no points.

#include "Codebooks.h"

#include <pthread.h>
#include <stddef.h>

/// Lengths of all lists of a codebook together, as computed once: the lists fill these arrays.
enum {
  LISTED_IQ1 = 362352,
  LISTED_IQ2_XXS = 161136,
  LISTED_IQ2_XS = 230560,
  LISTED_IQ2_S = 100576,
  LISTED_IQ3_XXS = 34304,
  LISTED_IQ3_S = 36456,
};

static uint32_t entries_of_8[4][1 << 16];
static uint32_t entries_of_4[2][1 << 12];
static uint16_t lists_iq1[LISTED_IQ1] __attribute__((aligned(64)));
static uint16_t lists_iq2_xxs[LISTED_IQ2_XXS] __attribute__((aligned(64)));
static uint16_t lists_iq2_xs[LISTED_IQ2_XS] __attribute__((aligned(64)));
static uint16_t lists_iq2_s[LISTED_IQ2_S] __attribute__((aligned(64)));
static uint16_t lists_iq3_xxs[LISTED_IQ3_XXS] __attribute__((aligned(64)));
static uint16_t lists_iq3_s[LISTED_IQ3_S] __attribute__((aligned(64)));

typedef struct {
  const uint16_t *points;
  int count;
  /// Weights a point, bits a code.
  int weights, bits;
  /// How many smallest distances the neighbours have.
  int shells;
  uint32_t *entries;
  uint16_t *lists;
} Plan;

static const Plan plans[INGOT_BOOKS] = {
  [INGOT_BOOK_IQ1] = {ingot_points_iq1, 2048, 8, 2, 3, entries_of_8[0], lists_iq1},
  [INGOT_BOOK_IQ2_XXS] = {ingot_points_iq2_xxs, 256, 8, 2, 2, entries_of_8[1], lists_iq2_xxs},
  [INGOT_BOOK_IQ2_XS] = {ingot_points_iq2_xs, 512, 8, 2, 2, entries_of_8[2], lists_iq2_xs},
  [INGOT_BOOK_IQ2_S] = {ingot_points_iq2_s, 1024, 8, 2, 1, entries_of_8[3], lists_iq2_s},
  [INGOT_BOOK_IQ3_XXS] = {ingot_points_iq3_xxs, 256, 4, 3, 2, entries_of_4[0], lists_iq3_xxs},
  [INGOT_BOOK_IQ3_S] = {ingot_points_iq3_s, 512, 4, 3, 3, entries_of_4[1], lists_iq3_s},
};

/// Eight codes of 2 bits or four of 3 bits are at most 8 · 2² or 4 · 7² apart.
#define FARTHEST 196

static int distance(int a, int b, int weights, int bits) {
  int sum = 0, mask = (1 << bits) - 1;
  for (int i = 0; i < weights; ++i) {
    int difference = (a >> (bits * i) & mask) - (b >> (bits * i) & mask);
    sum += difference * difference;
  }
  return sum;
}

/// Whether the place has the code 3 of 2 bits, which never occurs.
static int has_unused_code(int place, int bits) {
  return bits == 2 && (place & place >> 1 & 0x5555);
}

/// Writes the neighbours of `place` to `list` and returns their number. `apart` gives the distance
/// of halves of places.
static int list_neighbours(
  const Plan *plan, int place, uint8_t apart[256][256], uint16_t *list) {
  int half = plan->weights * plan->bits / 2, mask = (1 << half) - 1;
  uint8_t distances[2048];
  int at_distance[FARTHEST + 1] = {0};
  for (int i = 0; i < plan->count; ++i) {
    int point = plan->points[i];
    distances[i] =
      (uint8_t)(apart[place & mask][point & mask] + apart[place >> half][point >> half]);
    ++at_distance[distances[i]];
  }
  int next[FARTHEST + 1], count = 0, limit = 0;
  for (int shells = 0; limit <= FARTHEST && shells < plan->shells; ++limit) {
    next[limit] = count;
    count += at_distance[limit];
    shells += at_distance[limit] > 0;
  }
  for (int i = 0; i < plan->count; ++i) {
    if (distances[i] < limit) list[next[distances[i]]++] = plan->points[i];
  }
  return count;
}

static void list_all_neighbours(const Plan *plan) {
  int half = plan->weights * plan->bits / 2;
  uint8_t apart[256][256];
  for (int a = 0; a < 1 << half; ++a) {
    for (int b = 0; b < 1 << half; ++b) {
      apart[a][b] = (uint8_t)distance(a, b, plan->weights / 2, plan->bits);
    }
  }
  uint32_t none = UINT32_MAX;
  for (int place = 0; place < 1 << 2 * half; ++place) plan->entries[place] = none;
  for (int i = 0; i < plan->count; ++i) plan->entries[plan->points[i]] = (uint32_t)i;
  int width = plan->weights == 8 ? 16 : 8;
  uint32_t start = 0;
  for (int place = 0; place < 1 << 2 * half; ++place) {
    if (plan->entries[place] != none || has_unused_code(place, plan->bits)) continue;
    uint16_t *list = plan->lists + start;
    int count = list_neighbours(plan, place, apart, list);
    plan->entries[place] = 1u << 31 | (uint32_t)count << 16 | start / 8;
    int filled = (count + width - 1) / width * width;
    for (int i = count; i < filled; ++i) list[i] = list[0];
    start += (uint32_t)filled;
  }
}

static void list_iq1(void) { list_all_neighbours(&plans[INGOT_BOOK_IQ1]); }
static void list_iq2_xxs(void) { list_all_neighbours(&plans[INGOT_BOOK_IQ2_XXS]); }
static void list_iq2_xs(void) { list_all_neighbours(&plans[INGOT_BOOK_IQ2_XS]); }
static void list_iq2_s(void) { list_all_neighbours(&plans[INGOT_BOOK_IQ2_S]); }
static void list_iq3_xxs(void) { list_all_neighbours(&plans[INGOT_BOOK_IQ3_XXS]); }
static void list_iq3_s(void) { list_all_neighbours(&plans[INGOT_BOOK_IQ3_S]); }

static const ingot_codebook books[INGOT_BOOKS] = {
  [INGOT_BOOK_IQ1] = {ingot_points_iq1, entries_of_8[0], lists_iq1},
  [INGOT_BOOK_IQ2_XXS] = {ingot_points_iq2_xxs, entries_of_8[1], lists_iq2_xxs},
  [INGOT_BOOK_IQ2_XS] = {ingot_points_iq2_xs, entries_of_8[2], lists_iq2_xs},
  [INGOT_BOOK_IQ2_S] = {ingot_points_iq2_s, entries_of_8[3], lists_iq2_s},
  [INGOT_BOOK_IQ3_XXS] = {ingot_points_iq3_xxs, entries_of_4[0], lists_iq3_xxs},
  [INGOT_BOOK_IQ3_S] = {ingot_points_iq3_s, entries_of_4[1], lists_iq3_s},
};

const ingot_codebook *ingot_find_codebook(int book) {
  static pthread_once_t once[INGOT_BOOKS] = {
    PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT,
    PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT,
  };
  static void (*const list[INGOT_BOOKS])(void) = {
    [INGOT_BOOK_IQ1] = list_iq1,         [INGOT_BOOK_IQ2_XXS] = list_iq2_xxs,
    [INGOT_BOOK_IQ2_XS] = list_iq2_xs,   [INGOT_BOOK_IQ2_S] = list_iq2_s,
    [INGOT_BOOK_IQ3_XXS] = list_iq3_xxs, [INGOT_BOOK_IQ3_S] = list_iq3_s,
  };
  pthread_once(&once[book], list[book]);
  return &books[book];
}
