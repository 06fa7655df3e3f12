// F16, BF16 and F64: one number per weight.

static void quantize_f16(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  (void)importance;
  size_t count = row_count * column_count, first = 0;
  vfloat x;
  vshorts halves;
  for (; first + LANES <= count; first += LANES) {
    memcpy(&x, rows + first, sizeof x);
    halves = to_halves(x);
    memcpy(blocks + 2 * first, &halves, sizeof halves);
  }
  if (first == count) return;
  x = splat(0);
  memcpy(&x, rows + first, (count - first) * sizeof(float));
  halves = to_halves(x);
  memcpy(blocks + 2 * first, &halves, 2 * (count - first));
}

/// Upper half of the number, rounded half to even; NaN keeps its upper bits and becomes quiet.
static void quantize_bf16(
  const float *rows, size_t row_count, size_t column_count, const float *importance,
  uint8_t *blocks) {
  (void)importance;
  for (size_t i = 0; i < row_count * column_count; ++i) {
    uint32_t bits;
    memcpy(&bits, rows + i, 4);
    uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    uint16_t upper = (uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? bits >> 16 | 0x40 : rounded);
    memcpy(blocks + 2 * i, &upper, 2);
  }
}

static void dequantize_f16(const uint8_t *blocks, size_t weight_count, float *weights) {
  size_t first = 0;
  vfloat x;
  vshorts halves;
  for (; first + LANES <= weight_count; first += LANES) {
    memcpy(&halves, blocks + 2 * first, sizeof halves);
    store_weights(weights + first, from_halves(halves));
  }
  if (first == weight_count) return;
  halves = (vshorts)0;
  memcpy(&halves, blocks + 2 * first, 2 * (weight_count - first));
  x = from_halves(halves);
  memcpy(weights + first, &x, (weight_count - first) * sizeof(float));
}

static void dequantize_bf16(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t i = 0; i < weight_count; ++i) {
    uint16_t upper;
    memcpy(&upper, blocks + 2 * i, 2);
    uint32_t bits = (uint32_t)upper << 16;
    memcpy(weights + i, &bits, 4);
  }
}

/// Rounded half to even; too large becomes infinite.
static void dequantize_f64(const uint8_t *blocks, size_t weight_count, float *weights) {
  for (size_t i = 0; i < weight_count; ++i) {
    double value;
    memcpy(&value, blocks + 8 * i, 8);
    weights[i] = (float)value;
  }
}

static size_t first_non_finite(const float *values, size_t count) {
  const uint32_t exponent = 0x7F800000;
  size_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    vbits bits;
    memcpy(&bits, values + i, sizeof bits);
    if (any((vint)((bits & exponent) == exponent))) break;
  }
  for (; i < count; ++i) {
    uint32_t bits;
    memcpy(&bits, values + i, 4);
    if ((bits & exponent) == exponent) return i;
  }
  return count;
}
