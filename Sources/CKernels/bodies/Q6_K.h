// Q6_K: 256 weights in 210 bytes.
//
//     offset  bytes  field
//          0    128  ql      byte 64·h + i: low 4 bits of weights 128·h + i and 128·h + 64 + i
//        128     64  qh      byte 32·h + i: high 2 bits of weights 128·h + i + 0, 32, 64, 96
//        192     16  scales  signed 8 bits per sub-block of 16
//        208      2  d       F16 scale of scales
//
// weight = d · scale[s] · (code − 32), s = sub-block of 16.

INLINE void quantize_q6_K_group(const Group *group, bool weighted) {
  vfloat x[256], q[256], w[16], scale[16];
  vbits code[256], bytes[210];
  Symmetric found[16];

  load_lanes(group->weights, 256, x);
  if (weighted) load_lanes(group->importance, 256, q);
  for (int j = 0; j < 16; ++j) {
    for (int i = 0; i < 16; ++i) {
      w[i] = weighted ? q[16 * j + i] : x[16 * j + i] * x[16 * j + i];
    }
    found[j] = symmetric_search(x + 16 * j, w, 16, 32);
    scale[j] = found[j].scale;
  }

  vfloat extreme = signed_extreme(scale, 16);
  vint empty = magnitude(extreme) < LEAST_MAGNITUDE;
  extreme = choose(empty, splat(1), extreme);
  vfloat step = -128.0f / extreme;
  vbits d = scale_half(1.0f / step);
  for (int j = 0; j < 16; ++j) {
    vint l = nearest(step * scale[j]);
    l = choose_int(l < 127, l, splat_int(127)) << 24 >> 24;
    bytes[192 + j] = (vbits)l;
    vfloat sub_step = from_half(d) * to_float(l);
    vint zero = sub_step == 0.0f;
    for (int i = 16 * j; i < 16 * j + 16; ++i) {
      code[i] = (vbits)(clamp_int(nearest(x[i] / sub_step), -32, 31) + 32);
    }
    if (!any(zero)) continue;
    for (int i = 16 * j; i < 16 * j + 16; ++i) {
      code[i] = choose_bits(zero, symmetric_code(found[j], x[i], 32), code[i]);
    }
  }
  for (int half = 0; half < 2; ++half) {
    const vbits *c = code + 128 * half;
    for (int i = 0; i < 64; ++i) {
      bytes[64 * half + i] = (c[i] & 15u) | ((c[i + 64] & 15u) << 4);
    }
    for (int i = 0; i < 32; ++i) {
      bytes[128 + 32 * half + i] =
        c[i] >> 4 | c[i + 32] >> 4 << 2 | c[i + 64] >> 4 << 4 | c[i + 96] >> 4 << 6;
    }
  }
  bytes[208] = d;
  bytes[209] = d >> 8;
  if (any(empty)) {
    for (int i = 0; i < 210; ++i) bytes[i] = choose_bits(empty, splat_bits(0), bytes[i]);
  }
  store_lanes(bytes, 210, group->blocks);
}

static void quantize_q6_K(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  size_t per_row = column_count / 256, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group =
      group_of_blocks(rows, importance, blocks, first, count, per_row, 256, 210);
    if (importance) {
      quantize_q6_K_group(&group, true);
    } else {
      quantize_q6_K_group(&group, false);
    }
  }
}

static void dequantize_q6_K(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 256; ++b, blocks += 210) {
    const int8_t *scales = (const int8_t *)blocks + 192;
    float d = half_at(blocks + 208);
#pragma clang loop unroll(full)
    for (int s = 0; s < 16; ++s, weights += 16) {
      int half = s / 8, quarter = s % 8 / 2, side = s % 2 * 16;
      const uint8_t *ql = blocks + 64 * half + 32 * (quarter & 1) + side;
      const uint8_t *qh = blocks + 128 + 32 * half + side;
      float step = d * (float)scales[s];
      for (int i = 0; i < 16; i += LANES) {
        vbits code = load_bytes(ql + i) >> (quarter / 2 * 4) & 15u;
        code |= (load_bytes(qh + i) >> (quarter * 2) & 3u) << 4;
        store_weights(weights + i, step * to_float((vint)code - 32));
      }
    }
  }
}
