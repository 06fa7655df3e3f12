// The nearest point of a codebook: one candidate per lane.
//
// Here a lane is a candidate, not a block: the neighbours of a place are as many as they are, and
// the error of each is a short sum of its own. A term of such a sum depends on the weight and on
// one code only, so the 32 terms (8 weights × 4 codes, or 4 × 8) are computed once, and a sum picks
// them out by the bits of the candidate.

// Functions that pass these vectors are inlined always: how a call would pass them does not matter.
#pragma clang diagnostic ignored "-Wpsabi"

typedef float float16 __attribute__((ext_vector_type(16)));
typedef uint32_t bits16 __attribute__((ext_vector_type(16)));
typedef int32_t int16 __attribute__((ext_vector_type(16)));
typedef uint16_t short16 __attribute__((ext_vector_type(16)));
typedef float float8 __attribute__((ext_vector_type(8)));
typedef uint32_t bits8 __attribute__((ext_vector_type(8)));
typedef int32_t int8 __attribute__((ext_vector_type(8)));
typedef uint16_t short8 __attribute__((ext_vector_type(8)));
typedef float float4 __attribute__((ext_vector_type(4)));
typedef bool bool16 __attribute__((ext_vector_type(16)));
typedef bool bool8 __attribute__((ext_vector_type(8)));

/// What 32 terms are made of: weights × codes.
typedef struct {
  float16 part[2];
} Terms;

/// Bit `i` is lane `i` of the mask.
INLINE uint32_t mask_bits16(int16 mask) {
  bool16 set = __builtin_convertvector(mask, bool16);
  uint16_t bits;
  memcpy(&bits, &set, sizeof bits);
  return bits;
}

INLINE uint32_t mask_bits8(int8 mask) {
  bool8 set = __builtin_convertvector(mask, bool8);
  uint8_t bits;
  memcpy(&bits, &set, sizeof bits);
  return bits;
}

/// Each of 8 weights four times, or each of 4 weights eight times.
INLINE Terms spread(const float *weights, int count) {
  Terms terms;
  if (count == 8) {
    float8 v;
    memcpy(&v, weights, sizeof v);
    terms.part[0] =
      __builtin_shufflevector(v, v, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    terms.part[1] =
      __builtin_shufflevector(v, v, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7);
  } else {
    float4 v;
    memcpy(&v, weights, sizeof v);
    terms.part[0] =
      __builtin_shufflevector(v, v, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    terms.part[1] =
      __builtin_shufflevector(v, v, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  }
  return terms;
}

/// The number of every code, 2 · code + 1, for each weight.
INLINE float16 odd_levels(int count) {
  if (count == 8) return (float16){1, 3, 5, 7, 1, 3, 5, 7, 1, 3, 5, 7, 1, 3, 5, 7};
  return (float16){1, 3, 5, 7, 9, 11, 13, 15, 1, 3, 5, 7, 9, 11, 13, 15};
}

/// Entry `index & 3` of a table.
INLINE float16 pick_of_4(const float *table, bits16 index) {
#if defined(__x86_64__) && LANES == 16
  float4 four;
  memcpy(&four, table, sizeof four);
  float16 wide =
    __builtin_shufflevector(four, four, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
  return __builtin_ia32_vpermilvarps512(wide, (int16)index);
#elif defined(__x86_64__) && LANES == 8
  float4 four;
  memcpy(&four, table, sizeof four);
  float8 wide = __builtin_shufflevector(four, four, 0, 1, 2, 3, 0, 1, 2, 3);
  float8 low = __builtin_ia32_vpermilvarps256(wide, (int8)index.lo);
  float8 high = __builtin_ia32_vpermilvarps256(wide, (int8)index.hi);
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#else
  // Code 3 never occurs.
  float16 low = (int16)(index << 31) < 0 ? (float16)table[1] : (float16)table[0];
  return (int16)(index << 30) < 0 ? (float16)table[2] : low;
#endif
}

/// Entry `index & 7` of a table.
INLINE float8 pick_of_8(const float *table, bits8 index) {
#if defined(__x86_64__) && LANES >= 8
  float8 wide;
  memcpy(&wide, table, sizeof wide);
  return __builtin_ia32_permvarsf256(wide, (int8)index);
#else
  float8 picked;
  for (int i = 0; i < 8; ++i) picked[i] = table[index[i] & 7];
  return picked;
#endif
}

/// For 16 candidates the sum of their 8 terms, in the order of the weights.
INLINE float16 sums_of_8(const float *terms, const uint16_t *candidates) {
  short16 narrow;
  memcpy(&narrow, candidates, sizeof narrow);
  bits16 place = __builtin_convertvector(narrow, bits16);
  float16 sum = pick_of_4(terms, place);
#pragma clang loop unroll(full)
  for (int i = 1; i < 8; ++i) sum += pick_of_4(terms + 4 * i, place >> (2u * (uint32_t)i));
  return sum;
}

/// For 8 candidates the sum of their 4 terms, in the order of the weights.
INLINE float8 sums_of_4(const float *terms, const uint16_t *candidates) {
  short8 narrow;
  memcpy(&narrow, candidates, sizeof narrow);
  bits8 place = __builtin_convertvector(narrow, bits8);
  float8 sum = pick_of_8(terms, place);
#pragma clang loop unroll(full)
  for (int i = 1; i < 4; ++i) sum += pick_of_8(terms + 8 * i, place >> (3u * (uint32_t)i));
  return sum;
}

INLINE float least_of_8(float8 v) {
  float4 four = v.lo < v.hi ? v.lo : v.hi;
  float a = four[0] < four[1] ? four[0] : four[1], b = four[2] < four[3] ? four[2] : four[3];
  return a < b ? a : b;
}

INLINE float least_of_16(float16 v) { return least_of_8(v.lo < v.hi ? v.lo : v.hi); }

#define LARGEST_FLOAT 0x1.fffffep127f

/// The terms w · (scale · level − x)² of one place.
INLINE void error_terms(Terms x, Terms w, float16 levels, float scale, float *terms) {
  for (int i = 0; i < 2; ++i) {
    float16 difference = scale * levels - x.part[i];
    float16 error = w.part[i] * difference * difference;
    memcpy(terms + 16 * i, &error, sizeof error);
  }
}

/// The smallest of `first + lane`, where `first` is an entry of `where`, over the lanes in `bits`.
INLINE int first_position(uint32_t bits, const int *where) {
  int position = INT32_MAX;
  for (; bits; bits &= bits - 1) {
    int lane = __builtin_ctz(bits);
    if (where[lane] + lane < position) position = where[lane] + lane;
  }
  return position;
}

INLINE uint32_t nearest_of_8(const uint16_t *list, int count, const float *terms) {
  float16 error = sums_of_8(terms, list), limit = (float16)LARGEST_FLOAT;
  float16 least = error < limit ? error : limit;
  if (count <= 16) {
    return list[__builtin_ctz(mask_bits16(least == (float16)least_of_16(least)))];
  }
  int16 at = (int16)0;
  for (int first = 16; first < count; first += 16) {
    error = sums_of_8(terms, list + first);
    int16 better = error < least;
    least = better ? error : least;
    at = better ? (int16)first : at;
  }
  int where[16] __attribute__((aligned(64)));
  memcpy(where, &at, sizeof at);
  return list[first_position(mask_bits16(least == (float16)least_of_16(least)), where)];
}

INLINE uint32_t nearest_of_4(const uint16_t *list, int count, const float *terms) {
  float8 error = sums_of_4(terms, list), limit = (float8)LARGEST_FLOAT;
  float8 least = error < limit ? error : limit;
  if (count <= 8) {
    return list[__builtin_ctz(mask_bits8(least == (float8)least_of_8(least)))];
  }
  int8 at = (int8)0;
  for (int first = 8; first < count; first += 8) {
    error = sums_of_4(terms, list + first);
    int8 better = error < least;
    least = better ? error : least;
    at = better ? (int8)first : at;
  }
  int where[8] __attribute__((aligned(32)));
  memcpy(where, &at, sizeof at);
  return list[first_position(mask_bits8(least == (float8)least_of_8(least)), where)];
}

/// The first of a list's points with the least Σ w · (scale · level − x)²; the list's first when no
/// error is a finite number. `entry` is the place's in the codebook.
INLINE uint32_t nearest_point(
  const ingot_codebook *book, uint32_t entry, int weights, Terms x, Terms w, float16 levels,
  float scale) {
  const uint16_t *list = book->lists + 8 * (entry & 0xFFFFu);
  int count = (int)(entry >> 16 & 0x7FFFu);
  float terms[32] __attribute__((aligned(64)));
  error_terms(x, w, levels, scale, terms);
  return weights == 8 ? nearest_of_8(list, count, terms) : nearest_of_4(list, count, terms);
}

// MARK: Restoring weights
//
// Here a lane is a weight. Where a processor has no shifts by lane, an `&` with the lane's bit and a
// comparison say what a shift would.

/// The numbers of sixteen codes of 2 bits, two points one behind the other.
INLINE float16 levels_of_16(uint32_t codes, const float *levels) {
#if defined(__x86_64__) && LANES >= 8
  return pick_of_4(
    levels,
    (bits16)codes >> (bits16){0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30});
#else
  const bits16 low = {0x1,     0x4,     0x10,     0x40,     0x100,     0x400,     0x1000,     0x4000,
                      0x10000, 0x40000, 0x100000, 0x400000, 0x1000000, 0x4000000, 0x10000000,
                      0x40000000};
  const bits16 high = low << 1;
  bits16 is_1 = (bits16)(((bits16)codes & low) == low);
  bits16 is_2 = (bits16)(((bits16)codes & high) == high);
  // Code 3 never occurs.
  bits16 level[3];
  for (int i = 0; i < 3; ++i) level[i] = (bits16)(float16)levels[i];
  return (float16)(level[0] ^ ((level[0] ^ level[1]) & is_1) ^ ((level[0] ^ level[2]) & is_2));
#endif
}

/// The numbers of eight codes of 3 bits, two points one behind the other.
INLINE float8 levels_of_8(uint32_t codes, const float *levels) {
#if defined(__x86_64__) && LANES >= 8
  return pick_of_8(levels, (bits8)codes >> (bits8){0, 3, 6, 9, 12, 15, 18, 21});
#else
  float level[8];
  for (int i = 0; i < 8; ++i) level[i] = levels[codes >> (3 * i) & 7];
  float8 all;
  memcpy(&all, level, sizeof all);
  return all;
#endif
}

/// Turns the weights whose bit is set.
INLINE float16 turned_16(float16 weights, uint32_t signs) {
  const bits16 bit = {0x1,   0x2,   0x4,   0x8,   0x10,   0x20,   0x40,   0x80,
                      0x100, 0x200, 0x400, 0x800, 0x1000, 0x2000, 0x4000, 0x8000};
  bits16 minus = (bits16)(((bits16)signs & bit) == bit);
  return (float16)((bits16)weights ^ (minus & 0x80000000u));
}

INLINE float8 turned_8(float8 weights, uint32_t signs) {
  const bits8 bit = {0x1, 0x2, 0x4, 0x8, 0x10, 0x20, 0x40, 0x80};
  bits8 minus = (bits8)(((bits8)signs & bit) == bit);
  return (float8)((bits8)weights ^ (minus & 0x80000000u));
}

/// Seven signs and the eighth, which makes the number of minus signs even.
INLINE uint32_t all_signs(uint32_t seven) {
  return seven | (uint32_t)__builtin_parity(seven) << 7;
}
