// IQ1_S and IQ1_M: 256 weights in 50 and 56 bytes. Points of 8 codes −1, 0, 1.
//
//     IQ1_S   0   2  d   F16
//             2  32  qs  low 8 bits of the numbers of points
//            34  16  qh  16 bits per sub-block of 32: high 3 bits of 4 numbers, 3 bits scale, shift
//     IQ1_M   0  32  qs  low 8 bits of the numbers of points
//            32  16  qh  per sub-block of 16, for its two points: high 3 bits, shift
//            48   8  scales  4 × 16 bits: 4 scales of 3 bits, then 4 bits of d (F16, lowest first)
//
// weight = d · (2 · scale + 1) · (code ± ⅛); the sign is − where the shift's bit is set.
//
// The best three groups of a sub-block (low, middle, high) are found exactly: weights are sorted, and
// every pair of borders is tried. Then what is no point of the codebook becomes one.

/// Sorted weights of a sub-block: values, and where they stood.
typedef struct {
  vfloat value[32];
  vint place[32];
} Sorted;

/// Whether entry `a` belongs behind entry `b`: larger, or as large and from further behind. With the
/// place as the second key a sort is stable.
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

/// A sub-block: its scale, the numbers of its points, its shifts as in `Split`.
typedef struct {
  vfloat scale;
  vbits place[4];
  vint shift;
  vint empty;
} Ternary;

/// ⅛ or −⅛ for group `k` of a sub-block of `n` weights.
INLINE vfloat shift_of(vint shift, int k, int n) {
  int bit = n == 16 && k == 0 ? 2 : 1;
  return choose((shift & bit) != 0, splat(-0.125f), splat(0.125f));
}

INLINE vfloat ternary_level(vbits place, int i, vfloat shift) {
  return to_float((vint)(place >> (2u * (uint32_t)i) & 3u) - 1) + shift;
}

INLINE Ternary ternary_search(
  const ingot_codebook *book, const vfloat *x, const vfloat *w, int n, float least) {
  Ternary found;
  vfloat greatest = magnitude(x[0]);
  for (int i = 1; i < n; ++i) greatest = larger(greatest, magnitude(x[i]));
  found.empty = greatest < least;

  Sorted sorted;
  sort_weights(x, n, &sorted);
  vfloat wx[32], wx_sorted[32], w_sorted[32];
  for (int i = 0; i < n; ++i) wx[i] = w[i] * x[i];
  for (int i = 0; i < n; ++i) {
    wx_sorted[i] = gather(wx, sorted.place[i]);
    w_sorted[i] = gather(w, sorted.place[i]);
  }
  Split split = n == 32 ? split_32(wx_sorted, w_sorted, greatest)
                        : split_16(wx_sorted, w_sorted, sorted.place, greatest);
  found.empty |= split.low < 0;

  // Codes by comparison with the first weights of the middle and of the upper group.
  vint low = clamp_int(split.low, 0, n), high = clamp_int(split.high, 0, n);
  vint no_low = low >= n, no_high = high >= n;
  low = clamp_int(low, 0, n - 1);
  high = clamp_int(high, 0, n - 1);
  vfloat low_value = gather(sorted.value, low), high_value = gather(sorted.value, high);
  vint low_place = gather_int(sorted.place, low), high_place = gather_int(sorted.place, high);
  found.scale = split.scale;
  vint turned = found.scale < 0.0f;
  found.scale = choose(turned, -found.scale, found.scale);
  found.shift = choose_int(turned, split.shift ^ (n == 16 ? 3 : 1), split.shift);
  for (int k = 0; k < n / 8; ++k) {
    vbits place = splat_bits(0);
    for (int i = 0; i < 8; ++i) {
      vint at = splat_int(8 * k + i);
      vfloat xi = x[8 * k + i];
      // A true lane of a mask is −1.
      vint below_low = belongs_behind(low_value, low_place, xi, at) | no_low;
      vint below_high = belongs_behind(high_value, high_place, xi, at) | no_high;
      vint code = 2 + below_low + below_high;
      code = choose_int(turned, 2 - code, code);
      place |= (vbits)code << (2u * (uint32_t)i);
    }
    found.place[k] = place;
  }

  float x_rows[LANES][32] __attribute__((aligned(64)));
  float w_rows[LANES][32] __attribute__((aligned(64)));
  store_rows(x, n, x_rows);
  store_rows(w, n, w_rows);
  vint moved = splat_int(0);
  for (int lane = 0; lane < LANES; ++lane) {
    if (found.empty[lane]) continue;
    for (int k = 0; k < n / 8; ++k) {
      uint32_t entry = book->entries[found.place[k][lane]];
      if (!(entry & 0x80000000u)) continue;
      float shift = shift_of(found.shift, k, n)[lane];
      float a = -1.0f + shift, b = shift, c = 1.0f + shift;
      float16 levels = {a, b, c, c, a, b, c, c, a, b, c, c, a, b, c, c};
      found.place[k][lane] = nearest_point(
        book, entry, 8, spread(x_rows[lane] + 8 * k, 8), spread(w_rows[lane] + 8 * k, 8), levels,
        found.scale[lane]);
      moved[lane] = -1;
    }
  }
  if (any(moved)) {
    vfloat x_level = splat(0), level2 = splat(0);
    for (int i = 0; i < n; ++i) {
      vfloat level =
        ternary_level(found.place[i / 8], i % 8, shift_of(found.shift, i / 8, n));
      x_level += w[i] * level * x[i];
      level2 += w[i] * level * level;
    }
    found.scale =
      choose(moved & (x_level > 0.0f) & (level2 > 0.0f), x_level / level2, found.scale);
  }
  found.scale = choose(found.empty, splat(0), found.scale);
  found.shift = choose_int(found.empty, splat_int(0), found.shift);
  return found;
}

INLINE void quantize_iq1_s_group(const ingot_codebook *book, const Group *group) {
  vfloat x[256], q[256];
  vbits bytes[50], high[8];
  Ternary found[8];
  load_lanes(group->weights, 256, x);
  load_lanes(group->importance, 256, q);
  vfloat sigma2 = 2.0f * sum_of_squares(x, 256) / 256.0f;
  vfloat greatest_scale = splat(0);
  for (int j = 0; j < 8; ++j) {
    vfloat w[32];
    importance_weights(x + 32 * j, q + 32 * j, 32, sigma2, w);
    found[j] = ternary_search(book, x + 32 * j, w, 32, 1e-12f);
    greatest_scale = larger(greatest_scale, found[j].scale);
    high[j] = splat_bits(0);
    for (int k = 0; k < 4; ++k) {
      vbits number = point_numbers(book, found[j].place[k], ~found[j].empty);
      bytes[2 + 4 * j + k] = number & 255u;
      high[j] |= number >> 8 << (3u * (uint32_t)k);
    }
  }
  vint scaled = greatest_scale != 0.0f;
  vfloat unit = greatest_scale / 15.0f;
  vfloat per_unit = 1.0f / unit;
  vbits d = to_half(unit * 1.125f) & (vbits)scaled;
  bytes[0] = d;
  bytes[1] = d >> 8;
  for (int j = 0; j < 8; ++j) {
    vbits code = odd_scale_code(found[j].scale, per_unit, 7) | (vbits)found[j].shift << 3;
    high[j] |= (code & (vbits)scaled) << 12;
    bytes[34 + 2 * j] = high[j];
    bytes[35 + 2 * j] = high[j] >> 8;
  }
  store_lanes(bytes, 50, group->blocks);
}

INLINE void quantize_iq1_m_group(const ingot_codebook *book, const Group *group) {
  vfloat x[256], q[256], w[256];
  vbits bytes[56], words[4], scale_code[16];
  Ternary found[16];
  load_lanes(group->weights, 256, x);
  load_lanes(group->importance, 256, q);
  vfloat sigma2 = 2.0f * sum_of_squares(x, 256) / 256.0f;
  importance_weights(x, q, 256, sigma2, w);
  vfloat greatest_scale = splat(0);
  for (int j = 0; j < 16; ++j) {
    found[j] = ternary_search(book, x + 16 * j, w + 16 * j, 16, 1e-7f);
    greatest_scale = larger(greatest_scale, found[j].scale);
    vbits number[2];
    for (int k = 0; k < 2; ++k) {
      number[k] = point_numbers(book, found[j].place[k], ~found[j].empty);
      // An empty sub-block counts as one of points 0 from here on.
      found[j].place[k] = choose_bits(found[j].empty, splat_bits(0), found[j].place[k]);
      bytes[2 * j + k] = number[k] & 255u;
    }
    bytes[32 + j] = number[0] >> 8 | number[1] >> 8 << 4;
  }
  vint scaled = greatest_scale != 0.0f;
  vfloat unit = greatest_scale / 15.0f;
  vfloat per_unit = 1.0f / unit;
  vfloat x_level = splat(0), level2 = splat(0);
  for (int j = 0; j < 16; ++j) {
    scale_code[j] = odd_scale_code(found[j].scale, per_unit, 7);
    vfloat scale = to_float((vint)(2u * scale_code[j] + 1u));
    for (int i = 0; i < 16; ++i) {
      vfloat level =
        ternary_level(found[j].place[i / 8], i % 8, shift_of(found[j].shift, i / 8, 16));
      level = level * scale;
      x_level += w[16 * j + i] * level * x[16 * j + i];
      level2 += w[16 * j + i] * level * level;
    }
    vbits first = (vbits)found[j].shift >> 1, second = (vbits)found[j].shift & 1u;
    bytes[32 + j] |= (first << 3 | second << 7) & (vbits)scaled;
  }
  unit = choose(level2 > 0.0f, x_level / level2, unit);
  vbits d = to_half(unit * 1.1125f);
  for (int k = 0; k < 4; ++k) {
    const vbits *four = scale_code + 4 * k;
    words[k] = (four[0] | four[1] << 3 | four[2] << 6 | four[3] << 9
                | (d >> (4u * (uint32_t)k) & 15u) << 12)
               & (vbits)scaled;
    bytes[48 + 2 * k] = words[k];
    bytes[49 + 2 * k] = words[k] >> 8;
  }
  store_lanes(bytes, 56, group->blocks);
}

static void quantize_iq1_s(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  const ingot_codebook *book = ingot_find_codebook(INGOT_BOOK_IQ1);
  size_t per_row = column_count / 256, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, importance, blocks, first, count, per_row, 256, 50);
    quantize_iq1_s_group(book, &group);
  }
}

static void quantize_iq1_m(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  const ingot_codebook *book = ingot_find_codebook(INGOT_BOOK_IQ1);
  size_t per_row = column_count / 256, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, importance, blocks, first, count, per_row, 256, 56);
    quantize_iq1_m_group(book, &group);
  }
}

// MARK: Dequantizing

INLINE void restore_iq1(uint32_t point, float step, float shift, float *weights) {
  for (int i = 0; i < 8; ++i) {
    weights[i] = step * ((float)((int)(point >> (2 * i) & 3) - 1) + shift);
  }
}

static void dequantize_iq1_s(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 256; ++b, blocks += 50) {
    float d = half_at(blocks);
    for (int k = 0; k < 32; ++k, weights += 8) {
      uint16_t high;
      memcpy(&high, blocks + 34 + k / 4 * 2, sizeof high);
      int number = blocks[2 + k] | (high >> (k % 4 * 3) & 7) << 8;
      float step = d * (float)(2 * (high >> 12 & 7) + 1);
      restore_iq1(ingot_points_iq1[number], step, high >> 15 ? -0.125f : 0.125f, weights);
    }
  }
}

static void dequantize_iq1_m(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 256; ++b, blocks += 56) {
    uint16_t words[4];
    memcpy(words, blocks + 48, sizeof words);
    uint16_t half = (uint16_t)(words[0] >> 12 | words[1] >> 12 << 4 | words[2] >> 12 << 8
                               | words[3] >> 12 << 12);
    float d = half_at((const uint8_t *)&half);
    for (int k = 0; k < 32; ++k, weights += 8) {
      int high = blocks[32 + k / 2] >> (k % 2 * 4);
      int number = blocks[k] | (high & 7) << 8;
      float step = d * (float)(2 * (words[k / 8] >> (k / 2 % 4 * 3) & 7) + 1);
      restore_iq1(ingot_points_iq1[number], step, high & 8 ? -0.125f : 0.125f, weights);
    }
  }
}
