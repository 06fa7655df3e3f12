// The search that IQ2 and IQ3 share: magnitudes ≈ scale · levels of points of a codebook.
//
// A sub-block of 16 or 32 weights is cut into groups of 8 or 4, each of which becomes one point.
// For a number of tries the reference takes the nearest code of every weight; where that place is
// no point of the codebook it takes the best of the points near it. The try whose weighted least
// squares scale explains most wins.

typedef struct {
  /// Of the codebook: weights a point, bits a code.
  int weights, bits;
  /// Weights a sub-block.
  int n;
  /// Steps are (top level + try · step) / greatest, tries from −(tries − 1) / 2 on.
  int tries;
  float step;
  /// Chooses points once more, with the scale found: for all groups, or those off the codebook.
  enum { AGAIN_WHERE_MOVED, AGAIN_ALL_IF_MOVED, AGAIN_ALWAYS } again;
} GridPlan;

#define MOST_TRIES 31
#define MOST_GROUPS 8

typedef struct {
  vfloat scale;
  /// One per group.
  vbits place[MOST_GROUPS];
  /// The scale came out negative and was turned around: so must be the signs.
  vint turned;
} GridFound;

/// Nearest codes of a group's magnitudes, packed.
INLINE vbits nearest_place(const vfloat *x, GridPlan plan, vfloat step) {
  vbits place = splat_bits(0);
  int top = plan.bits == 2 ? 2 : 7;
  for (int i = 0; i < plan.weights; ++i) {
    vint code = clamp_int(nearest(0.5f * (step * x[i] - 1.0f)), 0, top);
    place |= (vbits)code << (uint32_t)(plan.bits * i);
  }
  return place;
}

/// Level of weight `i` of a place.
INLINE vfloat level_at(vbits place, int i, GridPlan plan) {
  vbits code = place >> (uint32_t)(plan.bits * i) & ((1u << plan.bits) - 1u);
  return to_float((vint)(2u * code + 1u));
}

typedef struct {
  vfloat x_level, level2;
} GridSums;

INLINE GridSums grid_sums(
  const vfloat *wx, const vfloat *w, const vbits *place, GridPlan plan) {
  GridSums sums = {splat(0), splat(0)};
  for (int i = 0; i < plan.n; ++i) {
    vfloat level = level_at(place[i / plan.weights], i % plan.weights, plan);
    sums.x_level += wx[i] * level;
    sums.level2 += w[i] * level * level;
  }
  return sums;
}

/// Writes `count` entries of every lane to its row; `count` is a multiple of 16.
INLINE void store_rows(const vfloat *column, int count, float rows[LANES][32]) {
  for (int first = 0; first < count; first += LANES) {
    vbits square[LANES];
#pragma clang loop unroll(full)
    for (int i = 0; i < LANES; ++i) square[i] = as_bits(column[first + i]);
    transpose(square);
#pragma clang loop unroll(full)
    for (int lane = 0; lane < LANES; ++lane) {
      memcpy(&rows[lane][first], &square[lane], sizeof square[lane]);
    }
  }
}

/// `x` are magnitudes (one a group may be negative), `greatest` is their greatest and positive.
INLINE GridFound grid_search(
  const ingot_codebook *book, const vfloat *x, const vfloat *w, vfloat greatest,
  vfloat first_scale, GridPlan plan) {
  const int groups = plan.n / plan.weights, most = plan.tries;
  vfloat wx[32], root[32];
  float scale[MOST_TRIES][LANES] __attribute__((aligned(64)));
  uint32_t place[MOST_GROUPS][MOST_TRIES][LANES] __attribute__((aligned(64)));
  float x_rows[LANES][32] __attribute__((aligned(64)));
  float w_rows[LANES][32] __attribute__((aligned(64)));
  for (int i = 0; i < plan.n; ++i) {
    wx[i] = w[i] * x[i];
    root[i] = square_root(w[i]);
  }
  store_rows(x, plan.n, x_rows);
  store_rows(root, plan.n, w_rows);

  int top = plan.bits == 2 ? 5 : 15;
  for (int t = 0; t < most; ++t) {
    vfloat step = ((float)top + (float)(t - (most - 1) / 2) * plan.step) / greatest;
    vfloat this_scale = 1.0f / step;
    memcpy(scale[t], &this_scale, sizeof this_scale);
    for (int k = 0; k < groups; ++k) {
      vbits nearest = nearest_place(x + plan.weights * k, plan, step);
      memcpy(place[k][t], &nearest, sizeof nearest);
    }
  }

  vfloat total_w[MOST_GROUPS], x2[MOST_GROUPS];
  for (int k = 0; k < groups; ++k) {
    total_w[k] = x2[k] = splat(0);
    for (int i = plan.weights * k; i < plan.weights * (k + 1); ++i) {
      total_w[k] += root[i];
      x2[k] += root[i] * x[i] * x[i];
    }
  }
  for (int lane = 0; lane < LANES; ++lane) {
    for (int k = 0; k < groups; ++k) {
      const float *xs = x_rows[lane] + plan.weights * k, *ws = w_rows[lane] + plan.weights * k;
      if (plan.weights == 8) {
        GridGroup group = grid_group(
          xs, ws, total_w[k][lane], x2[k][lane], scale[0][lane], scale[most - 1][lane]);
        for (int t = 0, end; t < most; t = end) {
          uint32_t shared = place[k][t][lane], entry = book->entries[shared];
          for (end = t + 1; end < most && place[k][end][lane] == shared;) ++end;
          if (entry & MOVED) {
            choose_points(book, entry, &group, &scale[t][lane], end - t, &place[k][t][lane]);
          }
        }
      } else {
        // The lists are so short that nothing is gained by looking at several tries.
        Terms x_terms = spread(xs, 4), w_terms = spread(ws, 4);
        for (int t = 0; t < most; ++t) {
          uint32_t entry = book->entries[place[k][t][lane]];
          if (!(entry & MOVED)) continue;
          uint32_t point =
            nearest_point(book, entry, 4, x_terms, w_terms, odd_levels(4), scale[t][lane]);
          place[k][t][lane] = MOVED | point;
        }
      }
    }
  }

  GridFound found;
  found.scale = first_scale;
  vfloat best = splat(0);
  for (int k = 0; k < groups; ++k) {
    found.place[k] = splat_bits(plan.again == AGAIN_ALL_IF_MOVED ? MOVED : 0);
  }
  for (int t = 0; t < most; ++t) {
    vbits chosen[MOST_GROUPS];
    for (int k = 0; k < groups; ++k) memcpy(&chosen[k], place[k][t], sizeof chosen[k]);
    GridSums sums = grid_sums(wx, w, chosen, plan);
    vint better = (sums.level2 > 0.0f) & (sums.x_level * sums.x_level > best * sums.level2);
    vfloat this_scale = sums.x_level / sums.level2;
    found.scale = choose(better, this_scale, found.scale);
    best = choose(better, this_scale * sums.x_level, best);
    for (int k = 0; k < groups; ++k) {
      found.place[k] = choose_bits(better, chosen[k], found.place[k]);
    }
  }

  vint moved = splat_int(plan.again == AGAIN_ALWAYS ? -1 : 0);
  for (int k = 0; k < groups; ++k) moved |= (vint)found.place[k] < 0;
  moved &= found.scale > 0.0f;
  vfloat step = 1.0f / found.scale;
  for (int k = 0; k < groups; ++k) {
    vint again = moved;
    if (plan.again == AGAIN_WHERE_MOVED) again &= (vint)found.place[k] < 0;
    vbits near = nearest_place(x + plan.weights * k, plan, step);
    for (int lane = 0; lane < LANES; ++lane) {
      uint32_t entry = book->entries[near[lane]];
      if (!again[lane] || !(entry & MOVED)) continue;
      Terms xs = spread(x_rows[lane] + plan.weights * k, plan.weights);
      Terms ws = spread(w_rows[lane] + plan.weights * k, plan.weights);
      near[lane] =
        nearest_point(
        book, entry, plan.weights, xs, ws, odd_levels(plan.weights), found.scale[lane]);
    }
    found.place[k] = choose_bits(again, near, found.place[k]) & ~MOVED;
  }
  GridSums sums = grid_sums(wx, w, found.place, plan);
  found.scale =
    choose(moved & (sums.level2 > 0.0f), sums.x_level / sums.level2, found.scale);
  found.turned = found.scale < 0.0f;
  found.scale = choose(found.turned, -found.scale, found.scale);
  return found;
}

/// Magnitudes of groups of 8, and their signs, a bit each; with `even`, the number of minus signs
/// is made even by turning the weight that matters least, and the last sign is left out.
INLINE void split_signs(
  const vfloat *x, const vfloat *w, int n, bool even, vfloat *size, vbits *signs) {
  for (int k = 0; k < n / 8; ++k) {
    vbits sign = splat_bits(0), odd = splat_bits(0);
    vfloat least = splat(0);
    vbits least_bit = splat_bits(1);
    for (int i = 0; i < 8; ++i) {
      vfloat xi = x[8 * k + i];
      vint plus = xi >= 0.0f;
      size[8 * k + i] = choose(plus, xi, -xi);
      vbits bit = splat_bits(1u << i) & (vbits)~plus;
      sign |= bit;
      odd ^= (vbits)~plus;
      vfloat matter = w[8 * k + i] * xi * xi;
      vint less = matter < least;
      if (i == 0) {
        least = matter;
      } else {
        least = choose(less, matter, least);
        least_bit = choose_bits(less, splat_bits(1u << i), least_bit);
      }
    }
    if (even) {
      vbits turn = least_bit & odd;
      sign = (sign ^ turn) & 127u;
      for (int i = 0; i < 8; ++i) {
        vint here = (turn & (1u << i)) != 0u;
        size[8 * k + i] = choose(here, -size[8 * k + i], size[8 * k + i]);
      }
    }
    signs[k] = sign;
  }
}

/// The greatest entry as a chain of comparisons gives it: from the first on, `a > b ? a : b`.
INLINE vfloat greatest_of(const vfloat *x, int n) {
  vfloat greatest = x[0];
  for (int i = 1; i < n; ++i) greatest = larger(greatest, x[i]);
  return greatest;
}

/// Numbers of the points at `place`, per lane; 0 where the place is no point.
INLINE vbits point_numbers(const ingot_codebook *book, vbits place, vint wanted) {
  vbits number = splat_bits(0);
  for (int lane = 0; lane < LANES; ++lane) {
    if (wanted[lane]) number[lane] = book->entries[place[lane]] & 0xFFFFu;
  }
  return number;
}

/// Code of a sub-block's scale: scale ≈ unit · (2 · code + 1).
INLINE vbits odd_scale_code(vfloat scale, vfloat per_unit, int top) {
  return (vbits)clamp_int(nearest(0.5f * (per_unit * scale - 1.0f)), 0, top);
}
