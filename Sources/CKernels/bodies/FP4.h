// MXFP4, NVFP4: codes that are floating point numbers of 4 bits (E2M1: sign, 2 bits exponent, 1 bit
// fraction).
//
//     type   weights  bytes  layout
//     MXFP4       32     17  e (E8M0: 2^(e − 127)), 16 × codes of weights i (low 4 bits) and
//                            i + 16 (high 4 bits)
//     NVFP4       64     36  4 × d (UE4M3: 4 bits exponent, 3 bits fraction), then for each
//                            sub-block of 16 its 8 × codes of weights i (low) and i + 8 (high)
//
// weight = d · value[code] / 2, d the scale of the block or sub-block. Values are doubled, so that
// they are integers, and scales halved.

/// What the codes stand for, doubled. Origin: kvalues_mxfp4 of ggml; formats/quant/MXFP4.md.
static const float fp4_value[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// MARK: Codes

/// The first of the codes whose products with d are nearest, in the rounding of the difference.
INLINE vbits fp4_first_nearest(vfloat x, vfloat d) {
  vfloat least = magnitude(fp4_value[0] * d - x);
  vbits code = splat_bits(0);
  for (int i = 1; i < 16; ++i) {
    vfloat difference = magnitude(fp4_value[i] * d - x);
    vint better = difference < least;
    least = choose(better, difference, least);
    code = choose_bits(better, splat_bits((uint32_t)i), code);
  }
  return code;
}

/// Codes of `count` weights, none above `greatest` in magnitude, in units of d.
///
/// Up to 16 d the middles between neighbours decide, as every difference that matters is exact; of
/// two equally near values the one nearer to zero wins.
INLINE void fp4_codes(const vfloat *x, int count, vfloat greatest, vfloat d, vbits *code) {
  vint plain = (greatest <= d * 16.0f) & (d * 16.0f <= 0x1.fffffep127f);
  if (__builtin_expect(all(plain), 1)) {
    for (int i = 0; i < count; ++i) {
      vfloat size = magnitude(x[i]);
      vint level = splat_int(0);  // a true lane of a mask is −1
#pragma clang loop unroll(full)
      for (int k = 0; k < 7; ++k) level -= size > d * ((fp4_value[k] + fp4_value[k + 1]) * 0.5f);
      vint negative = (x[i] < 0.0f) & (level > 0);
      code[i] = (vbits)(level | (negative & 8));
    }
  } else {
    for (int i = 0; i < count; ++i) code[i] = fp4_first_nearest(x[i], d);
  }
}

INLINE vfloat greatest_magnitude(const vfloat *x, int count) {
  vfloat greatest = splat(0);
  for (int i = 0; i < count; ++i) greatest = larger(magnitude(x[i]), greatest);
  return greatest;
}

// MARK: Scales

/// floor(log2(x)) for finite x > 0, where the logarithm is rounded to single precision first.
///
/// Just below a power of two the logarithm can round up to that power's number n. The floats there
/// are 2^(n−24) apart, the logarithm's values 2^(E−23), E = floor(log2 |n|), or |n − 1| for n > 0:
/// the last ln 2 · 2^E floats below 2^n are taken for 2^n. That count, rounded down, equals what
/// glibc's log2f does for all 2,139,095,039 positive floats.
INLINE vint rounded_log2(vfloat x) {
  vint tiny = as_int(x) < 0x00800000;
  x = choose(tiny, x * 0x1p32f, x);
  vint exponent = (as_int(x) >> 23) - 127 - (tiny & 32);
  vfloat distance = to_float(choose_int(exponent < 0, ~exponent, exponent));
  vfloat power = as_float(as_bits(distance) & 0x7F800000u);
  vint taken = __builtin_convertvector(power * 0.6931472f, vint);
  return exponent + (((as_int(x) & 0x7FFFFF) + taken) >> 23);
}

/// Half of the E8M0 scale e.
INLINE vfloat half_e8m0(vbits e) {
  return as_float(choose_bits((vint)(e < 2u), splat_bits(0x00200000) << (e & 1u), (e - 1u) << 23));
}

/// The UE4M3 number nearest to x > 0: half up, at most 448; 0 for all else.
INLINE vbits to_ue4m3(vfloat x) {
  vint positive = x > 0.0f;
  x = smaller(x, splat(448));
  vint normal = ((as_int(x) + 0x00080000) >> 20) - (120 << 3);
  normal = choose_int(normal < 15 << 3, normal, splat_int(0x7E));
  vint subnormal = truncated(x * 512.0f + 0.5f);
  subnormal = choose_int(subnormal < 7, subnormal, splat_int(7));
  vint number = choose_int((as_int(x) >> 23) <= 120, subnormal, normal);
  return (vbits)choose_int(positive, number, splat_int(0));
}

/// Half of the UE4M3 number in the low 8 bits; bit 7 is ignored, and 0x7F is 0.
INLINE vfloat half_ue4m3(vbits number) {
  vbits exponent = number >> 3 & 15u, fraction = number & 7u;
  vfloat subnormal = to_float((vint)fraction) * 0x1p-10f;
  vfloat normal = as_float(((exponent + 119u) << 23) | (fraction << 20));
  vfloat half = choose((vint)(exponent == 0u), subnormal, normal);
  return choose((vint)(number == 0x7Fu), splat(0), half);
}

// MARK: Blocks

INLINE void quantize_mxfp4_group(const Group *group) {
  vfloat x[32];
  vbits code[32], bytes[17];
  load_lanes(group->weights, 32, x);
  vfloat greatest = greatest_magnitude(x, 32);
  // An exponent below 0 wraps as a byte.
  vbits e = (vbits)(rounded_log2(greatest) + 125) & 0xFFu;
  vint usable = (greatest > 0.0f) & (greatest <= 0x1.fffffep127f);
  e = choose_bits(usable, e, splat_bits(0));
  fp4_codes(x, 32, greatest, half_e8m0(e), code);
  bytes[0] = e;
  append_codes(code, 4, bytes, 1);
  store_lanes(bytes, 17, group->blocks);
}

INLINE void quantize_nvfp4_group(const Group *group) {
  vfloat x[64];
  vbits code[16], bytes[36];
  load_lanes(group->weights, 64, x);
  for (int s = 0; s < 4; ++s) {
    vfloat greatest = greatest_magnitude(x + 16 * s, 16);
    bytes[s] = to_ue4m3(greatest / 6.0f);
    fp4_codes(x + 16 * s, 16, greatest, half_ue4m3(bytes[s]), code);
    for (int i = 0; i < 8; ++i) bytes[4 + 8 * s + i] = code[i] | code[i + 8] << 4;
  }
  store_lanes(bytes, 36, group->blocks);
}

static void quantize_mxfp4(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  (void)importance;
  size_t per_row = column_count / 32, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, NULL, blocks, first, count, per_row, 32, 17);
    quantize_mxfp4_group(&group);
  }
}

static void quantize_nvfp4(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  (void)importance;
  size_t per_row = column_count / 64, count = row_count * per_row;
  for (size_t first = 0; first < count; first += LANES) {
    Group group = group_of_blocks(rows, NULL, blocks, first, count, per_row, 64, 36);
    quantize_nvfp4_group(&group);
  }
}

/// Weights of 2 · `half` codes and a halved scale.
INLINE void restore_fp4(const uint8_t *codes, int half, float d, float *weights) {
  float value[16];
  for (int i = 0; i < 16; ++i) value[i] = fp4_value[i] * d;
  for (int i = 0; i < half; ++i) {
    weights[i] = value[codes[i] & 15];
    weights[i + half] = value[codes[i] >> 4];
  }
}

static void dequantize_mxfp4(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 32; ++b, blocks += 17, weights += 32) {
    restore_fp4(blocks + 1, 16, half_e8m0(splat_bits(blocks[0]))[0], weights);
  }
}

static void dequantize_nvfp4(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t b = 0; b < weight_count / 64; ++b, blocks += 36) {
    for (int s = 0; s < 4; ++s, weights += 16) {
      restore_fp4(blocks + 4 + 8 * s, 8, half_ue4m3(splat_bits(blocks[s]))[0], weights);
    }
  }
}
