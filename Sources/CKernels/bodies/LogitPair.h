// Two rows of logits and what comparing their distributions needs, LANES entries at a time.
//
// Included once per instruction set by Measures.c, which defines LANES and NAME. Figures of a
// forward pass need not be equal to the last bit everywhere, so contraction is allowed here.

typedef float NAME(vfloat) __attribute__((ext_vector_type(LANES)));
typedef int32_t NAME(vint) __attribute__((ext_vector_type(LANES)));

/// exp of numbers up to 0, to 2 units in the last place; 0 below −87, NaN for NaN.
static inline __attribute__((always_inline)) NAME(vfloat) NAME(exponential)(NAME(vfloat) x) {
  // x = n ln 2 + r with |r| ≤ ln 2 / 2; exp x = 2^n exp r.
  NAME(vfloat) clamped = x > -87.0f ? x : (NAME(vfloat))-87.0f;
  NAME(vfloat) n = (clamped * 1.44269504f + 12582912.0f) - 12582912.0f;
  NAME(vfloat) r = clamped - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  NAME(vfloat) y = r * 1.9875691500e-4f + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = y * (r * r) + r + 1.0f;
  NAME(vint) exponent = (__builtin_convertvector(n, NAME(vint)) + 127) << 23;
  y = y * (NAME(vfloat))exponent;
  y = x < -87.0f ? (NAME(vfloat))0.0f : y;
  return x == x ? y : x;
}

/// A vector of entries, idle lanes filled with a logit that has no probability.
static inline __attribute__((always_inline)) NAME(vfloat) NAME(load)(const float *at, size_t left) {
  NAME(vfloat) v = (NAME(vfloat))-1e30f;
  memcpy(&v, at, (left < LANES ? left : LANES) * sizeof(float));
  return v;
}

static inline __attribute__((always_inline)) float NAME(maximum)(const float *row, size_t count) {
  NAME(vfloat) largest = (NAME(vfloat))-INFINITY;
  for (size_t i = 0; i < count; i += LANES) {
    NAME(vfloat) v = NAME(load)(row + i, count - i);
    largest = v > largest ? v : largest;
  }
  float result = largest[0];
  for (int lane = 1; lane < LANES; ++lane) result = largest[lane] > result ? largest[lane] : result;
  return result;
}

static inline __attribute__((always_inline)) double NAME(total)(NAME(vfloat) v) {
  double result = 0;
  for (int lane = 0; lane < LANES; ++lane) result += (double)v[lane];
  return result;
}

/// Takes the largest entry into account; the first one counts where several are equal.
static inline __attribute__((always_inline)) void NAME(find_top)(
  const float *row, size_t count, float largest, int32_t first, ingot_logit_sum *sum) {
  if (!((double)largest > sum->maximum)) return;
  for (size_t i = 0; i < count; ++i) {
    if (row[i] != largest) continue;
    sum->top = first + (int32_t)i;
    break;
  }
}

static void NAME(add_logits)(
  const float *p, const float *q, size_t count, int32_t first, ingot_logit_pair *pair) {
  // Old sums are brought to the new largest logit.
  float largest = NAME(maximum)(p, count);
  NAME(find_top)(p, count, largest, first, &pair->p);
  if ((double)largest > pair->p.maximum) {
    double factor = exp(pair->p.maximum - (double)largest);
    pair->p.sum *= factor;
    pair->cross *= factor;
    pair->p.maximum = largest;
  }
  NAME(vfloat) p_maximum = (NAME(vfloat))(float)pair->p.maximum;
  NAME(vfloat) p_sum = (NAME(vfloat))0.0f;
  if (!q) {
    for (size_t i = 0; i < count; i += LANES) {
      NAME(vfloat) a = NAME(load)(p + i, count - i);
      // Minus infinity alone would pass as no probability: 0 × it is no number.
      p_sum += NAME(exponential)(a - p_maximum) + a * 0.0f;
    }
    pair->p.sum += NAME(total)(p_sum);
    return;
  }

  largest = NAME(maximum)(q, count);
  NAME(find_top)(q, count, largest, first, &pair->q);
  if ((double)largest > pair->q.maximum) {
    pair->q.sum *= exp(pair->q.maximum - (double)largest);
    pair->q.maximum = largest;
  }
  NAME(vfloat) q_maximum = (NAME(vfloat))(float)pair->q.maximum;
  NAME(vfloat) q_sum = (NAME(vfloat))0.0f;
  NAME(vfloat) cross = (NAME(vfloat))0.0f;
  for (size_t i = 0; i < count; i += LANES) {
    NAME(vfloat) a = NAME(load)(p + i, count - i);
    NAME(vfloat) b = NAME(load)(q + i, count - i);
    NAME(vfloat) weight = NAME(exponential)(a - p_maximum);
    p_sum += weight;
    cross += weight * (a - b);
    q_sum += NAME(exponential)(b - q_maximum);
  }
  pair->p.sum += NAME(total)(p_sum);
  pair->cross += NAME(total)(cross);
  pair->q.sum += NAME(total)(q_sum);
}
