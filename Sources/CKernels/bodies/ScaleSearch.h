// Searches for one scale: weight ≈ scale · code.

/// No scale is sought for weights below this magnitude.
#define LEAST_MAGNITUDE 1e-15f

/// A scale for codes from −top to top − 1.
typedef struct {
  vfloat scale;
  /// The winning codes are nearest(step · weight).
  vfloat step;
  /// All weights are near zero: scale 0, and code 0 counted from −top.
  vint empty;
} Symmetric;

/// The entry of largest magnitude, with its sign; the first of several.
INLINE vfloat signed_extreme(const vfloat *x, int n) {
  vfloat size = splat(0), extreme = splat(0);
  for (int i = 0; i < n; ++i) {
    vint larger = magnitude(x[i]) > size;
    size = choose(larger, magnitude(x[i]), size);
    extreme = choose(larger, x[i], extreme);
  }
  return extreme;
}

typedef struct {
  vfloat x_code, code2;
} SymmetricSums;

/// Steps that are tried together: sums are chains of dependent additions, and several chains keep
/// the processor busy.
#define TRIED_TOGETHER 3

/// What may leave the codes of a step: both sides of their range, the upper one, or neither.
typedef enum { PASSES_BOTH, PASSES_UPPER, PASSES_NONE } Passes;

INLINE void symmetric_sums(
  const vfloat *x, const vfloat *w, int n, const vfloat *step, int together, int top,
  Passes passes, bool wild, SymmetricSums *sums) {
  for (int k = 0; k < together; ++k) sums[k] = (SymmetricSums){splat(0), splat(0)};
  for (int i = 0; i < n; ++i) {
    vfloat wx = w[i] * x[i];
#pragma clang loop unroll(full)
    for (int k = 0; k < together; ++k) {
      vfloat l;
      if (wild) {
        l = to_float(clamp_int(nearest(step[k] * x[i]), -top, top - 1));
      } else {
        l = step[k] * x[i];
        if (passes != PASSES_NONE) l = smaller(l, splat((float)(top - 1)));
        if (passes == PASSES_BOTH) l = larger(l, splat((float)-top));
        l = nearest_small(l);
      }
      sums[k].x_code += wx * l;
      sums[k].code2 += w[i] * l * l;
    }
  }
}

/// Whether every x is finite: then no step · x of the search passes `ROUNDER_LIMIT`.
INLINE bool all_finite(const vfloat *x, int n) {
  vint finite = splat_int(-1);
  for (int i = 0; i < n; ++i) finite &= magnitude(x[i]) <= 0x1.fffffep127f;
  return all(finite);
}

INLINE Symmetric symmetric_tries(
  const vfloat *x, const vfloat *w, int n, int top, vfloat extreme, bool wild) {
  Symmetric found;
  SymmetricSums sums[TRIED_TOGETHER];
  found.step = (float)-top / extreme;
  symmetric_sums(x, w, n, &found.step, 1, top, PASSES_UPPER, wild, sums);
  found.scale = choose(sums->code2 != 0.0f, sums->x_code / sums->code2, splat(0));
  vfloat best = found.scale * sums->x_code;
  // The tries are −9 to −1, then 1 to 9. Try i maps the extreme to top + i/10 codes: up to −6 that
  // rounds to top − 1, up to 4 to top.
#pragma clang loop unroll(full)
  for (int first = 0; first < 18; first += TRIED_TOGETHER) {
    int last = first + TRIED_TOGETHER - 1 < 9 ? first + TRIED_TOGETHER - 10
                                              : first + TRIED_TOGETHER - 9;
    Passes passes = last <= -6 ? PASSES_NONE : last <= 4 ? PASSES_UPPER : PASSES_BOTH;
    vfloat step[TRIED_TOGETHER];
    for (int k = 0; k < TRIED_TOGETHER; ++k) {
      int try = first + k < 9 ? first + k - 9 : first + k - 8;
      step[k] = -((float)top + 0.1f * (float)try) / extreme;
    }
    symmetric_sums(x, w, n, step, TRIED_TOGETHER, top, passes, wild, sums);
    for (int k = 0; k < TRIED_TOGETHER; ++k) {
      vint better = (sums[k].code2 > 0.0f)
                    & (sums[k].x_code * sums[k].x_code > best * sums[k].code2);
      vfloat scale = sums[k].x_code / sums[k].code2;
      found.scale = choose(better, scale, found.scale);
      found.step = choose(better, step[k], found.step);
      best = choose(better, scale * sums[k].x_code, best);
    }
  }
  return found;
}

/// Tries steps from 0.9 codes wider to 0.9 codes narrower than the range and keeps the one whose
/// weighted least squares scale explains most.
INLINE Symmetric symmetric_search(const vfloat *x, const vfloat *w, int n, int top) {
  vfloat extreme = signed_extreme(x, n);
  vint empty = magnitude(extreme) < LEAST_MAGNITUDE;
  extreme = choose(empty, splat(1), extreme);
  Symmetric found;
  if (__builtin_expect(all_finite(x, n), 1)) {
    found = symmetric_tries(x, w, n, top, extreme, false);
  } else {
    found = symmetric_tries(x, w, n, top, extreme, true);
  }
  found.scale = choose(empty, splat(0), found.scale);
  found.empty = empty;
  return found;
}

/// A code of the search, counted from −top.
INLINE vbits symmetric_code(Symmetric found, vfloat x, int top) {
  vint code = clamp_int(nearest(found.step * x), -top, top - 1) + top;
  return (vbits)choose_int(found.empty, splat_int(0), code);
}

/// A scale for the scales (or offsets) of a super-block themselves: codes from 0 to `top` with
/// weights, refined code by code. The codes are bytes: a negative one wraps as it does in the
/// reference.
INLINE vfloat positive_search(
  const vfloat *x, const vfloat *w, int n, int top, vbits *code) {
  vfloat greatest = splat(0);
  for (int i = 0; i < n; ++i) greatest = larger(greatest, x[i]);
  vint empty = greatest < LEAST_MAGNITUDE;
  greatest = choose(empty, splat(1), greatest);

  vfloat step = (float)top / greatest;
  vfloat scale = 1.0f / step;
  vfloat best = splat(0);
  for (int i = 0; i < n; ++i) {
    vint l = nearest(step * x[i]) & 0xFF;
    vfloat difference = x[i] - scale * to_float(l);
    best += w[i] * difference * difference;
  }
  for (int try = -4; try <= 4; ++try) {
    if (try == 0) continue;
    vfloat new_step = (0.1f * (float)try + (float)top) / greatest;
    vfloat new_scale = 1.0f / new_step;
    vfloat error = splat(0);
    for (int i = 0; i < n; ++i) {
      vint l = nearest(new_step * x[i]);
      l = choose_int(l < top, l, splat_int(top));
      vfloat difference = x[i] - new_scale * to_float(l);
      error += w[i] * difference * difference;
    }
    vint better = error < best;
    best = choose(better, error, best);
    step = choose(better, new_step, step);
  }

  vfloat x_code = splat(0), code2 = splat(0);
  for (int i = 0; i < n; ++i) {
    vint l = nearest(step * x[i]);
    l = choose_int(l < top, l, splat_int(top));
    code[i] = (vbits)l & 0xFFu;
    x_code += w[i] * x[i] * to_float(l);
    code2 += w[i] * to_float(l) * to_float(l);
  }
  // A round without a change in a lane leaves it as it is, so further rounds do no harm there.
  for (int round = 0; round < 5; ++round) {
    vint changed = splat_int(0);
    for (int i = 0; i < n; ++i) {
      vfloat old = to_float((vint)code[i]);
      vfloat rest_x = x_code - w[i] * x[i] * old;
      vfloat rest_2 = code2 - w[i] * old * old;
      vint l = nearest(x[i] * rest_2 / rest_x);
      l = choose_int(l < top, l, splat_int(top));
      vfloat new_x = rest_x + w[i] * x[i] * to_float(l);
      vfloat new_2 = rest_2 + w[i] * to_float(l) * to_float(l);
      vint better = (rest_x > 0.0f) & (rest_2 > 0.0f) & (l != (vint)code[i])
                    & (new_x * new_x * code2 > x_code * x_code * new_2);
      code[i] = choose_bits(better, (vbits)l & 0xFFu, code[i]);
      x_code = choose(better, new_x, x_code);
      code2 = choose(better, new_2, code2);
      changed |= better;
    }
    if (!any(changed)) break;
  }
  for (int i = 0; i < n; ++i) code[i] = choose_bits(empty, splat_bits(0), code[i]);
  scale = choose(code2 > 0.0f, x_code / code2, splat(0));
  return choose(empty, splat(0), scale);
}

/// Weights of a search with importance q: q · √(σ² + x²).
INLINE void importance_weights(
  const vfloat *x, const vfloat *q, int n, vfloat sigma2, vfloat *w) {
  for (int i = 0; i < n; ++i) w[i] = q[i] * square_root(sigma2 + x[i] * x[i]);
}

INLINE vfloat sum_of_squares(const vfloat *x, int n) {
  vfloat sum = splat(0);
  for (int i = 0; i < n; ++i) sum += x[i] * x[i];
  return sum;
}

INLINE vfloat sum_of(const vfloat *x, int n) {
  vfloat sum = splat(0);
  for (int i = 0; i < n; ++i) sum += x[i];
  return sum;
}
