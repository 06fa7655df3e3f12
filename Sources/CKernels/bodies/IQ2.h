// IQ2_XXS, IQ2_XS, IQ2_S: 256 weights in 66, 74 and 82 bytes. Points of 8 magnitudes 8, 25, 43.
//
//     IQ2_XXS   0   2  d   F16
//               2  64  qs  per sub-block of 32: 4 numbers of points, then 32 bits: 4 × 7 signs, scale
//     IQ2_XS    0   2  d   F16
//               2  64  qs  per group of 8: 9 bits number of the point, 7 bits signs
//              66   8  scales  4 bits per sub-block of 16
//     IQ2_S     0   2  d   F16
//               2  32  qs  low 8 bits of the numbers of points
//              34  32  signs  8 bits per group of 8
//              66   8  qh  high 2 bits of 4 numbers a byte
//              74   8  scales  4 bits per sub-block of 16
//
// weight = d · (scale + ½) · ¼ · magnitude · sign. Of 7 signs the eighth makes minus signs even.

#define PLAN_IQ2_XXS ((GridPlan){8, 2, 32, 13, 0.1f, AGAIN_ALWAYS})
#define PLAN_IQ2_XS ((GridPlan){8, 2, 16, 19, 0.1f, AGAIN_WHERE_MOVED})

INLINE void quantize_iq2_xxs_group(const ingot_codebook *book, const Group *group) {
  vfloat x[256], q[256], scale[8];
  vbits words[16], bytes[66];
  load_lanes(group->weights, 256, x);
  load_lanes(group->importance, 256, q);
  vfloat sigma2 = sum_of_squares(x, 256) / 256.0f;
  vfloat greatest_scale = splat(0);
  for (int j = 0; j < 8; ++j) {
    vfloat w[32], size[32];
    vbits signs[4], codes[32];
    importance_weights(x + 32 * j, q + 32 * j, 32, sigma2, w);
    split_signs(x + 32 * j, w, 32, true, size, signs);
    vfloat first_scale = positive_search(size, w, 32, 4, codes);
    vfloat reach = first_scale * 3.0f;
    vint empty = (greatest_of(size, 32) < LEAST_MAGNITUDE) | (reach <= 0.0f);
    reach = choose(empty, splat(1), reach);
    GridFound found = grid_search(book, size, w, reach, first_scale, PLAN_IQ2_XXS);
    scale[j] = choose(empty, splat(0), found.scale);
    greatest_scale = larger(greatest_scale, scale[j]);
    words[2 * j] = words[2 * j + 1] = splat_bits(0);
    for (int k = 0; k < 4; ++k) {
      vbits sign = choose_bits(found.turned, ~signs[k] & 127u, signs[k]);
      words[2 * j] |= point_numbers(book, found.place[k], ~empty) << (8u * (uint32_t)k);
      words[2 * j + 1] |= choose_bits(empty, splat_bits(0), sign) << (7u * (uint32_t)k);
    }
  }
  vint scaled = greatest_scale != 0.0f;
  vfloat unit = greatest_scale / 31.0f;
  vfloat per_unit = 1.0f / unit;
  vbits d = choose_bits(scaled, scale_half(unit), splat_bits(0));
  bytes[0] = d;
  bytes[1] = d >> 8;
  for (int j = 0; j < 8; ++j) {
    words[2 * j + 1] |= odd_scale_code(scale[j], per_unit, 15) << 28;
    for (int i = 0; i < 8; ++i) {
      bytes[2 + 8 * j + i] =
        (words[2 * j + i / 4] >> (8u * (uint32_t)(i % 4))) & (vbits)scaled;
    }
  }
  store_lanes(bytes, 66, group->blocks);
}

/// IQ2_XS and IQ2_S differ in σ², in the signs, and in where the bits go.
INLINE void quantize_iq2_xs_group(const ingot_codebook *book, const Group *group, bool s) {
  vfloat x[256], q[256], scale[16];
  vbits number[32], sign[32], bytes[82];
  load_lanes(group->weights, 256, x);
  load_lanes(group->importance, 256, q);
  vfloat squares = sum_of_squares(x, 256);
  vfloat sigma2 = s ? 2.0f * squares / 256.0f : squares / 256.0f;
  vfloat greatest_scale = splat(0);
  for (int j = 0; j < 16; ++j) {
    vfloat w[16], size[16];
    importance_weights(x + 16 * j, q + 16 * j, 16, sigma2, w);
    split_signs(x + 16 * j, w, 16, !s, size, sign + 2 * j);
    vfloat greatest = greatest_of(size, 16);
    vint empty = greatest < (s ? 1e-8f : LEAST_MAGNITUDE);
    greatest = choose(empty, splat(1), greatest);
    GridFound found = grid_search(book, size, w, greatest, greatest / 5.0f, PLAN_IQ2_XS);
    scale[j] = choose(empty, splat(0), found.scale);
    greatest_scale = larger(greatest_scale, scale[j]);
    for (int k = 2 * j; k < 2 * j + 2; ++k) {
      number[k] = point_numbers(book, found.place[k % 2], ~empty);
      sign[k] = choose_bits(found.turned, ~sign[k] & (s ? 255u : 127u), sign[k]);
      sign[k] = choose_bits(empty, splat_bits(0), sign[k]);
    }
  }
  vint scaled = greatest_scale != 0.0f;
  vfloat unit = greatest_scale / 31.0f;
  vfloat per_unit = 1.0f / unit;
  vbits d = scale_half(s ? unit * 0.9875f : unit) & (vbits)scaled;
  bytes[0] = d;
  bytes[1] = d >> 8;
  vbits *scales = bytes + (s ? 74 : 66);
  for (int j = 0; j < 8; ++j) {
    scales[j] = (odd_scale_code(scale[2 * j], per_unit, 15)
                 | odd_scale_code(scale[2 * j + 1], per_unit, 15) << 4)
                & (vbits)scaled;
  }
  if (s) {
    for (int k = 0; k < 32; ++k) {
      bytes[2 + k] = number[k] & 255u;
      bytes[34 + k] = sign[k];
    }
    for (int j = 0; j < 8; ++j) {
      const vbits *four = number + 4 * j;
      bytes[66 + j] = four[0] >> 8 | four[1] >> 8 << 2 | four[2] >> 8 << 4 | four[3] >> 8 << 6;
    }
    store_lanes(bytes, 82, group->blocks);
  } else {
    for (int k = 0; k < 32; ++k) {
      vbits word = (number[k] | sign[k] << 9) & (vbits)scaled;
      bytes[2 + 2 * k] = word;
      bytes[3 + 2 * k] = word >> 8;
    }
    store_lanes(bytes, 74, group->blocks);
  }
}

static void quantize_iq2_xxs(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  const ingot_codebook *book = ingot_find_codebook(INGOT_BOOK_IQ2_XXS);
  size_t per_row = column_count / 256, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, importance, blocks, first, count, per_row, 256, 66);
    quantize_iq2_xxs_group(book, &group);
  }
}

static void quantize_iq2_xs(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  const ingot_codebook *book = ingot_find_codebook(INGOT_BOOK_IQ2_XS);
  size_t per_row = column_count / 256, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, importance, blocks, first, count, per_row, 256, 74);
    quantize_iq2_xs_group(book, &group, false);
  }
}

static void quantize_iq2_s(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  const ingot_codebook *book = ingot_find_codebook(INGOT_BOOK_IQ2_S);
  size_t per_row = column_count / 256, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, importance, blocks, first, count, per_row, 256, 82);
    quantize_iq2_xs_group(book, &group, true);
  }
}

// MARK: Dequantizing

/// Two points: step · magnitude, turned where the sign's bit is set.
INLINE void restore_iq2(uint32_t codes, uint32_t signs, float step, float *weights) {
  static const float magnitudes[4] = {8, 25, 43, 0};
  float16 weight = turned_16(step * levels_of_16(codes, magnitudes), signs);
  memcpy(weights, &weight, sizeof weight);
}

static void dequantize_iq2_xxs(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 256; ++b, blocks += 66) {
    float d = half_at(blocks);
    for (int j = 0; j < 8; ++j) {
      const uint8_t *numbers = blocks + 2 + 8 * j;
      uint32_t rest;
      memcpy(&rest, numbers + 4, sizeof rest);
      float step = d * (0.5f + (float)(rest >> 28)) * 0.25f;
      for (int k = 0; k < 4; k += 2, rest >>= 14, weights += 16) {
        uint32_t codes = ingot_points_iq2_xxs[numbers[k]]
                         | (uint32_t)ingot_points_iq2_xxs[numbers[k + 1]] << 16;
        uint32_t signs = all_signs(rest & 127) | all_signs(rest >> 7 & 127) << 8;
        restore_iq2(codes, signs, step, weights);
      }
    }
  }
}

static void dequantize_iq2_xs(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 256; ++b, blocks += 74) {
    float d = half_at(blocks);
    for (int j = 0; j < 16; ++j, weights += 16) {
      uint16_t words[2];
      memcpy(words, blocks + 2 + 4 * j, sizeof words);
      int scale = blocks[66 + j / 2] >> (j % 2 * 4) & 15;
      float step = d * (0.5f + (float)scale) * 0.25f;
      uint32_t codes = ingot_points_iq2_xs[words[0] & 511]
                       | (uint32_t)ingot_points_iq2_xs[words[1] & 511] << 16;
      uint32_t signs = all_signs(words[0] >> 9) | all_signs(words[1] >> 9) << 8;
      restore_iq2(codes, signs, step, weights);
    }
  }
}

static void dequantize_iq2_s(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 256; ++b, blocks += 82) {
    float d = half_at(blocks);
    for (int j = 0; j < 16; ++j, weights += 16) {
      int high = blocks[66 + j / 2] >> (j % 2 * 4);
      int scale = blocks[74 + j / 2] >> (j % 2 * 4) & 15;
      float step = d * (0.5f + (float)scale) * 0.25f;
      uint32_t first = ingot_points_iq2_s[blocks[2 + 2 * j] | (high & 3) << 8];
      uint32_t second = ingot_points_iq2_s[blocks[3 + 2 * j] | (high >> 2 & 3) << 8];
      uint16_t signs;
      memcpy(&signs, blocks + 34 + 2 * j, sizeof signs);
      restore_iq2(first | second << 16, signs, step, weights);
    }
  }
}
