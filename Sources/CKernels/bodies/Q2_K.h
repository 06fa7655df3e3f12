// Q2_K: 256 weights in 84 bytes.
//
//     offset  bytes  field
//          0     16  scales  per sub-block of 16: low 4 bits scale, high 4 bits offset
//         16     64  qs      byte 32·h + i: 2-bit codes of weights 128·h + i + 0, 32, 64, 96
//         80      2  d       F16 scale of scales
//         82      2  dmin    F16 scale of offsets
//
// weight = d · scale[s] · code − dmin · offset[s], s = sub-block of 16.

/// Byte 32·h + i takes the codes of weights 128·h + i + 0, 32, 64 and 96 (Q2_K and Q3_K).
INLINE void pack_two_bits(const vbits *code, vbits *bytes) {
  for (int half = 0; half < 2; ++half) {
    for (int i = 0; i < 32; ++i) {
      const vbits *c = code + 128 * half + i;
      bytes[32 * half + i] =
        (c[0] & 3u) | (c[32] & 3u) << 2 | (c[64] & 3u) << 4 | (c[96] & 3u) << 6;
    }
  }
}

INLINE void quantize_q2_K_group(const Group *group, bool weighted) {
  const AffinePlan plan = {3, 15, -0.5f, 0.1f, true};
  const AffinePlan weighted_plan = {3, 36, -0.9f, 0.05f, false};
  vfloat x[256], q[256], w[16 * SEARCHED_TOGETHER], scale[16], offset[16], weight[16];
  vbits code[256], bytes[84];
  Affine found[16];

  load_lanes(group->weights, 256, x);
  vfloat sigma2 = splat(0);
  if (weighted) {
    load_lanes(group->importance, 256, q);
    sigma2 = sum_of_squares(x, 256) / 256.0f;
  }
  for (int first = 0; first < 16; first += SEARCHED_TOGETHER) {
    for (int k = 0; k < SEARCHED_TOGETHER; ++k) {
      int j = first + k;
      const vfloat *xs = x + 16 * j;
      vfloat *ws = w + 16 * k;
      if (weighted) {
        importance_weights(xs, q + 16 * j, 16, sigma2, ws);
        weight[j] = sum_of(ws, 16);
      } else {
        for (int i = 0; i < 16; ++i) ws[i] = magnitude(xs[i]);
      }
    }
    affine_search(
      x + 16 * first, w, 16, SEARCHED_TOGETHER, weighted ? weighted_plan : plan, found + first);
  }
  for (int j = 0; j < 16; ++j) {
    scale[j] = found[j].scale;
    offset[j] = found[j].offset;
  }

  vbits d, dmin;
  if (weighted) {
    vbits scale_code[16], offset_code[16];
    d = scale_half(positive_search(scale, weight, 16, 15, scale_code));
    dmin = scale_half(positive_search(offset, weight, 16, 15, offset_code));
    for (int j = 0; j < 16; ++j) bytes[j] = (scale_code[j] | offset_code[j] << 4) & 0xFFu;
  } else {
    vfloat top_scale = splat(0), top_offset = splat(0);
    for (int j = 0; j < 16; ++j) {
      top_scale = choose(scale[j] > top_scale, scale[j], top_scale);
      top_offset = choose(offset[j] > top_offset, offset[j], top_offset);
    }
    vint scaled = top_scale > 0.0f, shifted = top_offset > 0.0f;
    vfloat scale_step = 15.0f / top_scale, offset_step = 15.0f / top_offset;
    for (int j = 0; j < 16; ++j) {
      vbits low = (vbits)nearest(scale_step * scale[j]) & (vbits)scaled;
      vbits high = (vbits)nearest(offset_step * offset[j]) & (vbits)shifted;
      bytes[j] = (low | high << 4) & 0xFFu;
    }
    d = choose_bits(scaled, scale_half(top_scale / 15.0f), splat_bits(0));
    dmin = choose_bits(shifted, scale_half(top_offset / 15.0f), splat_bits(0));
  }

  for (int j = 0; j < 16; ++j) {
    stored_codes(
      x + 16 * j, 16, from_half(d) * to_float((vint)(bytes[j] & 15u)),
      from_half(dmin) * to_float((vint)(bytes[j] >> 4)), found[j], 3, code + 16 * j);
  }
  pack_two_bits(code, bytes + 16);
  bytes[80] = d;
  bytes[81] = d >> 8;
  bytes[82] = dmin;
  bytes[83] = dmin >> 8;
  store_lanes(bytes, 84, group->blocks);
}

static void quantize_q2_K(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  size_t per_row = column_count / 256, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group =
      group_of_blocks(rows, importance, blocks, first, count, per_row, 256, 84);
    if (importance) {
      quantize_q2_K_group(&group, true);
    } else {
      quantize_q2_K_group(&group, false);
    }
  }
}

static void dequantize_q2_K(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 256; ++b, blocks += 84) {
    float d = half_at(blocks + 80), dmin = half_at(blocks + 82);
#pragma clang loop unroll(full)
    for (int s = 0; s < 16; ++s, weights += 16) {
      const uint8_t *qs = blocks + 16 + s / 8 * 32 + s % 2 * 16;
      float step = d * (float)(blocks[s] & 15), low = dmin * (float)(blocks[s] >> 4);
      for (int i = 0; i < 16; i += LANES) {
        vbits code = load_bytes(qs + i) >> (s % 8 / 2 * 2) & 3u;
        store_weights(weights + i, step * to_float((vint)code) - low);
      }
    }
  }
}
