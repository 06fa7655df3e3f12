// Points of a codebook for several scales of one place at once (IQ2).
//
// Σ w · (s · level − x)² = s · (s · Q − P) + constant, with Q = Σ w · level² and P = 2 · Σ w · x ·
// level: which of two points is nearer is decided by the sign of a function that is linear in the
// scale s. So the neighbours of a place need P and Q once, however many tries lead to that place,
// and a point that is nearest at the first and at the last of them is nearest at those between.
// This arithmetic rounds differently from the reference's; where two points come closer than both
// can be wrong, the reference's own sum decides.

/// Marks a chosen point that is not the place it was chosen for.
#define MOVED 0x80000000u

/// The longest list of neighbours, in vectors of 16.
#define MOST_PARTS 19

/// One group of 8 weights of one block.
typedef struct {
  Terms x, w;
  /// Terms of P and of Q.
  float p[32] __attribute__((aligned(64)));
  float q[32] __attribute__((aligned(64)));
  /// Values of s · Q − P that are closer than this are not told apart.
  float doubt;
  /// Nothing overflows, and nothing that counts underflows.
  bool usual;
} GridGroup;

/// `x2` is Σ w · x²; the scales are those of the first and of the last try.
INLINE GridGroup grid_group(
  const float *x, const float *w, float total_w, float x2, float first_scale, float last_scale) {
  GridGroup group;
  group.x = spread(x, 8);
  group.w = spread(w, 8);
  float16 levels = odd_levels(8);
  for (int i = 0; i < 2; ++i) {
    float16 w_level = group.w.part[i] * levels;
    float16 p = 2.0f * group.x.part[i] * w_level, q = w_level * levels;
    memcpy(group.p + 16 * i, &p, sizeof p);
    memcpy(group.q + 16 * i, &q, sizeof q);
  }
  // Both sums are off by less than 50 roundings of s · Q + X / s, with the greatest Q there can be;
  // twice as much for two points, and as much again for safety.
  float greatest_q = total_w * 25.0f;
  group.doubt = 2e-5f * (first_scale * greatest_q + x2 / last_scale);
  group.usual = x2 >= 1e-20f && x2 <= 1e20f && first_scale <= 1e6f
                && first_scale * first_scale * greatest_q <= 1e20f;
  return group;
}

/// Bits of the candidates in a part of 16, of which `count` are left.
INLINE uint32_t part_bits(int count) { return count >= 16 ? 0xFFFFu : (1u << count) - 1u; }

/// Position of the nearest of `count` points, or −1 where that is in doubt.
INLINE int nearest_if_certain(
  const float16 *p, const float16 *q, int count, float scale, float doubt) {
  float16 least = scale * q[0] - p[0];
  for (int part = 1; 16 * part < count; ++part) {
    float16 v = scale * q[part] - p[part];
    least = v < least ? v : least;
  }
  float16 limit = (float16)(least_of_16(least) + doubt);
  int position = -1;
  for (int part = 0; 16 * part < count; ++part) {
    float16 v = scale * q[part] - p[part];
    uint32_t bits = mask_bits16(v <= limit) & part_bits(count - 16 * part);
    if (!bits) continue;
    if (position >= 0 || (bits & (bits - 1))) return -1;
    position = 16 * part + __builtin_ctz(bits);
  }
  return position;
}

/// Replaces the place that `count` tries share, whose `entry` says that it is no point. Places and
/// scales of tries are LANES apart.
INLINE void choose_points(
  const ingot_codebook *book, uint32_t entry, const GridGroup *group, const float *scales,
  int count, uint32_t *places) {
  const uint16_t *list = book->lists + 8 * (entry & 0xFFFFu);
  int points = (int)(entry >> 16 & 0x7FFFu);
  float16 p[MOST_PARTS], q[MOST_PARTS];
  bool shared = count > 1 && group->usual;
  int first = -1, last = -1;
  if (shared) {
    for (int part = 0; 16 * part < points; ++part) {
      p[part] = sums_of_8(group->p, list + 16 * part);
      q[part] = sums_of_8(group->q, list + 16 * part);
    }
    first = nearest_if_certain(p, q, points, scales[0], group->doubt);
    last = nearest_if_certain(p, q, points, scales[LANES * (count - 1)], group->doubt);
    if (first >= 0 && first == last) {
      for (int t = 0; t < count; ++t) places[LANES * t] = MOVED | list[first];
      return;
    }
  }
  for (int t = 0; t < count; ++t) {
    float scale = scales[LANES * t];
    int position = -1;
    if (t == 0) {
      position = first;
    } else if (t == count - 1) {
      position = last;
    } else if (shared) {
      position = nearest_if_certain(p, q, points, scale, group->doubt);
    }
    uint32_t point =
      position >= 0
        ? list[position]
        : nearest_point(book, entry, 8, group->x, group->w, odd_levels(8), scale);
    places[LANES * t] = MOVED | point;
  }
}
