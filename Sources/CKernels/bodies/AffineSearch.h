// The search for scale and offset of a sub-block whose codes run from 0 to `top`:
// weight ≈ scale · code − offset. Used by Q2_K, Q4_K, Q5_K, and by Q4_1 and Q5_1 with importance.
//
// From the range of the weights, then from slightly wider and narrower steps, codes are taken and
// the weighted least squares line through them is fitted; the line with the least error wins. The
// winner's codes are not kept but the step and base that gave them, since most are never needed.

typedef struct {
  vfloat scale;
  /// Not negative.
  vfloat offset;
  /// The winning codes are nearest(step · (weight − base)), from 0 to top.
  vfloat step, base;
} Affine;

/// How a block type searches.
typedef struct {
  /// Largest code.
  int top;
  /// Try `i` from 0 through `tries` spreads the range over top + first + i · change codes.
  int tries;
  float first, change;
  /// Error is the absolute difference instead of its square.
  bool absolute;
} AffinePlan;

/// Code of one weight as a float; `wild` when step · (x − base) may pass `ROUNDER_LIMIT`.
INLINE vfloat affine_code(vfloat step, vfloat base, vfloat x, int top, bool wild) {
  vfloat place = step * (x - base);
  if (wild) return to_float(clamp_int(nearest(place), 0, top));
  return nearest_small(larger(smaller(place, splat((float)top)), splat(0)));
}

/// Codes of a sub-block. Rounding keeps order, so its least and greatest weight bound the rest.
INLINE bool affine_is_wild(vfloat step, vfloat base, vfloat least, vfloat greatest) {
  return !all(
    (magnitude(step * (least - base)) <= ROUNDER_LIMIT)
    & (magnitude(step * (greatest - base)) <= ROUNDER_LIMIT));
}

INLINE vfloat affine_error(
  const vfloat *x, const vfloat *w, const vfloat *code, int n, vfloat scale, vfloat low,
  bool absolute) {
  vfloat error = splat(0);
  for (int i = 0; i < n; ++i) {
    vfloat difference = scale * code[i] + low - x[i];
    difference = absolute ? magnitude(difference) : difference * difference;
    error += w[i] * difference;
  }
  return error;
}

typedef struct {
  vfloat w_code, w_code2, w_code_x;
} AffineSums;

INLINE AffineSums affine_sums(
  const vfloat *x, const vfloat *w, vfloat *code, int n, vfloat step, vfloat base, int top,
  bool wild) {
  AffineSums sums = {splat(0), splat(0), splat(0)};
  for (int i = 0; i < n; ++i) {
    vfloat l = affine_code(step, base, x[i], top, wild);
    vfloat wl = w[i] * l;
    code[i] = l;
    sums.w_code += wl;
    sums.w_code2 += wl * l;
    sums.w_code_x += wl * x[i];
  }
  return sums;
}

INLINE Affine affine_search(const vfloat *x, const vfloat *w, int n, AffinePlan plan) {
  vfloat least = x[0], greatest = x[0], sum_w = w[0], sum_x = w[0] * x[0];
  for (int i = 1; i < n; ++i) {
    least = choose(x[i] < least, x[i], least);
    greatest = choose(x[i] > greatest, x[i], greatest);
    sum_w += w[i];
    sum_x += w[i] * x[i];
  }
  vfloat low = choose(least > 0.0f, splat(0), least);
  // All weights equal and not positive: scale 0, codes 0. The range 1 keeps such lanes tame.
  vint flat = greatest <= low;
  vfloat range = choose(flat, splat(1), greatest - low);
  vfloat step = (float)plan.top / range;
  Affine best = {1.0f / step, low, step, low};

  vfloat code[32];
  bool wild = affine_is_wild(step, low, least, greatest);
  for (int i = 0; i < n; ++i) {
    code[i] = wild ? affine_code(step, low, x[i], plan.top, true)
                   : affine_code(step, low, x[i], plan.top, false);
  }
  vfloat best_error = affine_error(x, w, code, n, best.scale, low, plan.absolute);

  for (int try = 0; try <= plan.tries; ++try) {
    range = choose(flat, splat(1), greatest - low);
    step = (plan.first + plan.change * (float)try + (float)plan.top) / range;
    AffineSums sums;
    if (__builtin_expect(affine_is_wild(step, low, least, greatest), 0)) {
      sums = affine_sums(x, w, code, n, step, low, plan.top, true);
    } else {
      sums = affine_sums(x, w, code, n, step, low, plan.top, false);
    }
    vfloat determinant = sum_w * sums.w_code2 - sums.w_code * sums.w_code;
    vfloat scale = (sum_w * sums.w_code_x - sum_x * sums.w_code) / determinant;
    vfloat new_low = (sums.w_code2 * sum_x - sums.w_code * sums.w_code_x) / determinant;
    vint above = new_low > 0.0f;
    scale = choose(above, sums.w_code_x / sums.w_code2, scale);
    new_low = choose(above, splat(0), new_low);
    vfloat error = affine_error(x, w, code, n, scale, new_low, plan.absolute);
    vint better = (determinant > 0.0f) & (error < best_error) & ~flat;
    best_error = choose(better, error, best_error);
    best.scale = choose(better, scale, best.scale);
    best.step = choose(better, step, best.step);
    best.base = choose(better, low, best.base);
    low = choose(better, new_low, low);
  }
  best.scale = choose(flat, splat(0), best.scale);
  best.step = choose(flat, splat(0), best.step);
  best.offset = -low;
  return best;
}

/// A code that the search left, for the lanes whose stored scale is zero.
INLINE vbits affine_kept_code(Affine found, vfloat x, int top) {
  return (vbits)clamp_int(nearest(found.step * (x - found.base)), 0, top);
}
