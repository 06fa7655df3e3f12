// Q4_K: 256 weights in 144 bytes. Q5_K: 256 weights in 176 bytes.
//
//     offset  bytes  field
//          0      2  d       F16 scale of scales
//          2      2  dmin    F16 scale of offsets
//          4     12  scales  8 × (6-bit scale, 6-bit offset), packed
//         16     32  qh      Q5_K only: bit s of byte i is bit 4 of the code of weight 32·s + i
//   16 or 48    128  qs      low 4 bits: byte 32·p + i holds weights 64·p + i and 64·p + 32 + i
//
// weight = d · scale[s] · code − dmin · offset[s], s = sub-block of 32.

typedef struct {
  vbits scale[8], offset[8];
} SixBitScales;

/// The 12 bytes: entries 0 to 3 whole; 4 to 7 with their low 4 bits together in the last four
/// bytes and their high 2 bits above the first eight entries.
INLINE void pack_scales(const vbits *scale, const vbits *offset, vbits *bytes) {
  for (int j = 0; j < 4; ++j) {
    bytes[j] = (scale[j] | (scale[j + 4] >> 4 << 6)) & 0xFFu;
    bytes[j + 4] = (offset[j] | (offset[j + 4] >> 4 << 6)) & 0xFFu;
    bytes[j + 8] = (scale[j + 4] & 15u) | ((offset[j + 4] & 15u) << 4);
  }
}

INLINE SixBitScales unpack_scales(const vbits *bytes) {
  SixBitScales found;
  for (int j = 0; j < 4; ++j) {
    found.scale[j] = bytes[j] & 63u;
    found.offset[j] = bytes[j + 4] & 63u;
    found.scale[j + 4] = (bytes[j + 8] & 15u) | (bytes[j] >> 6 << 4);
    found.offset[j + 4] = (bytes[j + 8] >> 4) | (bytes[j + 4] >> 6 << 4);
  }
  return found;
}

/// 6-bit codes of the scales or offsets without importance, and the F16 scale that they share.
INLINE vbits simple_six_bits(const vfloat *x, vbits *code) {
  vfloat greatest = splat(0);
  for (int j = 0; j < 8; ++j) greatest = choose(x[j] > greatest, x[j], greatest);
  vfloat step = choose(greatest > 0.0f, 63.0f / greatest, splat(0));
  for (int j = 0; j < 8; ++j) {
    vbits l = (vbits)nearest(step * x[j]) & 0xFFu;
    code[j] = choose_bits((vint)(l < 63u), l, splat_bits(63u));
  }
  return scale_half(greatest / 63.0f);
}

/// Codes of the weights of one sub-block from the scale and offset as they are stored.
INLINE void stored_codes(
  const vfloat *x, int n, vfloat d, vfloat m, Affine found, int top, vbits *code) {
  for (int i = 0; i < n; ++i) {
    code[i] = (vbits)clamp_int(nearest((x[i] + m) / d), 0, top);
  }
  vint zero = d == 0.0f;
  if (!any(zero)) return;
  for (int i = 0; i < n; ++i) {
    code[i] = choose_bits(zero, affine_kept_code(found, x[i], top), code[i]);
  }
}

INLINE void quantize_q45_group(
  const Group *group, bool weighted, int bits, AffinePlan plan) {
  vfloat x[256], q[256], w[32 * SEARCHED_TOGETHER], scale[8], offset[8], weight[8];
  vbits code[256], bytes[176], scale_code[8], offset_code[8];
  Affine found[8];

  load_lanes(group->weights, 256, x);
  vfloat sigma2 = splat(0);
  if (weighted) {
    load_lanes(group->importance, 256, q);
    sigma2 = 2.0f * sum_of_squares(x, 256) / 256.0f;
  }
  for (int first = 0; first < 8; first += SEARCHED_TOGETHER) {
    for (int k = 0; k < SEARCHED_TOGETHER; ++k) {
      int j = first + k;
      const vfloat *xs = x + 32 * j;
      vfloat *ws = w + 32 * k;
      if (weighted) {
        importance_weights(xs, q + 32 * j, 32, sigma2, ws);
        weight[j] = sum_of(ws, 32);
      } else {
        vfloat average = square_root(sum_of_squares(xs, 32) / 32.0f);
        for (int i = 0; i < 32; ++i) ws[i] = average + magnitude(xs[i]);
      }
    }
    affine_search(x + 32 * first, w, 32, SEARCHED_TOGETHER, plan, found + first);
  }
  for (int j = 0; j < 8; ++j) {
    scale[j] = found[j].scale;
    offset[j] = found[j].offset;
  }

  vbits d, dmin;
  if (weighted) {
    d = scale_half(positive_search(scale, weight, 8, 63, scale_code));
    dmin = scale_half(positive_search(offset, weight, 8, 63, offset_code));
    if (bits == 5) {
      for (int j = 0; j < 8; ++j) {
        scale_code[j] = choose_bits((vint)(scale_code[j] < 63u), scale_code[j], splat_bits(63u));
        offset_code[j] =
          choose_bits((vint)(offset_code[j] < 63u), offset_code[j], splat_bits(63u));
      }
    }
  } else {
    d = simple_six_bits(scale, scale_code);
    dmin = simple_six_bits(offset, offset_code);
  }

  bytes[0] = d;
  bytes[1] = d >> 8;
  bytes[2] = dmin;
  bytes[3] = dmin >> 8;
  pack_scales(scale_code, offset_code, bytes + 4);
  SixBitScales stored = unpack_scales(bytes + 4);
  for (int j = 0; j < 8; ++j) {
    stored_codes(
      x + 32 * j, 32, from_half(d) * to_float((vint)stored.scale[j]),
      from_half(dmin) * to_float((vint)stored.offset[j]), found[j], plan.top, code + 32 * j);
  }

  vbits *qs = bytes + 16;
  if (bits == 5) {
    for (int i = 0; i < 32; ++i) {
      vbits high = splat_bits(0);
      for (int j = 7; j >= 0; --j) high = (high << 1) | (code[32 * j + i] >> 4);
      qs[i] = high;
    }
    qs += 32;
  }
  for (int pair = 0; pair < 4; ++pair) {
    for (int i = 0; i < 32; ++i) {
      qs[32 * pair + i] = (code[64 * pair + i] & 15u) | ((code[64 * pair + 32 + i] & 15u) << 4);
    }
  }
  store_lanes(bytes, bits == 5 ? 176 : 144, group->blocks);
}

INLINE void quantize_q45(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks, int bits, AffinePlan plain, AffinePlan weighted) {
  size_t per_row = column_count / 256, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(
      rows, importance, blocks, first, count, per_row, 256, bits == 5 ? 176 : 144);
    if (importance) {
      quantize_q45_group(&group, true, bits, weighted);
    } else {
      quantize_q45_group(&group, false, bits, plain);
    }
  }
}

static void quantize_q4_K(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  const AffinePlan plain = {15, 20, -1.0f, 0.1f, false};
  const AffinePlan weighted = {15, 36, -0.9f, 0.05f, false};
  quantize_q45(rows, row_count, column_count, importance, blocks, 4, plain, weighted);
}

static void quantize_q5_K(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  const AffinePlan plain = {31, 15, -0.5f, 0.1f, false};
  const AffinePlan weighted = {31, 36, -0.9f, 0.05f, false};
  quantize_q45(rows, row_count, column_count, importance, blocks, 5, plain, weighted);
}

INLINE void dequantize_q45(const uint8_t *blocks, size_t weight_count, float *weights, int bits) {
  for (size_t b = 0; b < weight_count / 256; ++b, blocks += bits == 5 ? 176 : 144) {
    float d = half_at(blocks), dmin = half_at(blocks + 2);
    const uint8_t *packed = blocks + 4, *qh = blocks + 16, *qs = blocks + (bits == 5 ? 48 : 16);
#pragma clang loop unroll(full)
    for (int s = 0; s < 8; ++s, weights += 32) {
      int scale, offset;
      if (s < 4) {
        scale = packed[s] & 63;
        offset = packed[s + 4] & 63;
      } else {
        scale = (packed[s + 4] & 15) | packed[s - 4] >> 6 << 4;
        offset = packed[s + 4] >> 4 | packed[s] >> 6 << 4;
      }
      float step = d * (float)scale, low = dmin * (float)offset;
      for (int i = 0; i < 32; i += LANES) {
        vbits code = load_bytes(qs + s / 2 * 32 + i) >> (s % 2 * 4) & 15u;
        if (bits == 5) code |= (load_bytes(qh + i) >> s & 1u) << 4;
        store_weights(weights + i, step * to_float((vint)code) - low);
      }
    }
  }
}

static void dequantize_q4_K(const uint8_t *blocks, size_t weight_count, float *weights) {
  dequantize_q45(blocks, weight_count, weights, 4);
}

static void dequantize_q5_K(const uint8_t *blocks, size_t weight_count, float *weights) {
  dequantize_q45(blocks, weight_count, weights, 5);
}
