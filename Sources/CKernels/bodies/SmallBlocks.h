// Q4_0, Q4_1, Q5_0, Q5_1, Q8_0: 32 weights with one scale, and an offset in the *_1 types.
//
//     type   bytes  layout
//     Q4_0      18  d F16, 16 × codes of weights i (low 4 bits) and i + 16 (high 4 bits)
//     Q4_1      20  d F16, m F16, codes as in Q4_0
//     Q5_0      22  d F16, qh (bit i is bit 4 of the code of weight i), low 4 bits as in Q4_0
//     Q5_1      24  d F16, m F16, qh, codes as in Q5_0
//     Q8_0      34  d F16, 32 × signed 8-bit codes
//
// Q4_0, Q5_0: weight = d · (code − 8 or 16). Q4_1, Q5_1: weight = d · code + m. Q8_0: d · code.

/// Appends the 32 codes of 4 or 5 bits to a block that holds `used` bytes; returns its size.
INLINE int append_codes(const vbits *code, int bits, vbits *bytes, int used) {
  if (bits == 5) {
    for (int k = 0; k < 4; ++k, ++used) {
      vbits high = splat_bits(0);
      for (int i = 7; i >= 0; --i) high = (high << 1) | (code[8 * k + i] >> 4 & 1u);
      bytes[used] = high;
    }
  }
  for (int i = 0; i < 16; ++i, ++used) {
    bytes[used] = (code[i] & 15u) | ((code[i + 16] & 15u) << 4);
  }
  return used;
}

INLINE int append_half(vfloat value, vbits *bytes, int used) {
  vbits half = scale_half(value);
  bytes[used] = half;
  bytes[used + 1] = half >> 8;
  return used + 2;
}

/// 1/d, or 0 where d is 0.
INLINE vfloat inverse(vfloat d) { return choose(d != 0.0f, 1.0f / d, splat(0)); }

INLINE void quantize_q8_0_group(const Group *group) {
  vfloat x[32];
  vbits bytes[34];
  load_lanes(group->weights, 32, x);
  vfloat size = splat(0);
  for (int i = 0; i < 32; ++i) size = larger(size, magnitude(x[i]));
  vfloat d = size / 127.0f, id = inverse(d);
  append_half(d, bytes, 0);
  for (int i = 0; i < 32; ++i) bytes[2 + i] = (vbits)nearest_away(x[i] * id);
  store_lanes(bytes, 34, group->blocks);
}

/// Whether every step ±range/`top` and every weight over it is a number that an integer can hold:
/// then `truncated` is a conversion, and no code wraps.
INLINE bool is_tame(const vfloat *x, vfloat range) {
  vint number = splat_int(-1);
  for (int i = 0; i < 32; ++i) number &= x[i] == x[i];
  vfloat size = magnitude(range);
  return all(number & (size < 0x1p100f) & ((size > 0x1p-100f) | (size == 0.0f)));
}

/// Toward zero, then the low 8 bits as a signed number, as the reference does in 4-bit types.
INLINE vint truncated_byte(vfloat v, bool tame) {
  return tame ? __builtin_convertvector(v, vint) : truncated(v) << 24 >> 24;
}

INLINE void centred_codes(
  const vfloat *x, vfloat id, int top, bool tame, vbits *code) {
  for (int i = 0; i < 32; ++i) {
    vint l = truncated_byte(x[i] * id + ((float)top + 0.5f), tame);
    code[i] = (vbits)choose_int(l < 2 * top - 1, l, splat_int(2 * top - 1));
  }
}

/// Q4_0 and Q5_0: the weight of largest magnitude gets the code 0, so that its side has one more.
INLINE void quantize_centred_group(const Group *group, int bits) {
  const int top = 1 << (bits - 1);
  vfloat x[32];
  vbits code[32], bytes[22];
  load_lanes(group->weights, 32, x);
  vfloat extreme = signed_extreme(x, 32);
  vfloat d = extreme / (float)-top, id = inverse(d);
  if (__builtin_expect(is_tame(x, extreme), 1)) {
    centred_codes(x, id, top, true, code);
  } else {
    centred_codes(x, id, top, false, code);
  }
  int used = append_half(d, bytes, 0);
  used = append_codes(code, bits, bytes, used);
  store_lanes(bytes, used, group->blocks);
}

INLINE void shifted_codes(
  const vfloat *x, vfloat least, vfloat id, int bits, bool tame, vbits *code) {
  const int top = (1 << bits) - 1;
  for (int i = 0; i < 32; ++i) {
    vfloat place = (x[i] - least) * id + 0.5f;
    if (bits == 4) {
      vint l = truncated_byte(place, tame);
      code[i] = (vbits)choose_int(l < top, l, splat_int(top));
    } else {
      code[i] = (vbits)(tame ? __builtin_convertvector(place, vint) : truncated(place));
    }
  }
}

/// Q4_1 and Q5_1: codes count from the least weight.
INLINE void quantize_shifted_group(const Group *group, int bits) {
  const int top = (1 << bits) - 1;
  vfloat x[32];
  vbits code[32], bytes[24];
  load_lanes(group->weights, 32, x);
  vfloat least = splat(0x1.fffffep127f), greatest = splat(-0x1.fffffep127f);
  for (int i = 0; i < 32; ++i) {
    least = choose(x[i] < least, x[i], least);
    greatest = choose(x[i] > greatest, x[i], greatest);
  }
  vfloat range = greatest - least, d = range / (float)top, id = inverse(d);
  if (__builtin_expect(is_tame(x, range), 1)) {
    shifted_codes(x, least, id, bits, true, code);
  } else {
    shifted_codes(x, least, id, bits, false, code);
  }
  int used = append_half(d, bytes, 0);
  used = append_half(least, bytes, used);
  used = append_codes(code, bits, bytes, used);
  store_lanes(bytes, used, group->blocks);
}

/// With importance; σ² is that of the row that a lane's block lies in.
INLINE void quantize_weighted_group(
  const Group *group, vfloat sigma2, int bits, bool shifted) {
  vfloat x[32], q[32], w[32];
  vbits code[32], bytes[24];
  load_lanes(group->weights, 32, x);
  load_lanes(group->importance, 32, q);
  importance_weights(x, q, 32, sigma2, w);
  int used;
  if (shifted) {
    const int top = (1 << bits) - 1;
    const AffinePlan plan = {top, 36, -0.9f, 0.05f, false};
    Affine found;
    affine_search(x, w, 32, 1, plan, &found);
    for (int i = 0; i < 32; ++i) code[i] = affine_kept_code(found, x[i], top);
    used = append_half(found.scale, bytes, 0);
    used = append_half(-found.offset, bytes, used);
  } else {
    const int top = 1 << (bits - 1);
    Symmetric found = symmetric_search(x, w, 32, top);
    for (int i = 0; i < 32; ++i) code[i] = symmetric_code(found, x[i], top);
    used = append_half(found.scale, bytes, 0);
  }
  used = append_codes(code, bits, bytes, used);
  store_lanes(bytes, used, group->blocks);
}

/// Mean squares of LANES rows, one per lane; the last row again where there are no more.
INLINE vfloat mean_squares(const float *rows, size_t row_count, size_t column_count) {
  const float *ahead[LANES];
  for (size_t lane = 0; lane < LANES; ++lane) {
    ahead[lane] = rows + (lane < row_count ? lane : row_count - 1) * column_count;
  }
  vfloat sum = splat(0);
  for (size_t column = 0; column < column_count; column += 32) {
    vfloat x[32];
    load_lanes(ahead, 32, x);
    for (int i = 0; i < 32; ++i) sum += x[i] * x[i];
    for (int lane = 0; lane < LANES; ++lane) ahead[lane] += 32;
  }
  return sum / (float)column_count;
}

/// Rows with importance: σ² takes the whole row, so a lane is a row while it is summed, and then a
/// block as everywhere.
INLINE void quantize_weighted_rows(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks, int bits, bool shifted) {
  const int bytes = (bits == 5 ? 22 : 18) + (shifted ? 2 : 0);
  const size_t per_row = column_count / 32;
  for (size_t first_row = 0; first_row < row_count; first_row += LANES) {
    size_t held = row_count - first_row < LANES ? row_count - first_row : LANES;
    size_t count = held * per_row;
    vfloat of_rows = mean_squares(rows, held, column_count);
    for (size_t first = 0; first < count; first += LANES) {
      Group group = group_of_blocks(rows, importance, blocks, first, count, per_row, 32, bytes);
      vfloat sigma2;
      for (size_t lane = 0; lane < LANES; ++lane) {
        sigma2[lane] = of_rows[(first + lane < count ? first + lane : count - 1) / per_row];
      }
      quantize_weighted_group(&group, sigma2, bits, shifted);
    }
    rows += held * column_count;
    blocks += count * (size_t)bytes;
  }
}

INLINE void quantize_small(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks, int bits, bool shifted) {
  if (importance) {
    quantize_weighted_rows(rows, row_count, column_count, importance, blocks, bits, shifted);
    return;
  }
  size_t per_row = column_count / 32, count = row_count * per_row;
  const int bytes = (bits == 5 ? 22 : 18) + (shifted ? 2 : 0);
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, NULL, blocks, first, count, per_row, 32, bytes);
    if (shifted) {
      quantize_shifted_group(&group, bits);
    } else {
      quantize_centred_group(&group, bits);
    }
  }
}

#define QUANTIZE_SMALL(NAME, BITS, SHIFTED)                                                     \
  static void quantize_##NAME(                                                                  \
    const float *rows, size_t row_count, size_t column_count, const float *importance,          \
    uint8_t *blocks) {                                                                          \
    quantize_small(rows, row_count, column_count, importance, blocks, BITS, SHIFTED);           \
  }
QUANTIZE_SMALL(q4_0, 4, false)
QUANTIZE_SMALL(q4_1, 4, true)
QUANTIZE_SMALL(q5_0, 5, false)
QUANTIZE_SMALL(q5_1, 5, true)

/// Importance changes nothing: every code is the nearest.
static void quantize_q8_0(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  (void)importance;
  size_t per_row = column_count / 32, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, NULL, blocks, first, count, per_row, 32, 34);
    quantize_q8_0_group(&group);
  }
}

INLINE void dequantize_small(
  const uint8_t *blocks, size_t weight_count, float *weights, int bits, bool shifted) {
  vbits place;  // bit i in lane i
  for (int lane = 0; lane < LANES; ++lane) place[lane] = 1u << lane;
  for (size_t b = 0; b < weight_count / 32; ++b, weights += 32) {
    float d = half_at(blocks), m = shifted ? half_at(blocks + 2) : 0;
    blocks += shifted ? 4 : 2;
    uint32_t high = 0;
    if (bits == 5) {
      memcpy(&high, blocks, 4);
      blocks += 4;
    }
    for (int i = 0; i < 32; i += LANES) {
      vbits code = load_bytes(blocks + i % 16) >> (i / 16 * 4) & 15u;
      if (bits == 5) {
        code |= choose_bits((splat_bits(high >> i) & place) != 0, splat_bits(16), splat_bits(0));
      }
      vint signed_code = (vint)code - (shifted ? 0 : 1 << (bits - 1));
      vfloat weight = to_float(signed_code) * d;
      store_weights(weights + i, shifted ? weight + m : weight);
    }
    blocks += 16;
  }
}

#define DEQUANTIZE_SMALL(NAME, BITS, SHIFTED)                                                   \
  static void dequantize_##NAME(const uint8_t *blocks, size_t weight_count, float *weights) {   \
    dequantize_small(blocks, weight_count, weights, BITS, SHIFTED);                             \
  }
DEQUANTIZE_SMALL(q4_0, 4, false)
DEQUANTIZE_SMALL(q4_1, 4, true)
DEQUANTIZE_SMALL(q5_0, 5, false)
DEQUANTIZE_SMALL(q5_1, 5, true)

static void dequantize_q8_0(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 32; ++b, blocks += 34, weights += 32) {
    float d = half_at(blocks);
    for (int i = 0; i < 32; i += LANES) {
      store_weights(weights + i, to_float(load_signed_bytes(blocks + 2 + i)) * d);
    }
  }
}
