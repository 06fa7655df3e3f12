// IQ3_XXS and IQ3_S: 256 weights in 98 and 110 bytes. Points of 4 magnitudes.
//
//     IQ3_XXS   0   2  d   F16
//               2  64  qs  numbers of points
//              66  32  words  per sub-block of 32: 4 × 7 signs, 4 bits scale
//     IQ3_S     0   2  d   F16
//               2  64  qs  low 8 bits of the numbers of points
//              66   8  qh  bit k of byte j: high bit of the number of point 8·j + k
//              74  32  signs  8 bits per 8 weights
//             106   4  scales  4 bits per sub-block of 32
//
// IQ3_XXS: weight = d · (scale + ½) · ½ · magnitude · sign, magnitudes 4, 12, … 52, 62.
// IQ3_S:   weight = d · (2 · scale + 1) · magnitude · sign, magnitudes 1, 3, … 15.

#define PLAN_IQ3_XXS ((GridPlan){4, 3, 32, 31, 0.2f, AGAIN_WHERE_MOVED})
#define PLAN_IQ3_S ((GridPlan){4, 3, 32, 19, 0.2f, AGAIN_ALL_IF_MOVED})

/// Moves the points and signs of the sub-blocks behind an empty one into its place, as the
/// reference does, which goes on to write where it left off. Blocks without an empty one stay as
/// they are.
INLINE void close_gaps_iq3_s(const vint *empty, uint8_t *const target[LANES]) {
  vint gaps = splat_int(0);
  for (int j = 0; j < 8; ++j) gaps |= empty[j];
  if (!any(gaps)) return;
  for (int lane = 0; lane < LANES; ++lane) {
    // Idle lanes hold the last block once more: it is closed up once.
    if (!gaps[lane] || (lane > 0 && target[lane] == target[lane - 1])) continue;
    uint8_t *qs = target[lane] + 2, *signs = target[lane] + 74;
    int used = 0;
    for (int j = 0; j < 8; ++j) {
      if (empty[j][lane]) continue;
      memmove(qs + 8 * used, qs + 8 * j, 8);
      memmove(signs + 4 * used, signs + 4 * j, 4);
      ++used;
    }
    memset(qs + 8 * used, 0, (size_t)(64 - 8 * used));
    memset(signs + 4 * used, 0, (size_t)(32 - 4 * used));
  }
}

INLINE void quantize_iq3_group(
  const ingot_codebook *book, const Group *group, bool weighted, bool s) {
  vfloat x[256], q[256], scale[8];
  vbits number[64], sign[32], bytes[110];
  vint empty[8];
  vfloat sigma2 = splat(0);
  load_lanes(group->weights, 256, x);
  if (weighted) {
    load_lanes(group->importance, 256, q);
    sigma2 = 2.0f * sum_of_squares(x, 256) / 256.0f;
  }
  vfloat greatest_scale = splat(0);
  for (int j = 0; j < 8; ++j) {
    vfloat w[32], size[32];
    if (weighted) {
      importance_weights(x + 32 * j, q + 32 * j, 32, sigma2, w);
    } else {
      for (int i = 0; i < 32; ++i) w[i] = x[32 * j + i] * x[32 * j + i];
    }
    split_signs(x + 32 * j, w, 32, !s, size, sign + 4 * j);
    vfloat greatest = greatest_of(size, 32);
    empty[j] = s ? greatest == 0.0f : greatest < 1e-8f;
    greatest = choose(empty[j], splat(1), greatest);
    GridFound found =
      grid_search(book, size, w, greatest, greatest / 15.0f, s ? PLAN_IQ3_S : PLAN_IQ3_XXS);
    scale[j] = choose(empty[j], splat(0), found.scale);
    greatest_scale = larger(greatest_scale, scale[j]);
    for (int k = 0; k < 8; ++k) {
      number[8 * j + k] = point_numbers(book, found.place[k], ~empty[j]);
    }
    for (int k = 4 * j; k < 4 * j + 4; ++k) {
      sign[k] = choose_bits(found.turned, ~sign[k] & (s ? 255u : 127u), sign[k]);
      sign[k] = choose_bits(empty[j], splat_bits(0), sign[k]);
    }
  }
  vint scaled = greatest_scale != 0.0f;
  vfloat unit = greatest_scale / 31.0f;
  vfloat per_unit = 1.0f / unit;
  vbits d = scale_half(unit * (s ? 1.033f : 1.0125f)) & (vbits)scaled;
  bytes[0] = d;
  bytes[1] = d >> 8;
  for (int k = 0; k < 64; ++k) bytes[2 + k] = number[k] & 255u;
  if (s) {
    for (int j = 0; j < 8; ++j) {
      vbits high = splat_bits(0);
      for (int k = 7; k >= 0; --k) high = high << 1 | number[8 * j + k] >> 8;
      bytes[66 + j] = high;
    }
    for (int k = 0; k < 32; ++k) bytes[74 + k] = sign[k];
    for (int j = 0; j < 4; ++j) {
      bytes[106 + j] = (odd_scale_code(scale[2 * j], per_unit, 15)
                        | odd_scale_code(scale[2 * j + 1], per_unit, 15) << 4)
                       & (vbits)scaled;
    }
    store_lanes(bytes, 110, group->blocks);
    close_gaps_iq3_s(empty, group->blocks);
  } else {
    for (int k = 0; k < 64; ++k) bytes[2 + k] &= (vbits)scaled;
    for (int j = 0; j < 8; ++j) {
      const vbits *four = sign + 4 * j;
      vbits word = four[0] | four[1] << 7 | four[2] << 14 | four[3] << 21
                   | odd_scale_code(scale[j], per_unit, 15) << 28;
      for (int i = 0; i < 4; ++i) {
        bytes[66 + 4 * j + i] = word >> (8u * (uint32_t)i) & (vbits)scaled;
      }
    }
    store_lanes(bytes, 98, group->blocks);
  }
}

static void quantize_iq3_xxs(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  const ingot_codebook *book = ingot_find_codebook(INGOT_BOOK_IQ3_XXS);
  size_t per_row = column_count / 256, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, importance, blocks, first, count, per_row, 256, 98);
    if (importance) {
      quantize_iq3_group(book, &group, true, false);
    } else {
      quantize_iq3_group(book, &group, false, false);
    }
  }
}

static void quantize_iq3_s(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  const ingot_codebook *book = ingot_find_codebook(INGOT_BOOK_IQ3_S);
  size_t per_row = column_count / 256, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, importance, blocks, first, count, per_row, 256, 110);
    if (importance) {
      quantize_iq3_group(book, &group, true, true);
    } else {
      quantize_iq3_group(book, &group, false, true);
    }
  }
}

// MARK: Dequantizing

/// Two points: step · magnitude, turned where the sign's bit is set.
INLINE void restore_iq3(
  uint32_t first, uint32_t second, const float *magnitudes, uint32_t signs, float step,
  float *weights) {
  float8 weight = turned_8(step * levels_of_8(first | second << 12, magnitudes), signs);
  memcpy(weights, &weight, sizeof weight);
}

static void dequantize_iq3_xxs(const uint8_t *blocks, size_t weight_count, float *weights) {
  static const float magnitudes[8] = {4, 12, 20, 28, 36, 44, 52, 62};
  for (size_t b = 0; b < weight_count / 256; ++b, blocks += 98) {
    float d = half_at(blocks);
    for (int j = 0; j < 8; ++j) {
      const uint8_t *numbers = blocks + 2 + 8 * j;
      uint32_t word;
      memcpy(&word, blocks + 66 + 4 * j, sizeof word);
      float step = d * (0.5f + (float)(word >> 28)) * 0.5f;
      for (int k = 0; k < 4; ++k, weights += 8) {
        restore_iq3(
          ingot_points_iq3_xxs[numbers[2 * k]], ingot_points_iq3_xxs[numbers[2 * k + 1]],
          magnitudes, all_signs(word >> (7 * k) & 127), step, weights);
      }
    }
  }
}

static void dequantize_iq3_s(const uint8_t *blocks, size_t weight_count, float *weights) {
  static const float magnitudes[8] = {1, 3, 5, 7, 9, 11, 13, 15};
  for (size_t b = 0; b < weight_count / 256; ++b, blocks += 110) {
    float d = half_at(blocks);
    for (int j = 0; j < 8; ++j) {
      const uint8_t *low = blocks + 2 + 8 * j, *signs = blocks + 74 + 4 * j;
      uint32_t high = (uint32_t)blocks[66 + j] << 8;
      int scale = blocks[106 + j / 2] >> (j % 2 * 4) & 15;
      float step = d * (float)(1 + 2 * scale);
      for (int k = 0; k < 4; ++k, weights += 8) {
        uint32_t first = ingot_points_iq3_s[low[2 * k] | (high >> (2 * k) & 256)];
        uint32_t second = ingot_points_iq3_s[low[2 * k + 1] | (high >> (2 * k + 1) & 256)];
        restore_iq3(first, second, magnitudes, signs[k], step, weights);
      }
    }
  }
}
