// TQ1_0, TQ2_0: 256 weights of three values, −d, 0 and d.
//
//     type   bytes  layout
//     TQ1_0     54  qs  byte i: digits of weights i + 0, 32, 64, 96, 128 for i < 32,
//                       of weights 160 + j + 0, 16, 32, 48, 64 for i = 32 + j
//                   qh  4 bytes, byte j: digits of weights 240 + j + 0, 4, 8, 12, and 0
//                   d   F16
//     TQ2_0     66  qs  byte 32·h + i: codes of weights 128·h + i + 0, 32, 64, 96, two bits each
//                   d   F16
//
// weight = d · (digit − 1). A byte of TQ1_0 is the fraction 0.abcde in base 3, in 256ths and
// rounded up: three times it has the digit a above 8 bits and the rest below.

/// Digits of 256 weights, and d: low 8 bits of 1 + the weight in units of the largest magnitude,
/// rounded half away from zero.
INLINE vfloat ternary_digits(const vfloat *x, vbits *digit) {
  vfloat d = splat(0);
  for (int i = 0; i < 256; ++i) d = larger(d, magnitude(x[i]));
  vfloat step = inverse(d);
  vint far = splat_int(0);
  for (int i = 0; i < 256; ++i) {
    vfloat unit = step * x[i];
    far |= magnitude(unit) >= 1.5f;
    digit[i] = (vbits)((unit <= -0.5f) - (unit >= 0.5f) + 1);  // a true lane of a mask is −1
  }
  // Only where NaN hid the largest magnitude, or its inverse overflowed.
  if (__builtin_expect(any(far), 0)) {
    for (int i = 0; i < 256; ++i) digit[i] = (vbits)(nearest_away(step * x[i]) + 1) & 0xFFu;
  }
  return d;
}

/// A byte of TQ1_0 from `count` digits, `apart` from one another.
INLINE vbits ternary_byte(const vbits *digit, int apart, int count) {
  vbits number = splat_bits(0);
  for (int k = 0; k < 5; ++k) {
    number = number * 3u;
    if (k < count) number += digit[k * apart];
  }
  // (n · 256 + 242) / 243 = n + (n · 13 + 242) / 243, here exact for every n below 256.
  number &= 0xFFu;
  return number + ((number * 13u + 242u) * 4316u >> 20);
}

INLINE void quantize_tq1_0_group(const Group *group) {
  vfloat x[256];
  vbits digit[256], bytes[54];
  load_lanes(group->weights, 256, x);
  vfloat d = ternary_digits(x, digit);
  for (int i = 0; i < 32; ++i) bytes[i] = ternary_byte(digit + i, 32, 5);
  for (int i = 0; i < 16; ++i) bytes[32 + i] = ternary_byte(digit + 160 + i, 16, 5);
  for (int i = 0; i < 4; ++i) bytes[48 + i] = ternary_byte(digit + 240 + i, 4, 4);
  append_half(d, bytes, 52);
  store_lanes(bytes, 54, group->blocks);
}

INLINE void quantize_tq2_0_group(const Group *group) {
  vfloat x[256];
  vbits digit[256], bytes[66];
  load_lanes(group->weights, 256, x);
  vfloat d = ternary_digits(x, digit);
  for (int i = 0; i < 64; ++i) {
    const vbits *first = digit + i / 32 * 128 + i % 32;
    bytes[i] = splat_bits(0);
    for (int k = 0; k < 4; ++k) bytes[i] |= (first[32 * k] & 3u) << (2 * k);
  }
  append_half(d, bytes, 64);
  store_lanes(bytes, 66, group->blocks);
}

static void quantize_tq1_0(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  (void)importance;
  size_t per_row = column_count / 256, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, NULL, blocks, first, count, per_row, 256, 54);
    quantize_tq1_0_group(&group);
  }
}

static void quantize_tq2_0(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  (void)importance;
  size_t per_row = column_count / 256, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, NULL, blocks, first, count, per_row, 256, 66);
    quantize_tq2_0_group(&group);
  }
}

/// Sixteen weights d · (digit − 1).
INLINE void restore_digits(short16 digits, float d, float *weights) {
#if defined(__x86_64__) && LANES >= 8
  const float levels[4] = {-1 * d, 0 * d, d, d};
  float16 weight = pick_of_4(levels, __builtin_convertvector(digits, bits16));
#else
  float16 weight = __builtin_convertvector(__builtin_convertvector(digits, int16) - 1, float16) * d;
#endif
  memcpy(weights, &weight, sizeof weight);
}

/// Five digits of each of `width` bytes, a multiple of 16: digit k of byte i is weight
/// k · width + i.
INLINE void restore_ternary(const uint8_t *bytes, int width, float d, float *weights) {
  typedef uint8_t bytes16 __attribute__((ext_vector_type(16)));
  for (int i = 0; i < width; i += 16) {
    bytes16 narrow;
    memcpy(&narrow, bytes + i, sizeof narrow);
    short16 rest = __builtin_convertvector(narrow, short16);
#pragma clang loop unroll(full)
    for (int k = 0; k < 5; ++k) {
      short16 tripled = rest + rest + rest;
      restore_digits(tripled >> 8, d, weights + k * width + i);
      rest = tripled & 0xFF;
    }
  }
}

/// The block's last 16 weights: four digits of each of 4 bytes.
INLINE void restore_last_ternary(const uint8_t *bytes, float d, float *weights) {
  uint8_t rest[4];
  memcpy(rest, bytes, sizeof rest);
  for (int k = 0; k < 4; ++k) {
    for (int i = 0; i < 4; ++i) {
      uint16_t tripled = (uint16_t)(rest[i] * 3);
      rest[i] = (uint8_t)tripled;
      weights[k * 4 + i] = (float)((tripled >> 8) - 1) * d;
    }
  }
}

static void dequantize_tq1_0(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 256; ++b, blocks += 54, weights += 256) {
    float d = half_at(blocks + 52);
    restore_ternary(blocks, 32, d, weights);
    restore_ternary(blocks + 32, 16, d, weights + 160);
    restore_last_ternary(blocks + 48, d, weights + 240);
  }
}

static void dequantize_tq2_0(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 256; ++b, blocks += 66) {
    float d = half_at(blocks + 64);
    for (int part = 0; part < 8; ++part, weights += 32) {
      const uint8_t *codes = blocks + part / 4 * 32;
      for (int i = 0; i < 32; ++i) {
        weights[i] = (float)((codes[i] >> (part % 4 * 2) & 3) - 1) * d;
      }
    }
  }
}
