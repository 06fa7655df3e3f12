// Q3_K: 256 weights in 110 bytes.
//
//     offset  bytes  field
//          0     32  hmask   bit k of byte i is the high bit of the code of weight 32·k + i
//         32     64  qs      byte 32·h + i: low 2 bits of weights 128·h + i + 0, 32, 64, 96
//         96     12  scales  16 × 6 bits, stored plus 32: low 4 bits of s and s + 8 in byte s,
//                            high 2 bits of s, s + 4, s + 8, s + 12 in byte 8 + s
//        108      2  d       F16 scale of scales
//
// weight = d · (scale[s] − 32) · (code − 4), s = sub-block of 16.

/// Sub-blocks that are fitted together: sums are chains of dependent additions, and several chains
/// keep the processor busy.
#define FITTED_TOGETHER 4

/// Refines the codes of one sub-block with weights x², one by one, until a round changes none.
///
/// Nearly every weight keeps its code: then the sums stay as they are, nothing waits for anything,
/// and half of the arithmetic is not needed.
INLINE void refine_codes(const vfloat *x, vfloat *level, vfloat *x_code, vfloat *code2) {
  // A round without a change in a lane leaves it as it is, so further rounds do no harm there.
  for (int round = 0; round < 5; ++round) {
    vint changed = splat_int(0);
    for (int i = 0; i < 16; ++i) {
      vfloat xi = x[i], old = level[i];
      vfloat w = xi * xi;
      vfloat rest_x = *x_code - w * xi * old;
      vfloat rest_2 = *code2 - w * old * old;
      vfloat l = to_float(clamp_int(nearest(xi * rest_2 / rest_x), -4, 3));
      vint better = (rest_x > 0.0f) & (l != old);
      if (!any(better)) continue;
      vfloat new_x = rest_x + w * xi * l;
      vfloat new_2 = rest_2 + w * l * l;
      better &= (new_2 > 0.0f) & (new_x * new_x * *code2 > *x_code * *x_code * new_2);
      level[i] = choose(better, l, old);
      *x_code = choose(better, new_x, *x_code);
      *code2 = choose(better, new_2, *code2);
      changed |= better;
    }
    if (!any(changed)) break;
  }
}

/// Scales of sub-blocks without importance. The codes from 0 to 7 are left in `code`.
INLINE void refined_scales(const vfloat *x, vfloat *scale, vbits *code) {
  enum { TOGETHER = FITTED_TOGETHER };
  vfloat step[TOGETHER], x_code[TOGETHER], code2[TOGETHER], level[16 * TOGETHER];
  vint empty[TOGETHER];
  for (int k = 0; k < TOGETHER; ++k) {
    vfloat extreme = signed_extreme(x + 16 * k, 16);
    empty[k] = magnitude(extreme) < LEAST_MAGNITUDE;
    step[k] = -4.0f / choose(empty[k], splat(1), extreme);
    x_code[k] = code2[k] = splat(0);
    for (int i = 16 * k; i < 16 * k + 16; ++i) {
      level[i] = to_float(clamp_int(nearest(step[k] * x[i]), -4, 3));
      vfloat w = x[i] * x[i];
      x_code[k] += w * x[i] * level[i];
      code2[k] += w * level[i] * level[i];
    }
  }
  for (int k = 0; k < TOGETHER; ++k) {
    refine_codes(x + 16 * k, level + 16 * k, x_code + k, code2 + k);
    for (int i = 16 * k; i < 16 * k + 16; ++i) {
      vint l = __builtin_convertvector(level[i], vint) + 4;
      code[i] = (vbits)choose_int(empty[k], splat_int(0), l);
    }
    vfloat fitted = choose(code2[k] > 0.0f, x_code[k] / code2[k], splat(0));
    scale[k] = choose(empty[k], splat(0), fitted);
  }
}

INLINE void quantize_q3_K_group(const Group *group, bool weighted) {
  vfloat x[256], q[256], w[16], scale[16], weight[16];
  vbits code[256], bytes[110], scale_code[16], d;

  load_lanes(group->weights, 256, x);
  if (weighted) {
    load_lanes(group->importance, 256, q);
    vfloat sigma2 = 2.0f * sum_of_squares(x, 256) / 256.0f;
    for (int j = 0; j < 16; ++j) {
      importance_weights(x + 16 * j, q + 16 * j, 16, sigma2, w);
      weight[j] = sum_of(w, 16);
      Symmetric found = symmetric_search(x + 16 * j, w, 16, 4);
      scale[j] = found.scale;
      for (int i = 16 * j; i < 16 * j + 16; ++i) code[i] = symmetric_code(found, x[i], 4);
    }
    Symmetric all_scales = symmetric_search(scale, weight, 16, 32);
    for (int j = 0; j < 16; ++j) scale_code[j] = symmetric_code(all_scales, scale[j], 32);
    d = scale_half(all_scales.scale);
  } else {
    for (int j = 0; j < 16; j += FITTED_TOGETHER) {
      refined_scales(x + 16 * j, scale + j, code + 16 * j);
    }
    vfloat extreme = signed_extreme(scale, 16);
    vint scaled = extreme != 0.0f;
    vfloat step = -32.0f / extreme;
    for (int j = 0; j < 16; ++j) {
      // The reference keeps only the low byte of the rounded number before it clamps.
      vint l = nearest(step * scale[j]) << 24 >> 24;
      scale_code[j] = (vbits)(clamp_int(l, -32, 31) + 32) & (vbits)scaled;
    }
    d = choose_bits(scaled, scale_half(1.0f / step), splat_bits(0));
  }

  for (int j = 0; j < 16; ++j) {
    vfloat step = from_half(d) * to_float((vint)scale_code[j] - 32);
    vint zero = step == 0.0f;
    for (int i = 16 * j; i < 16 * j + 16; ++i) {
      vbits l = (vbits)(clamp_int(nearest(x[i] / step), -4, 3) + 4);
      code[i] = choose_bits(zero, code[i], l);
    }
  }

  for (int i = 0; i < 32; ++i) {
    vbits high = splat_bits(0);
    for (int k = 7; k >= 0; --k) high = (high << 1) | (code[32 * k + i] >> 2);
    bytes[i] = high;
  }
  pack_two_bits(code, bytes + 32);
  for (int s = 0; s < 8; ++s) {
    bytes[96 + s] = (scale_code[s] & 15u) | ((scale_code[s + 8] & 15u) << 4);
  }
  for (int s = 0; s < 4; ++s) {
    bytes[104 + s] = scale_code[s] >> 4 | scale_code[s + 4] >> 4 << 2
                     | scale_code[s + 8] >> 4 << 4 | scale_code[s + 12] >> 4 << 6;
  }
  bytes[108] = d;
  bytes[109] = d >> 8;
  store_lanes(bytes, 110, group->blocks);
}

static void quantize_q3_K(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  size_t per_row = column_count / 256, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group =
      group_of_blocks(rows, importance, blocks, first, count, per_row, 256, 110);
    if (importance) {
      quantize_q3_K_group(&group, true);
    } else {
      quantize_q3_K_group(&group, false);
    }
  }
}

static void dequantize_q3_K(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 256; ++b, blocks += 110) {
    const uint8_t *packed = blocks + 96;
    float d = half_at(blocks + 108);
#pragma clang loop unroll(full)
    for (int s = 0; s < 16; ++s, weights += 16) {
      const uint8_t *high = blocks + s % 2 * 16;
      const uint8_t *qs = blocks + 32 + s / 8 * 32 + s % 2 * 16;
      int scale = (packed[s % 8] >> (s / 8 * 4) & 15) | (packed[8 + s % 4] >> (s / 4 * 2) & 3) << 4;
      float step = d * (float)(scale - 32);
      for (int i = 0; i < 16; i += LANES) {
        vbits code = load_bytes(qs + i) >> (s % 8 / 2 * 2) & 3u;
        code |= (load_bytes(high + i) >> (s / 2) & 1u) << 2;
        store_weights(weights + i, step * to_float((vint)code - 4));
      }
    }
  }
}
