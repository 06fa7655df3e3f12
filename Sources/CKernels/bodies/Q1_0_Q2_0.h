// Q1_0, Q2_0: one and two bits per weight.
//
//     type  weights  bytes  layout
//     Q1_0      128     18  d F16, bit i: weight i is not negative
//     Q2_0       64     18  d F16, 64 × codes of two bits
//
// Q1_0: weight = d or −d. Q2_0: weight = d · (code − 1).

INLINE void quantize_q1_0_group(const Group *group) {
  vfloat x[128];
  vbits bytes[18];
  load_lanes(group->weights, 128, x);
  vfloat sum = splat(0);
  for (int i = 0; i < 128; ++i) sum += magnitude(x[i]);
  append_half(sum / 128.0f, bytes, 0);
  for (int i = 0; i < 16; ++i) {
    bytes[2 + i] = splat_bits(0);
    for (int k = 0; k < 8; ++k) bytes[2 + i] |= (vbits)(x[8 * i + k] >= 0.0f) & (1u << k);
  }
  store_lanes(bytes, 18, group->blocks);
}

/// Code of a weight in units of d: rounded half away from zero, then held within 0 and 3.
INLINE vbits q2_0_code(vfloat unit) {
  // The most negative integer stands for NaN and for what no integer holds.
  return (vbits)clamp_int(nearest_away(unit) + 1, 0, 3);
}

INLINE void quantize_q2_0_group(const Group *group) {
  vfloat x[64];
  vbits code[64], bytes[18];
  load_lanes(group->weights, 64, x);
  vfloat d = magnitude(signed_extreme(x, 64)), step = inverse(d);
  vint far = splat_int(0);
  for (int i = 0; i < 64; ++i) {
    vfloat unit = step * x[i];
    far |= ~(magnitude(unit) < 1.5f);
    code[i] = (vbits)((unit <= -0.5f) - (unit >= 0.5f) + 1);  // a true lane of a mask is −1
  }
  // Only where a weight is not finite, or the inverse of d overflowed.
  if (__builtin_expect(any(far), 0)) {
    for (int i = 0; i < 64; ++i) code[i] = q2_0_code(step * x[i]);
  }
  append_half(d, bytes, 0);
  for (int i = 0; i < 16; ++i) {
    const vbits *c = code + 4 * i;
    bytes[2 + i] = c[0] | c[1] << 2 | c[2] << 4 | c[3] << 6;
  }
  store_lanes(bytes, 18, group->blocks);
}

static void quantize_q1_0(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  (void)importance;
  size_t per_row = column_count / 128, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, NULL, blocks, first, count, per_row, 128, 18);
    quantize_q1_0_group(&group);
  }
}

static void quantize_q2_0(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  (void)importance;
  size_t per_row = column_count / 64, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, NULL, blocks, first, count, per_row, 64, 18);
    quantize_q2_0_group(&group);
  }
}

static void dequantize_q1_0(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 128; ++b, blocks += 18) {
    float d = half_at(blocks);
    for (int i = 0; i < 16; ++i, weights += 8) {
      for (int k = 0; k < 8; ++k) weights[k] = blocks[2 + i] >> k & 1 ? d : -d;
    }
  }
}

static void dequantize_q2_0(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 64; ++b, blocks += 18) {
    float d = half_at(blocks);
    for (int i = 0; i < 16; ++i, weights += 4) {
      for (int k = 0; k < 4; ++k) {
        weights[k] = (float)((blocks[2 + i] >> (2 * k) & 3) - 1) * d;
      }
    }
  }
}
