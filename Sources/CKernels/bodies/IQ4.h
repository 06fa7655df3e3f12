// IQ4_NL, IQ4_XS: 4-bit codes of values that lie closer together near zero.
//
//     type    bytes  layout of 32 (IQ4_NL) and 256 (IQ4_XS) weights
//     IQ4_NL     18  d F16, 16 × codes of weights i (low 4 bits) and i + 16 (high 4 bits)
//     IQ4_XS    136  d F16, scales_h (bits 4 and 5 of 8 scales), scales_l (their low 4 bits),
//                    8 × codes as in IQ4_NL
//
// IQ4_NL: weight = d · value[code]. IQ4_XS: weight = d · (scale[s] − 32) · value[code].

/// What the codes stand for. Origin: kvalues_iq4nl of ggml; formats/quant/IQ4_NL.md.
static const float iq4_value[16] = {
  -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
};

/// Half way between two neighbours, where the upper one begins.
#define IQ4_MIDDLE(i) ((iq4_value[i] + iq4_value[(i) + 1]) * 0.5f)

// MARK: The nearest value
//
// Of two equally near values the upper one; for NaN the last one.

#if LANES == 16

// Buckets of width 8 around the multiples of 8 hold one middle at most, and none on their ends.
// The sum with 1.5 · 2^26 has a multiple's number in its low bits; two registers of 16 floats are a
// table for its low 5 bits, from 0 for 0 · 8 to 17 for 17 · 8, then from 18 for −14 · 8 to 31.
#define IQ4_BUCKETS 100663296.0f
#define NEVER 1e9f
static const float iq4_bucket_middle[32] = {
  NEVER, 7, 19, NEVER, 31.5f, NEVER, 45.5f, NEVER, 61, NEVER, 79, NEVER, NEVER, 101, NEVER, NEVER,
  NEVER, NEVER, -115.5f, NEVER, -93.5f, NEVER, NEVER, -74, NEVER, -57, NEVER, -42, -28.5f, NEVER,
  -16, -4.5f,
};
/// The code below the bucket's middle.
static const int8_t iq4_bucket_code[32] = {
  8, 8, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 14, 15, 15,
  15, 15, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 6, 6, 7,
};
#undef NEVER

/// Entries of a table of 32.
INLINE vfloat look_up(const float *table, vint index) {
  vfloat low, high;
  memcpy(&low, table, sizeof low);
  memcpy(&high, table + 16, sizeof high);
  return (vfloat)_mm512_permutex2var_ps((__m512)low, (__m512i)index, (__m512)high);
}

/// The bucket of an entry's value: its own, or the next one from its middle on.
INLINE vint iq4_bucket(vfloat x) {
  x = larger(smaller(x, splat(132)), splat(-116));
  vint bucket = as_int(x + IQ4_BUCKETS);
  return bucket - (x >= look_up(iq4_bucket_middle, bucket));
}

INLINE vfloat iq4_nearest(vfloat x) {
  float value[32];
  for (int i = 0; i < 32; ++i) value[i] = iq4_value[iq4_bucket_code[i]];
  return look_up(value, iq4_bucket(x));
}

INLINE vbits iq4_code(vfloat x) {
  float code[32];
  for (int i = 0; i < 32; ++i) code[i] = (float)iq4_bucket_code[i];
  return (vbits)__builtin_convertvector(look_up(code, iq4_bucket(x)), vint);
}

#else

INLINE vfloat iq4_nearest(vfloat x) {
  vfloat value = splat(iq4_value[15]);
#pragma clang loop unroll(full)
  for (int i = 14; i >= 0; --i) value = choose(x < IQ4_MIDDLE(i), splat(iq4_value[i]), value);
  return value;
}

INLINE vbits iq4_code(vfloat x) {
  vint code = splat_int(15);
#pragma clang loop unroll(full)
  for (int i = 0; i < 15; ++i) code += x < IQ4_MIDDLE(i);  // a true lane of a mask is −1
  return (vbits)code;
}

#endif

// MARK: The search for a scale

/// Steps that are tried together.
#define IQ4_TOGETHER 5

typedef struct {
  vfloat scale, best;
} IQ4Scale;

INLINE void iq4_try(IQ4Scale *found, vfloat x_value, vfloat value2) {
  vint better = (value2 > 0.0f) & (x_value * x_value > found->best * value2);
  vfloat scale = x_value / value2;
  found->scale = choose(better, scale, found->scale);
  found->best = choose(better, scale * x_value, found->best);
}

/// A scale for 32 weights: the one whose values explain most of Σwx².
///
/// The weight of largest magnitude goes to 127 first and then to −134, −133, … −120. Between the
/// last two of these a product step · x changes by a factor below 1.12, and neighbouring middles
/// are farther apart: each weight meets one middle at most. So the two values that a weight can
/// have, and its terms of the sums, are found once for all 15 tries.
INLINE vfloat iq4_search(const vfloat *x, const vfloat *w) {
  vfloat extreme = signed_extreme(x, 32);
  vint empty = magnitude(extreme) < LEAST_MAGNITUDE;
  extreme = choose(empty, splat(1), extreme);

  vfloat first = 1.0f / (-extreme / -127.0f);
  vfloat widest = -134.0f / extreme, narrowest = -120.0f / extreme;
  vfloat middle[32], low_x[32], low_2[32], high_x[32], high_2[32];
  vfloat x_value = splat(0), value2 = splat(0);
  for (int i = 0; i < 32; ++i) {
    vfloat value = iq4_nearest(first * x[i]);
    vfloat weighted = w[i] * value;
    x_value += weighted * x[i];
    value2 += weighted * value;

    vfloat one = iq4_nearest(widest * x[i]), other = iq4_nearest(narrowest * x[i]);
    vfloat low = smaller(one, other), high = larger(one, other);
    middle[i] = (low + high) * 0.5f;
    vfloat low_w = w[i] * low, high_w = w[i] * high;
    low_x[i] = low_w * x[i];
    low_2[i] = low_w * low;
    high_x[i] = high_w * x[i];
    high_2[i] = high_w * high;
  }
  IQ4Scale found;
  found.scale = choose(value2 > 0.0f, x_value / value2, splat(0));
  found.best = found.scale * x_value;

  for (int try = -7; try <= 7; try += IQ4_TOGETHER) {
    vfloat step[IQ4_TOGETHER], sum_x[IQ4_TOGETHER], sum_2[IQ4_TOGETHER];
#pragma clang loop unroll(full)
    for (int k = 0; k < IQ4_TOGETHER; ++k) {
      step[k] = (float)(try + k - 127) / extreme;
      sum_x[k] = sum_2[k] = splat(0);
    }
    for (int i = 0; i < 32; ++i) {
#pragma clang loop unroll(full)
      for (int k = 0; k < IQ4_TOGETHER; ++k) {
        vint is_low = step[k] * x[i] < middle[i];
        sum_x[k] += choose(is_low, low_x[i], high_x[i]);
        sum_2[k] += choose(is_low, low_2[i], high_2[i]);
      }
    }
#pragma clang loop unroll(full)
    for (int k = 0; k < IQ4_TOGETHER; ++k) iq4_try(&found, sum_x[k], sum_2[k]);
  }
  return choose(empty, splat(0), found.scale);
}

// MARK: Blocks

INLINE void quantize_iq4_nl_group(const Group *group, bool weighted) {
  vfloat x[32], w[32];
  vbits code[32], bytes[18];
  load_lanes(group->weights, 32, x);
  if (weighted) {
    vfloat q[32];
    load_lanes(group->importance, 32, q);
    importance_weights(x, q, 32, sum_of_squares(x, 32) * (2.0f / 32.0f), w);
  } else {
    for (int i = 0; i < 32; ++i) w[i] = x[i] * x[i];
  }
  vfloat scale = iq4_search(x, w), step = inverse(scale);
  for (int i = 0; i < 32; ++i) code[i] = iq4_code(step * x[i]);
  append_half(scale, bytes, 0);
  append_codes(code, 4, bytes, 2);
  store_lanes(bytes, 18, group->blocks);
}

INLINE void quantize_iq4_xs_group(const Group *group, bool weighted) {
  vfloat x[256], q[256], w[32], scale[8];
  vbits code[32], bytes[136];
  load_lanes(group->weights, 256, x);
  vfloat sigma2 = splat(0);
  if (weighted) {
    load_lanes(group->importance, 256, q);
    sigma2 = sum_of_squares(x, 256) * (2.0f / 256.0f);
  }
  for (int s = 0; s < 8; ++s) {
    const vfloat *sub = x + 32 * s;
    if (weighted) {
      importance_weights(sub, q + 32 * s, 32, sigma2, w);
    } else {
      for (int i = 0; i < 32; ++i) w[i] = sub[i] * sub[i];
    }
    scale[s] = iq4_search(sub, w);
  }

  vfloat d = -signed_extreme(scale, 8) / 32.0f, step = inverse(d);
  append_half(d, bytes, 0);
  for (int i = 2; i < 8; ++i) bytes[i] = splat_bits(0);
  for (int s = 0; s < 8; ++s) {
    vint l = clamp_int(nearest(step * scale[s]), -32, 31);
    vfloat sub_step = inverse(d * to_float(l));
    for (int i = 0; i < 32; ++i) code[i] = iq4_code(sub_step * x[32 * s + i]);
    append_codes(code, 4, bytes, 8 + 16 * s);
    vbits shifted = (vbits)(l + 32);
    bytes[2 + s / 4] |= shifted >> 4 << (2 * (s % 4));
    bytes[4 + s / 2] |= (shifted & 15u) << (4 * (s % 2));
  }
  store_lanes(bytes, 136, group->blocks);
}

static void quantize_iq4_nl(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  size_t per_row = column_count / 32, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, importance, blocks, first, count, per_row, 32, 18);
    if (importance) {
      quantize_iq4_nl_group(&group, true);
    } else {
      quantize_iq4_nl_group(&group, false);
    }
  }
}

static void quantize_iq4_xs(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  size_t per_row = column_count / 256, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, importance, blocks, first, count, per_row, 256, 136);
    if (importance) {
      quantize_iq4_xs_group(&group, true);
    } else {
      quantize_iq4_xs_group(&group, false);
    }
  }
}

/// 32 weights of one scale.
INLINE void restore_iq4(const uint8_t *codes, float scale, float *weights) {
  float value[16];
  for (int i = 0; i < 16; ++i) value[i] = scale * iq4_value[i];
  for (int i = 0; i < 16; ++i) {
    weights[i] = value[codes[i] & 15];
    weights[i + 16] = value[codes[i] >> 4];
  }
}

static void dequantize_iq4_nl(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 32; ++b, blocks += 18, weights += 32) {
    restore_iq4(blocks + 2, half_at(blocks), weights);
  }
}

static void dequantize_iq4_xs(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 256; ++b, blocks += 136) {
    float d = half_at(blocks);
    for (int s = 0; s < 8; ++s, weights += 32) {
      int scale = (blocks[4 + s / 2] >> (s % 2 * 4) & 15)
                  | (blocks[2 + s / 4] >> (s % 4 * 2) & 3) << 4;
      restore_iq4(blocks + 8 + 16 * s, d * (float)(scale - 32), weights);
    }
  }
}
