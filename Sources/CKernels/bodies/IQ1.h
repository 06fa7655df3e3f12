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
// TernarySplit.h finds the best codes; then what is no point of the codebook becomes one.

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
  vbits d = scale_half(unit * 1.125f) & (vbits)scaled;
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
  vbits d = scale_half(unit * 1.1125f);
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

/// Two points: step · (code − 1 + shift).
INLINE void restore_iq1(uint32_t codes, float step, float16 shift, float *weights) {
  static const float levels[4] = {-1, 0, 1, 2};
  float16 weight = step * (levels_of_16(codes, levels) + shift);
  memcpy(weights, &weight, sizeof weight);
}

static void dequantize_iq1_s(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 256; ++b, blocks += 50) {
    float d = half_at(blocks);
    for (int j = 0; j < 8; ++j, weights += 32) {
      const uint8_t *low = blocks + 2 + 4 * j;
      uint16_t high;
      memcpy(&high, blocks + 34 + 2 * j, sizeof high);
      float step = d * (float)(2 * (high >> 12 & 7) + 1);
      float16 shift = (float16)(high >> 15 ? -0.125f : 0.125f);
      uint32_t point[4];
      for (int k = 0; k < 4; ++k) {
        point[k] = ingot_points_iq1[low[k] | (high >> (3 * k) & 7) << 8];
      }
      restore_iq1(point[0] | point[1] << 16, step, shift, weights);
      restore_iq1(point[2] | point[3] << 16, step, shift, weights + 16);
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
    for (int j = 0; j < 16; ++j, weights += 16) {
      uint32_t high = blocks[32 + j];
      uint32_t first = ingot_points_iq1[blocks[2 * j] | (high & 7) << 8];
      uint32_t second = ingot_points_iq1[blocks[2 * j + 1] | (high >> 4 & 7) << 8];
      float step = d * (float)(2 * (words[j / 4] >> (j % 4 * 3) & 7) + 1);
      float8 low_shift = (float8)(high & 8 ? -0.125f : 0.125f);
      float8 high_shift = (float8)(high & 128 ? -0.125f : 0.125f);
      float16 shift = __builtin_shufflevector(
        low_shift, high_shift, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
      restore_iq1(first | second << 16, step, shift, weights);
    }
  }
}
