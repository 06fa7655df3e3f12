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

/// What step · (x − base) may pass, x being any weight of the sub-block.
typedef enum {
  /// The code 0 only: its rounding is `top` at most.
  PASSES_ZERO,
  /// Both ends of the codes.
  PASSES_ENDS,
  /// `ROUNDER_LIMIT`, too.
  PASSES_ALL,
} AffineReach;

/// Code of one weight as a float.
INLINE vfloat affine_code(vfloat step, vfloat base, vfloat x, int top, AffineReach reach) {
  vfloat place = step * (x - base);
  if (reach == PASSES_ALL) return to_float(clamp_int(nearest(place), 0, top));
  if (reach == PASSES_ENDS) place = smaller(place, splat((float)top));
  return nearest_small(larger(place, splat(0)));
}

/// Codes of a sub-block. Rounding keeps order, so its least and greatest weight bound the rest.
INLINE bool affine_is_wild(vfloat step, vfloat base, vfloat least, vfloat greatest) {
  return !all(
    (magnitude(step * (least - base)) <= ROUNDER_LIMIT)
    & (magnitude(step * (greatest - base)) <= ROUNDER_LIMIT));
}

/// Sub-blocks that are searched together: sums are chains of dependent additions, and several
/// chains keep the processor busy.
#define SEARCHED_TOGETHER 2

/// Sums over the weights of sub-blocks, `n` weights each, one after another in `x`.
INLINE void affine_errors(
  const vfloat *x, const vfloat *w, const vfloat *code, int n, int together, const vfloat *scale,
  const vfloat *low, bool absolute, vfloat *error) {
  for (int k = 0; k < together; ++k) error[k] = splat(0);
  for (int i = 0; i < n; ++i) {
#pragma clang loop unroll(full)
    for (int k = 0; k < together; ++k) {
      int at = k * n + i;
      vfloat difference = scale[k] * code[at] + low[k] - x[at];
      difference = absolute ? magnitude(difference) : difference * difference;
      error[k] += w[at] * difference;
    }
  }
}

typedef struct {
  vfloat w_code, w_code2, w_code_x;
} AffineSums;

INLINE void affine_sums(
  const vfloat *x, const vfloat *w, vfloat *code, int n, int together, const vfloat *step,
  const vfloat *base, int top, AffineReach reach, AffineSums *sums) {
  for (int k = 0; k < together; ++k) sums[k] = (AffineSums){splat(0), splat(0), splat(0)};
  for (int i = 0; i < n; ++i) {
#pragma clang loop unroll(full)
    for (int k = 0; k < together; ++k) {
      int at = k * n + i;
      vfloat l = affine_code(step[k], base[k], x[at], top, reach);
      vfloat wl = w[at] * l;
      code[at] = l;
      sums[k].w_code += wl;
      sums[k].w_code2 += wl * l;
      sums[k].w_code_x += wl * x[at];
    }
  }
}

/// Searches `together` sub-blocks of `n` weights that follow each other in `x` and `w`.
INLINE void affine_search(
  const vfloat *x, const vfloat *w, int n, int together, AffinePlan plan, Affine *found) {
  enum { MOST = SEARCHED_TOGETHER };
  vfloat least[MOST], greatest[MOST], sum_w[MOST], sum_x[MOST], low[MOST], range[MOST];
  vfloat step[MOST], scale[MOST], new_low[MOST], error[MOST], best_error[MOST];
  vfloat code[32 * MOST];
  vint flat[MOST];
  AffineSums sums[MOST];
  for (int k = 0; k < together; ++k) {
    const vfloat *xs = x + k * n, *ws = w + k * n;
    least[k] = greatest[k] = xs[0];
    sum_w[k] = ws[0];
    sum_x[k] = ws[0] * xs[0];
    for (int i = 1; i < n; ++i) {
      least[k] = choose(xs[i] < least[k], xs[i], least[k]);
      greatest[k] = choose(xs[i] > greatest[k], xs[i], greatest[k]);
      sum_w[k] += ws[i];
      sum_x[k] += ws[i] * xs[i];
    }
    low[k] = choose(least[k] > 0.0f, splat(0), least[k]);
    // All weights equal and not positive: scale 0, codes 0. The range 1 keeps such lanes tame.
    flat[k] = greatest[k] <= low[k];
    range[k] = choose(flat[k], splat(1), greatest[k] - low[k]);
    step[k] = (float)plan.top / range[k];
    scale[k] = 1.0f / step[k];
    found[k] = (Affine){scale[k], low[k], step[k], low[k]};
    bool wild = affine_is_wild(step[k], low[k], least[k], greatest[k]);
    for (int i = 0; i < n; ++i) {
      code[k * n + i] = wild ? affine_code(step[k], low[k], xs[i], plan.top, PASSES_ALL)
                             : affine_code(step[k], low[k], xs[i], plan.top, PASSES_ZERO);
    }
  }
  affine_errors(x, w, code, n, together, scale, low, plan.absolute, best_error);

  for (int try = 0; try <= plan.tries; ++try) {
    float wider = plan.first + plan.change * (float)try;
    bool wild = false;
    for (int k = 0; k < together; ++k) {
      range[k] = choose(flat[k], splat(1), greatest[k] - low[k]);
      step[k] = (wider + (float)plan.top) / range[k];
      wild |= affine_is_wild(step[k], low[k], least[k], greatest[k]);
    }
    if (__builtin_expect(wild, 0)) {
      affine_sums(x, w, code, n, together, step, low, plan.top, PASSES_ALL, sums);
    } else if (wider < 0.45f) {  // the greatest weight's place is top + wider, but for a rounding
      affine_sums(x, w, code, n, together, step, low, plan.top, PASSES_ZERO, sums);
    } else {
      affine_sums(x, w, code, n, together, step, low, plan.top, PASSES_ENDS, sums);
    }
    vint solvable[MOST];
    for (int k = 0; k < together; ++k) {
      AffineSums s = sums[k];
      vfloat determinant = sum_w[k] * s.w_code2 - s.w_code * s.w_code;
      solvable[k] = determinant > 0.0f;
      scale[k] = (sum_w[k] * s.w_code_x - sum_x[k] * s.w_code) / determinant;
      new_low[k] = (s.w_code2 * sum_x[k] - s.w_code * s.w_code_x) / determinant;
      vint above = new_low[k] > 0.0f;
      scale[k] = choose(above, s.w_code_x / s.w_code2, scale[k]);
      new_low[k] = choose(above, splat(0), new_low[k]);
    }
    affine_errors(x, w, code, n, together, scale, new_low, plan.absolute, error);
    for (int k = 0; k < together; ++k) {
      vint better = solvable[k] & (error[k] < best_error[k]) & ~flat[k];
      best_error[k] = choose(better, error[k], best_error[k]);
      found[k].scale = choose(better, scale[k], found[k].scale);
      found[k].step = choose(better, step[k], found[k].step);
      found[k].base = choose(better, low[k], found[k].base);
      low[k] = choose(better, new_low[k], low[k]);
    }
  }
  for (int k = 0; k < together; ++k) {
    found[k].scale = choose(flat[k], splat(0), found[k].scale);
    found[k].step = choose(flat[k], splat(0), found[k].step);
    found[k].offset = -low[k];
  }
}

/// A code that the search left, for the lanes whose stored scale is zero.
INLINE vbits affine_kept_code(Affine found, vfloat x, int top) {
  return (vbits)clamp_int(nearest(found.step * (x - found.base)), 0, top);
}
