// The search that IQ2 and IQ3 share: magnitudes ≈ scale · levels of points of a codebook.
//
// A sub-block of 16 or 32 weights is cut into groups of 8 or 4, each of which becomes one point. For
// a number of tries the reference takes the nearest code of every weight; where that place is no
// point of the codebook it takes the best of the points near it. The try whose weighted least squares
// scale explains most wins.

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

/// Marks a chosen point that is not the place it was chosen for.
#define MOVED 0x80000000u

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

// MARK: Tries that share a place
//
// Σ w · (s · level − x)² = s · (s · Q − P) + constant, with Q = Σ w · level² and P = 2 · Σ w · x · level:
// which of two points is nearer is decided by the sign of a function that is linear in the scale s. So
// the neighbours of a place need P and Q once, however many tries lead to that place, and a point that
// is nearest at the first and at the last of them is nearest at those between. This arithmetic rounds
// differently from the reference's; where two points come closer than both can be wrong, the
// reference's own sum decides.

/// The longest list of neighbours, in vectors of 16.
#define MOST_PARTS 19

/// One group of 8 weights of one block.
typedef struct {
  Terms x, w;
  /// Terms of P and of Q.
  float p[32] __attribute__((aligned(64)));
  float q[32] __attribute__((aligned(64)));
  /// Values of s · Q − P that are closer than this are not told apart.
  float doubt;
  /// Nothing overflows, and nothing that counts underflows.
  bool usual;
} GridGroup;

/// `x2` is Σ w · x²; the scales are those of the first and of the last try.
INLINE GridGroup grid_group(
  const float *x, const float *w, float total_w, float x2, float first_scale, float last_scale) {
  GridGroup group;
  group.x = spread(x, 8);
  group.w = spread(w, 8);
  float16 levels = odd_levels(8);
  for (int i = 0; i < 2; ++i) {
    float16 w_level = group.w.part[i] * levels;
    float16 p = 2.0f * group.x.part[i] * w_level, q = w_level * levels;
    memcpy(group.p + 16 * i, &p, sizeof p);
    memcpy(group.q + 16 * i, &q, sizeof q);
  }
  // Both sums are off by less than 50 roundings of s · Q + X / s, with the greatest Q there can be;
  // twice as much for two points, and as much again for safety.
  float greatest_q = total_w * 25.0f;
  group.doubt = 2e-5f * (first_scale * greatest_q + x2 / last_scale);
  group.usual = x2 >= 1e-20f && x2 <= 1e20f && first_scale <= 1e6f
                && first_scale * first_scale * greatest_q <= 1e20f;
  return group;
}

/// Bits of the candidates in a part of 16, of which `count` are left.
INLINE uint32_t part_bits(int count) { return count >= 16 ? 0xFFFFu : (1u << count) - 1u; }

/// Position of the nearest of `count` points, or −1 where that is in doubt.
INLINE int nearest_if_certain(
  const float16 *p, const float16 *q, int count, float scale, float doubt) {
  float16 least = scale * q[0] - p[0];
  for (int part = 1; 16 * part < count; ++part) {
    float16 v = scale * q[part] - p[part];
    least = v < least ? v : least;
  }
  float16 limit = (float16)(least_of_16(least) + doubt);
  int position = -1;
  for (int part = 0; 16 * part < count; ++part) {
    float16 v = scale * q[part] - p[part];
    uint32_t bits = mask_bits16(v <= limit) & part_bits(count - 16 * part);
    if (!bits) continue;
    if (position >= 0 || (bits & (bits - 1))) return -1;
    position = 16 * part + __builtin_ctz(bits);
  }
  return position;
}

/// Replaces the place that `count` tries share, whose `entry` says that it is no point. Places and
/// scales of tries are LANES apart.
INLINE void choose_points(
  const ingot_codebook *book, uint32_t entry, const GridGroup *group, const float *scales,
  int count, uint32_t *places) {
  const uint16_t *list = book->lists + 8 * (entry & 0xFFFFu);
  int points = (int)(entry >> 16 & 0x7FFFu);
  float16 p[MOST_PARTS], q[MOST_PARTS];
  bool shared = count > 1 && group->usual;
  int first = -1, last = -1;
  if (shared) {
    for (int part = 0; 16 * part < points; ++part) {
      p[part] = sums_of_8(group->p, list + 16 * part);
      q[part] = sums_of_8(group->q, list + 16 * part);
    }
    first = nearest_if_certain(p, q, points, scales[0], group->doubt);
    last = nearest_if_certain(p, q, points, scales[LANES * (count - 1)], group->doubt);
    if (first >= 0 && first == last) {
      for (int t = 0; t < count; ++t) places[LANES * t] = MOVED | list[first];
      return;
    }
  }
  for (int t = 0; t < count; ++t) {
    float scale = scales[LANES * t];
    int position = -1;
    if (t == 0) {
      position = first;
    } else if (t == count - 1) {
      position = last;
    } else if (shared) {
      position = nearest_if_certain(p, q, points, scale, group->doubt);
    }
    uint32_t point =
      position >= 0
        ? list[position]
        : nearest_point(book, entry, 8, group->x, group->w, odd_levels(8), scale);
    places[LANES * t] = MOVED | point;
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

/// Magnitudes of groups of 8, and their signs, a bit each; with `even`, the number of minus signs is
/// made even by turning the weight that matters least, and the last sign is left out.
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
