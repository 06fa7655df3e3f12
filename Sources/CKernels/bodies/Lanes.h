// Vectors of LANES lanes, and the conversions that every body uses.
//
// A mask has all bits set in the lanes where it holds. `bits` is the memory of a vector, `int` its
// value: `as_int` reinterprets, `to_int` converts.

#define INLINE static inline __attribute__((always_inline))

typedef float vfloat __attribute__((ext_vector_type(LANES)));
typedef int32_t vint __attribute__((ext_vector_type(LANES)));
typedef uint32_t vbits __attribute__((ext_vector_type(LANES)));

INLINE vfloat splat(float value) { return (vfloat)value; }
INLINE vint splat_int(int32_t value) { return (vint)value; }
INLINE vbits splat_bits(uint32_t value) { return (vbits)value; }

INLINE vint as_int(vfloat v) { return (vint)v; }
INLINE vbits as_bits(vfloat v) { return (vbits)v; }
INLINE vfloat as_float(vbits v) { return (vfloat)v; }
INLINE vfloat to_float(vint v) { return __builtin_convertvector(v, vfloat); }

INLINE vfloat choose(vint mask, vfloat yes, vfloat no) { return mask ? yes : no; }
INLINE vint choose_int(vint mask, vint yes, vint no) { return mask ? yes : no; }
INLINE vbits choose_bits(vint mask, vbits yes, vbits no) { return mask ? yes : no; }

INLINE bool all(vint mask) { return __builtin_reduce_and(mask) != 0; }
INLINE bool any(vint mask) { return __builtin_reduce_or(mask) != 0; }

/// The smaller; `b` when either is NaN.
INLINE vfloat smaller(vfloat a, vfloat b) { return choose(a < b, a, b); }
/// The larger; `b` when either is NaN.
INLINE vfloat larger(vfloat a, vfloat b) { return choose(a > b, a, b); }
INLINE vint clamp_int(vint v, int32_t low, int32_t high) {
  v = choose_int(v < high, v, splat_int(high));
  return choose_int(v > low, v, splat_int(low));
}

INLINE vfloat magnitude(vfloat v) { return as_float(as_bits(v) & 0x7FFFFFFFu); }
INLINE vfloat square_root(vfloat v) { return __builtin_elementwise_sqrt(v); }

// MARK: Rounding

/// 1.5 × 2^23: a number of magnitude below 2^22 added to it loses its fraction, half to even.
#define ROUNDER 12582912.0f
/// `nearest_small` and `nearest` agree up to this magnitude.
#define ROUNDER_LIMIT 4194303.0f

/// Half to even, as a float, for magnitudes up to `ROUNDER_LIMIT`.
INLINE vfloat nearest_small(vfloat v) { return (v + ROUNDER) - ROUNDER; }

/// Half to even up to `ROUNDER_LIMIT`. Beyond it the low 23 bits of the sum with `ROUNDER`, which
/// is what the reference computes there.
INLINE vint nearest(vfloat v) {
  return (vint)(as_bits(v + ROUNDER) & 0x007FFFFFu) - 0x00400000;
}

/// Toward zero; the most negative integer for NaN and for what an integer cannot hold.
INLINE vint truncated(vfloat v) {
  vint fits = magnitude(v) < 2147483648.0f;
  vint whole = __builtin_convertvector(choose(fits, v, splat(0)), vint);
  return choose_int(fits, whole, splat_int(INT32_MIN));
}

/// Half away from zero; the most negative integer for NaN and for what an integer cannot hold.
INLINE vint nearest_away(vfloat v) {
  vfloat size = magnitude(v);
  vint whole = truncated(size);
  vint up = (size - to_float(whole)) >= 0.5f;
  vint rounded = whole - up;  // a true lane of a mask is −1
  rounded = choose_int(v < 0.0f, -rounded, rounded);
  return choose_int(whole >= 0, rounded, splat_int(INT32_MIN));
}

// MARK: Half precision
//
// The processor's conversions round as the portable ones do; only a NaN they treat differently.

typedef uint16_t vshorts __attribute__((ext_vector_type(LANES)));

#ifdef HALF_INSTRUCTIONS

typedef _Float16 vhalf __attribute__((ext_vector_type(LANES)));

/// To the nearest half precision number, half to even. Too large becomes infinite, NaN becomes
/// 0x7E00 with the sign.
INLINE vshorts to_halves(vfloat v) {
  vshorts half = (vshorts)__builtin_convertvector(v, vhalf);
  return (half & 0x7FFF) > 0x7C00 ? (half & 0x8000) | 0x7E00 : half;
}

/// As `to_halves`, in the low 16 bits.
INLINE vbits to_half(vfloat v) { return __builtin_convertvector(to_halves(v), vbits); }

/// The exact values of half precision numbers; NaN becomes quiet.
INLINE vfloat from_halves(vshorts halves) {
  return __builtin_convertvector((vhalf)halves, vfloat);
}

/// As `from_halves`, from the low 16 bits.
INLINE vfloat from_half(vbits half) {
  return from_halves(__builtin_convertvector(half, vshorts));
}

/// One half precision number at `bytes`, which need not be aligned.
///
/// It goes through an integer register: an insertion into a vector would wait for what the vector
/// held before, so that every block would wait for the last one.
INLINE float half_at(const uint8_t *bytes) {
  uint16_t half;
  memcpy(&half, bytes, sizeof half);
  uint32_t bits = half;
  __asm__("" : "+r"(bits));
  return from_half(splat_bits(bits))[0];
}

#else

/// To the nearest half precision number, half to even, in the low 16 bits. Too large becomes
/// infinite, NaN becomes 0x7E00 with the sign.
INLINE vbits to_half(vfloat v) {
  vbits bits = as_bits(v);
  vbits sign = (bits >> 16) & 0x8000u;
  vbits size = bits & 0x7FFFFFFFu;
  // Normal: move the exponent's bias from 127 to 15 and round away 13 bits.
  vbits normal = (size + 0xFFFu + ((size >> 13) & 1u) - (112u << 23)) >> 13;
  // Subnormal: a sum with 0.5 leaves the multiple of 2^-24 in the low bits, rounded.
  vbits small = as_bits(as_float(size) + 0.5f) - 0x3F000000u;
  vbits half = choose_bits((vint)(size < 0x38800000u), small, normal);
  half = choose_bits((vint)(size >= 0x47800000u), splat_bits(0x7C00u), half);
  half = choose_bits((vint)(size > 0x7F800000u), splat_bits(0x7E00u), half);
  return sign | half;
}

/// The exact value of the half precision number in the low 16 bits; NaN becomes quiet.
INLINE vfloat from_half(vbits half) {
  vbits sign = (half & 0x8000u) << 16;
  vbits size = half & 0x7FFFu;
  vbits normal = (size << 13) + (112u << 23);
  vbits special = (size << 13) | 0x7F800000u;
  vfloat small = to_float((vint)size) * 0x1p-24f;
  vbits bits = choose_bits((vint)(size < 0x400u), as_bits(small), normal);
  bits = choose_bits((vint)(size >= 0x7C00u), special, bits);
  bits = choose_bits((vint)(size > 0x7C00u), special | 0x400000u, bits);
  return as_float(sign | bits);
}

INLINE vshorts to_halves(vfloat v) { return __builtin_convertvector(to_half(v), vshorts); }

INLINE vfloat from_halves(vshorts halves) {
  return from_half(__builtin_convertvector(halves, vbits));
}

/// One half precision number at `bytes`, which need not be aligned.
INLINE float half_at(const uint8_t *bytes) {
  uint16_t half;
  memcpy(&half, bytes, sizeof half);
  return from_half(splat_bits(half))[0];
}

#endif

/// A scale as it is stored: `to_half`, and one bit pattern for every NaN.
///
/// The sign of a NaN depends on the processor and on the order in which a compiler puts operands;
/// x86 makes it negative where no operand was one.
INLINE vbits scale_half(vfloat scale) {
  return choose_bits(scale == scale, to_half(scale), splat_bits(0xFE00u));
}

// MARK: Loading codes and storing weights

/// The LANES bytes at `bytes`, widened.
INLINE vbits load_bytes(const uint8_t *bytes) {
  typedef uint8_t vbytes __attribute__((ext_vector_type(LANES)));
  vbytes narrow;
  memcpy(&narrow, bytes, sizeof narrow);
  return __builtin_convertvector(narrow, vbits);
}

INLINE vint load_signed_bytes(const uint8_t *bytes) {
  typedef int8_t vbytes __attribute__((ext_vector_type(LANES)));
  vbytes narrow;
  memcpy(&narrow, bytes, sizeof narrow);
  return __builtin_convertvector(narrow, vint);
}

INLINE void store_weights(float *weights, vfloat values) {
  memcpy(weights, &values, sizeof values);
}

// MARK: Transposing

#if LANES == 4
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define LANES_LOG2 2
#elif LANES == 8
#define ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define LANES_LOG2 3
#elif LANES == 16
#define ZIP_LOW(a, b) \
  __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH(a, b) \
  __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define LANES_LOG2 4
#endif

/// Transposes a square: lane `j` of vector `i` becomes lane `i` of vector `j`.
///
/// Zipping the upper half of the vectors into the lower half rotates the bits of an entry's number
/// (vector, lane) by one place; as many times as a lane number has bits makes it (lane, vector).
INLINE void transpose(vbits square[LANES]) {
  vbits next[LANES];
#pragma clang loop unroll(full)
  for (int round = 0; round < LANES_LOG2; ++round) {
#pragma clang loop unroll(full)
    for (int i = 0; i < LANES / 2; ++i) {
      next[2 * i] = ZIP_LOW(square[i], square[i + LANES / 2]);
      next[2 * i + 1] = ZIP_HIGH(square[i], square[i + LANES / 2]);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < LANES; ++i) square[i] = next[i];
  }
}

/// `column[i]` gets entry `i` of every lane's source. `count` is a multiple of 16.
INLINE void load_lanes(const float *const source[LANES], int count, vfloat *column) {
  for (int first = 0; first < count; first += LANES) {
    vbits square[LANES];
#pragma clang loop unroll(full)
    for (int lane = 0; lane < LANES; ++lane) {
      memcpy(&square[lane], source[lane] + first, sizeof square[lane]);
    }
    transpose(square);
#pragma clang loop unroll(full)
    for (int i = 0; i < LANES; ++i) column[first + i] = as_float(square[i]);
  }
}

/// The largest block, in bytes, that `store_lanes` writes.
#define LARGEST_BLOCK 224

/// Writes the low 8 bits of every `bytes[0..<count]` to every lane's target.
INLINE void store_lanes(const vbits *bytes, int count, uint8_t *const target[LANES]) {
  uint32_t staged[LANES][(LARGEST_BLOCK / 4 + LANES - 1) / LANES * LANES];
  int words = (count + 3) / 4;
  for (int first = 0; first < words; first += LANES) {
    vbits square[LANES];
    for (int i = 0; i < LANES; ++i) {
      vbits word = splat_bits(0);
      for (int byte = 3; byte >= 0; --byte) {
        int position = (first + i) * 4 + byte;
        if (position < count) word = (word << 8) | (bytes[position] & 0xFFu);
      }
      square[i] = word;
    }
    transpose(square);
    for (int lane = 0; lane < LANES; ++lane) {
      memcpy(&staged[lane][first], &square[lane], sizeof square[lane]);
    }
  }
  for (int lane = 0; lane < LANES; ++lane) memcpy(target[lane], staged[lane], (size_t)count);
}

// MARK: Which block a lane holds

/// Sources and targets of LANES blocks.
typedef struct {
  const float *weights[LANES];
  const float *importance[LANES];
  uint8_t *blocks[LANES];
} Group;

/// The LANES blocks from `first` on, of rows that hold `per_row` blocks of `size` weights in
/// `bytes` bytes; the last of all `count` blocks again where there are no more.
INLINE Group group_of_blocks(
  const float *rows, const float *importance, uint8_t *blocks, size_t first, size_t count,
  size_t per_row, int size, int bytes) {
  Group group;
  for (int lane = 0; lane < LANES; ++lane) {
    size_t block = first + (size_t)lane < count ? first + (size_t)lane : count - 1;
    group.weights[lane] = rows + block * (size_t)size;
    group.importance[lane] = importance ? importance + block % per_row * (size_t)size : NULL;
    group.blocks[lane] = blocks + block * (size_t)bytes;
  }
  return group;
}
