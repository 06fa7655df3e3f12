// The best low, middle and high weights of a sub-block (IQ1).
//
// Weights are sorted, and every pair of borders between the three is tried with every shift of the
// levels: no choice of codes explains more.

/// Sorted weights of a sub-block: values, and where they stood.
typedef struct {
  vfloat value[32];
  vint place[32];
} Sorted;

/// Whether entry `a` belongs behind entry `b`: larger, or as large and from further behind. With
/// the place as the second key a sort is stable.
INLINE vint belongs_behind(vfloat a, vint a_place, vfloat b, vint b_place) {
  return (a > b) | ((a == b) & (a_place > b_place));
}

/// Sorts by Batcher's merges of odd and even entries.
INLINE void sort_weights(const vfloat *x, int n, Sorted *sorted) {
  for (int i = 0; i < n; ++i) {
    sorted->value[i] = x[i];
    sorted->place[i] = splat_int(i);
  }
  for (int length = 1; length < n; length *= 2) {
    for (int gap = length; gap >= 1; gap /= 2) {
      for (int first = gap % length; first + gap < n; first += 2 * gap) {
        for (int i = first; i < first + gap && i + gap < n; ++i) {
          if (i / (2 * length) != (i + gap) / (2 * length)) continue;
          vfloat a = sorted->value[i], b = sorted->value[i + gap];
          vint at_a = sorted->place[i], at_b = sorted->place[i + gap];
          vint swap = belongs_behind(a, at_a, b, at_b);
          sorted->value[i] = choose(swap, b, a);
          sorted->value[i + gap] = choose(swap, a, b);
          sorted->place[i] = choose_int(swap, at_b, at_a);
          sorted->place[i + gap] = choose_int(swap, at_a, at_b);
        }
      }
    }
  }
}

/// The entry at each lane's own index.
INLINE vfloat gather(const vfloat *x, vint index) {
  vfloat picked;
  for (int lane = 0; lane < LANES; ++lane) picked[lane] = x[index[lane]][lane];
  return picked;
}

INLINE vint gather_int(const vint *x, vint index) {
  vint picked;
  for (int lane = 0; lane < LANES; ++lane) picked[lane] = x[index[lane]][lane];
  return picked;
}

/// The best borders: codes are 0 below `low`, 1 from there on, 2 from `high` on.
typedef struct {
  vfloat scale, score;
  vint low, high;
  /// IQ1_S: bit 0. IQ1_M: bit 1 for the first half, bit 0 for the second. Set where codes are
  /// shifted by −⅛.
  vint shift;
} Split;

INLINE void keep_better(Split *best, vfloat x_level, vfloat level2, int low, int high, int shift) {
  vint better = (level2 > 0.0f) & (x_level * x_level > best->score * level2);
  vfloat scale = x_level / level2;
  best->scale = choose(better, scale, best->scale);
  best->score = choose(better, scale * x_level, best->score);
  best->low = choose_int(better, splat_int(low), best->low);
  best->high = choose_int(better, splat_int(high), best->high);
  best->shift = choose_int(better, splat_int(shift), best->shift);
}

/// Whether any lane improves on `best`.
INLINE vint improves(const Split *best, vfloat x_level, vfloat level2) {
  return (level2 > 0.0f) & (x_level * x_level > best->score * level2);
}

INLINE Split no_split(vfloat scale) {
  return (Split){
    scale, splat(-LARGEST_FLOAT), splat_int(-1), splat_int(-1), splat_int(0)};
}

/// Borders of 32 weights that share a shift; `wx` and `w` are sorted.
INLINE Split split_32(const vfloat *wx, const vfloat *w, vfloat scale) {
  enum { N = 32 };
  const float plus[3] = {-0.875f, 0.125f, 1.125f}, minus[3] = {-1.125f, -0.125f, 0.875f};
  vfloat sum_x[N + 1], sum_w[N + 1];
  // What the codes above the upper border add, by border.
  vfloat x_plus[N + 1], x_minus[N + 1], w_plus[N + 1], w_minus[N + 1];
  sum_x[0] = sum_w[0] = splat(0);
  for (int i = 0; i < N; ++i) {
    sum_x[i + 1] = sum_x[i] + wx[i];
    sum_w[i + 1] = sum_w[i] + w[i];
  }
  for (int i = 0; i <= N; ++i) {
    x_plus[i] = (sum_x[N] - sum_x[i]) * plus[2];
    x_minus[i] = (sum_x[N] - sum_x[i]) * minus[2];
    w_plus[i] = (sum_w[N] - sum_w[i]) * plus[2] * plus[2];
    w_minus[i] = (sum_w[N] - sum_w[i]) * minus[2] * minus[2];
  }
  Split best = no_split(scale);
  for (int low = 0; low <= N; ++low) {
    vfloat below_x_plus = (sum_x[low] - sum_x[0]) * plus[0];
    vfloat below_x_minus = (sum_x[low] - sum_x[0]) * minus[0];
    vfloat below_w_plus = (sum_w[low] - sum_w[0]) * plus[0] * plus[0];
    vfloat below_w_minus = (sum_w[low] - sum_w[0]) * minus[0] * minus[0];
    for (int high = low; high <= N; ++high) {
      vfloat middle_x = (sum_x[high] - sum_x[low]) * plus[1];
      vfloat middle_w = (sum_w[high] - sum_w[low]) * plus[1] * plus[1];
      vfloat x_level_plus = below_x_plus + middle_x + x_plus[high];
      vfloat x_level_minus = below_x_minus - middle_x + x_minus[high];
      vfloat level2_plus = below_w_plus + middle_w + w_plus[high];
      vfloat level2_minus = below_w_minus + middle_w + w_minus[high];
      vint better = improves(&best, x_level_plus, level2_plus)
                    | improves(&best, x_level_minus, level2_minus);
      if (any(better)) {
        keep_better(&best, x_level_plus, level2_plus, low, high, 0);
        keep_better(&best, x_level_minus, level2_minus, low, high, 1);
      }
    }
  }
  return best;
}

/// Borders of 16 weights whose halves have a shift each; `wx` and `w` are sorted, `place` tells the
/// half.
INLINE Split split_16(const vfloat *wx, const vfloat *w, const vint *place, vfloat scale) {
  enum { N = 16 };
  const float plus2 = 1.125f, minus2 = 0.875f;
  // Differences of the squares of neighbouring levels.
  const float plus_low = 0.765625f - 0.015625f, plus_high = 0.015625f - 1.265625f;
  const float minus_low = 1.265625f - 0.015625f, minus_high = 0.015625f - 0.765625f;
  vfloat x[2][N + 1], w_low_plus[2][N + 1], w_low_minus[2][N + 1];
  vfloat w_high_plus[2][N + 1], w_high_minus[2][N + 1], sum_w[2][N + 1];
  vfloat total_plus[2], total_minus[2];
  for (int half = 0; half < 2; ++half) {
    x[half][0] = sum_w[half][0] = splat(0);
    for (int i = 0; i < N; ++i) {
      vint here = place[i] / (N / 2) == half;
      x[half][i + 1] = choose(here, x[half][i] + wx[i], x[half][i]);
      sum_w[half][i + 1] = choose(here, sum_w[half][i] + w[i], sum_w[half][i]);
    }
    vfloat all = sum_w[half][N];
    for (int i = 0; i <= N; ++i) {
      w_low_plus[half][i] = all * plus2 * plus2 + sum_w[half][i] * plus_low;
      w_low_minus[half][i] = all * minus2 * minus2 + sum_w[half][i] * minus_low;
      w_high_plus[half][i] = sum_w[half][i] * plus_high;
      w_high_minus[half][i] = sum_w[half][i] * minus_high;
    }
    total_plus[half] = x[half][N] * plus2;
    total_minus[half] = x[half][N] * minus2;
  }
  Split best = no_split(scale);
  for (int low = 0; low <= N; ++low) {
    for (int high = low; high <= N; ++high) {
      // First half, second half; shifted by +⅛, by −⅛.
      vfloat x_level[2][2], level2[2][2];
      for (int half = 0; half < 2; ++half) {
        vfloat both = x[half][low] + x[half][high];
        x_level[half][0] = total_plus[half] - both;
        x_level[half][1] = total_minus[half] - both;
        level2[half][0] = w_low_plus[half][low] + w_high_plus[half][high];
        level2[half][1] = w_low_minus[half][low] + w_high_minus[half][high];
      }
      vint better = splat_int(0);
      for (int shift = 0; shift < 4; ++shift) {
        better |= improves(
          &best, x_level[0][shift >> 1] + x_level[1][shift & 1],
          level2[0][shift >> 1] + level2[1][shift & 1]);
      }
      if (any(better)) {
        for (int shift = 0; shift < 4; ++shift) {
          keep_better(
            &best, x_level[0][shift >> 1] + x_level[1][shift & 1],
            level2[0][shift >> 1] + level2[1][shift & 1], low, high, shift);
        }
      }
    }
  }
  return best;
}
