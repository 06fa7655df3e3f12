// Runs every kernel set that this machine has, without Swift, on the golden rows and on made rows.
//
//     compare-kernels FOLDER < list
//
// FOLDER is Fixtures/golden/quant. A line of the list is one golden file:
//
//     type-number plain|importance file crc32-of-the-dequantized-weights
//
// A difference is named on stderr and the exit status is 1. Standard output gets a checksum for every
// type of what the scalar kernels make of rows of all magnitudes, so that two architectures can be
// compared: a line must be the same on both.

#pragma STDC FP_CONTRACT OFF

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"

static const char *const set_names[INGOT_KERNEL_SETS] = {"scalar", "avx2", "avx512", "neon"};
static int differences = 0;

static void differs(int set, uint32_t type, const char *what, const char *how) {
  fprintf(stderr, "%s kernels, type %u, %s: %s\n", set_names[set], type, what, how);
  differences++;
}

/// CRC-32 of ZIP, PNG and zlib.
static uint32_t crc32(const void *bytes, size_t count) {
  uint32_t crc = ~0u;
  for (size_t i = 0; i < count; ++i) {
    crc ^= ((const uint8_t *)bytes)[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
  }
  return ~crc;
}

typedef struct {
  uint8_t *bytes;
  size_t count;
} Bytes;

static Bytes allocate(size_t count) {
  Bytes made = {malloc(count + 1), count};
  if (!made.bytes) abort();
  return made;
}

static Bytes read_file(const char *folder, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  FILE *file = fopen(path, "rb");
  if (!file) {
    perror(path);
    exit(2);
  }
  fseek(file, 0, SEEK_END);
  Bytes read = allocate((size_t)ftell(file));
  rewind(file);
  if (fread(read.bytes, 1, read.count, file) != read.count) exit(2);
  fclose(file);
  return read;
}

/// Lengths must be whole rows of COLUMNS.
enum { COLUMNS = 512 };

// MARK: Golden rows

/// Of each type: bit 0 when it was compared without importance, bit 1 when with.
static int tested[INGOT_TYPES];

static void compare_with_golden(
  const char *folder, Bytes input, const float *importance, uint32_t type, const char *name,
  uint32_t expected_crc) {
  const size_t weight_count = input.count / sizeof(float);
  Bytes expected = read_file(folder, name);
  for (int set = 0; set < INGOT_KERNEL_SETS; ++set) {
    ingot_quantize quantize = ingot_find_quantize(set, type);
    ingot_dequantize dequantize = ingot_find_dequantize(set, type);
    if (!ingot_is_runnable(set) || !quantize || !dequantize) continue;
    tested[type] |= importance ? 2 : 1;
    Bytes blocks = allocate(expected.count);
    memset(blocks.bytes, 0xA5, blocks.count);
    quantize(
      (const float *)input.bytes, weight_count / COLUMNS, COLUMNS, importance, blocks.bytes);
    if (memcmp(blocks.bytes, expected.bytes, expected.count) != 0) {
      differs(set, type, name, "blocks are not the golden ones");
    }
    Bytes weights = allocate(input.count);
    dequantize(expected.bytes, weight_count, (float *)weights.bytes);
    if (crc32(weights.bytes, weights.count) != expected_crc) {
      differs(set, type, name, "dequantized weights have another CRC");
    }
    free(blocks.bytes);
    free(weights.bytes);
  }
  free(expected.bytes);
}

// MARK: Made rows

static uint64_t random_state;

/// SplitMix64.
static uint64_t next_random(void) {
  uint64_t bits = random_state += 0x9E3779B97F4A7C15u;
  bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9u;
  bits = (bits ^ bits >> 27) * 0x94D049BB133111EBu;
  return bits ^ bits >> 31;
}

static float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

/// From −1 to 1, more often near 0.
static float random_weight(void) {
  float a = (float)(next_random() >> 40) * 0x1p-24f, b = (float)(next_random() >> 40) * 0x1p-24f;
  return a - b;
}

/// Kinds from FIRST_HOSTILE on make scales that are not finite. The sign of a NaN differs between
/// processors and such blocks are refused, so these rows are compared within one machine only.
enum { FIRST_HOSTILE = 8, HOSTILE_KINDS = 4 };
enum { MADE_KINDS = 8, ROWS_PER_KIND = 19, MADE_ROWS = MADE_KINDS * ROWS_PER_KIND };

static void make_row(int kind, float *row) {
  for (int i = 0; i < COLUMNS; ++i) {
    float weight = random_weight();
    uint32_t bits = (uint32_t)next_random();
    switch (kind) {
    case 0: row[i] = weight * 0.05f; break;
    case 1: row[i] = (float)(int)(weight * 5) / 8; break;
    case 2: row[i] = bits % 9 ? 0.0f : weight; break;
    case 3: row[i] = weight * 0x1p-130f; break;
    case 4: row[i] = 10 + weight * 1e-3f; break;
    case 5: row[i] = i % 211 ? weight * 1e-3f : 90; break;
    case 6: row[i] = float_of(bits & 0x80000000u) + (i / 16 % 5 ? weight : 0.25f); break;
    case 8: row[i] = weight * 1e30f; break;
    case 9: row[i] = i % 97 ? weight : float_of((bits & 0x80000000u) | 0x7F800000u); break;
    case 10: row[i] = i % 61 ? weight : float_of(bits | 0x7FC00000u); break;
    case 11: row[i] = float_of((bits >> 23 & 0xFF) == 0xFF ? bits & 0x80FFFFFFu : bits); break;
    // Exponents up to 2^14, so that scales and their sums stay finite.
    default: row[i] = float_of((bits & 0x807FFFFFu) | (bits >> 23 & 0xFF) * 141 / 255 << 23);
    }
  }
}

static void compare_on_made_rows(
  uint32_t type, const float *importance, const char *what, bool hostile
) {
  ingot_quantize quantize = ingot_find_quantize(INGOT_SCALAR, type);
  ingot_dequantize dequantize = ingot_find_dequantize(INGOT_SCALAR, type);
  if (!quantize || !dequantize) return;
  const size_t weight_count = (size_t)MADE_ROWS * COLUMNS;
  Bytes rows = allocate(weight_count * 4), blocks = allocate(weight_count * 4);
  Bytes expected = allocate(weight_count * 4), weights = allocate(weight_count * 4);
  Bytes expected_weights = allocate(weight_count * 4);
  random_state = 3;
  for (int row = 0; row < MADE_ROWS; ++row) {
    int kind = row / ROWS_PER_KIND;
    make_row(hostile ? FIRST_HOSTILE + kind % HOSTILE_KINDS : kind, (float *)rows.bytes + row * COLUMNS);
  }
  memset(expected.bytes, 0xA5, expected.count);
  quantize((const float *)rows.bytes, MADE_ROWS, COLUMNS, importance, expected.bytes);
  dequantize(expected.bytes, weight_count, (float *)expected_weights.bytes);
  for (int set = 1; set < INGOT_KERNEL_SETS; ++set) {
    if (!ingot_is_runnable(set)) continue;
    ingot_quantize other = ingot_find_quantize(set, type);
    ingot_dequantize other_back = ingot_find_dequantize(set, type);
    if (!other || !other_back) {
      differs(set, type, what, "the set lacks a type that scalar has");
      continue;
    }
    memset(blocks.bytes, 0xA5, blocks.count);
    other((const float *)rows.bytes, MADE_ROWS, COLUMNS, importance, blocks.bytes);
    if (memcmp(blocks.bytes, expected.bytes, blocks.count) != 0) {
      differs(set, type, what, "blocks are not those of scalar");
    }
    other_back(expected.bytes, weight_count, (float *)weights.bytes);
    if (memcmp(weights.bytes, expected_weights.bytes, weights.count) != 0) {
      differs(set, type, what, "dequantized weights are not those of scalar");
    }
  }
  if (!hostile) printf(
    "type %u, %s: blocks %08x, weights %08x\n", type, what,
    crc32(expected.bytes, expected.count), crc32(expected_weights.bytes, expected_weights.count));
  free(rows.bytes);
  free(blocks.bytes);
  free(expected.bytes);
  free(weights.bytes);
  free(expected_weights.bytes);
}

// MARK: Conversions of numbers

/// Every half precision number, the midpoint to its neighbour, the neighbours of that, NaNs, and
/// random bits, all with both signs.
static void compare_conversions(void) {
  enum { HALVES = 1 << 16, FLOATS = HALVES * 16 };
  Bytes halves = allocate(HALVES * 2), exact = allocate(HALVES * 4);
  for (uint32_t i = 0; i < HALVES; ++i) ((uint16_t *)halves.bytes)[i] = (uint16_t)i;
  ingot_find_dequantize(INGOT_SCALAR, INGOT_F16)(halves.bytes, HALVES, (float *)exact.bytes);

  Bytes floats = allocate(FLOATS * 4);
  uint32_t *bits = (uint32_t *)floats.bytes;
  random_state = 16;
  for (uint32_t i = 0; i < HALVES; ++i) {
    uint32_t low = ((uint32_t *)exact.bytes)[i];
    // The distance to the next number is 2^13 units above the denormals: half of it, and more.
    const int32_t beside[] = {0, 1, -1, 0x0FFF, 0x1000, 0x1001, 0x1800, 0x3000};
    for (int k = 0; k < 8; ++k) *bits++ = low + (uint32_t)beside[k];
    for (int k = 0; k < 8; ++k) *bits++ = (uint32_t)next_random();
  }
  // Denormal halves are multiples of 2^-24: their midpoints are odd multiples of 2^-25.
  for (uint32_t i = 0; i < 4096; ++i) {
    float middle = (float)i * 0x1p-25f;
    memcpy(floats.bytes + (size_t)i * 64 + 60, &middle, 4);
  }

  const uint32_t types[] = {INGOT_F16, INGOT_BF16};
  for (int t = 0; t < 2; ++t) {
    uint32_t type = types[t];
    Bytes expected = allocate(FLOATS * 2), made = allocate(FLOATS * 2);
    Bytes back = allocate(HALVES * 4), expected_back = allocate(HALVES * 4);
    ingot_find_quantize(INGOT_SCALAR, type)(
      (float *)floats.bytes, 1, FLOATS, NULL, expected.bytes);
    ingot_find_dequantize(INGOT_SCALAR, type)(
      halves.bytes, HALVES, (float *)expected_back.bytes);
    printf(
      "type %u, conversions: there %08x, back %08x\n", type,
      crc32(expected.bytes, expected.count), crc32(expected_back.bytes, expected_back.count));
    for (int set = 1; set < INGOT_KERNEL_SETS; ++set) {
      if (!ingot_is_runnable(set)) continue;
      ingot_find_quantize(set, type)((float *)floats.bytes, 1, FLOATS, NULL, made.bytes);
      if (memcmp(made.bytes, expected.bytes, made.count) != 0) {
        differs(set, type, "conversions", "not those of scalar");
      }
      ingot_find_dequantize(set, type)(halves.bytes, HALVES, (float *)back.bytes);
      if (memcmp(back.bytes, expected_back.bytes, back.count) != 0) {
        differs(set, type, "conversions back", "not those of scalar");
      }
    }
    free(expected.bytes);
    free(made.bytes);
    free(back.bytes);
    free(expected_back.bytes);
  }
  free(halves.bytes);
  free(exact.bytes);
  free(floats.bytes);
}

int main(int argument_count, char **arguments) {
  if (argument_count != 2) return 2;
  const char *folder = arguments[1];
  Bytes input = read_file(folder, "input.f32"), importance = read_file(folder, "importance.f32");
  const float *columns = (const float *)importance.bytes;
  float sparse[COLUMNS], none[COLUMNS];
  for (int i = 0; i < COLUMNS; ++i) {
    sparse[i] = i % 3 && i / 32 % 5 ? columns[i] : 0;
    none[i] = 0;
  }

  uint32_t type, crc;
  char key[32], name[256];
  int files = 0;
  while (scanf("%u %31s %255s %u", &type, key, name, &crc) == 4) {
    const float *chosen = strcmp(key, "importance") == 0 ? columns : NULL;
    compare_with_golden(folder, input, chosen, type, name, crc);
    files++;
  }
  for (type = 0; type < INGOT_TYPES; ++type) {
    if (ingot_find_quantize(INGOT_SCALAR, type) && !tested[type]) {
      differs(INGOT_SCALAR, type, "goldens", "none in the list");
    }
    // A type without such a golden file quantizes with importance only.
    for (int hostile = 0; hostile < 2; ++hostile) {
      if (tested[type] & 1) compare_on_made_rows(type, NULL, "made rows", hostile);
      compare_on_made_rows(type, columns, "made rows with importance", hostile);
      compare_on_made_rows(type, sparse, "made rows with importance of some", hostile);
      compare_on_made_rows(type, none, "made rows with importance of none", hostile);
    }
  }
  compare_conversions();

  fprintf(stderr, "%d golden files, kernels:", files);
  for (int set = 0; set < INGOT_KERNEL_SETS; ++set) {
    if (ingot_is_runnable(set)) fprintf(stderr, " %s", set_names[set]);
  }
  int types = 0;
  for (type = 0; type < INGOT_TYPES; ++type) types += tested[type] != 0;
  fprintf(stderr, "; %d types, %d differences\n", types, differences);
  free(input.bytes);
  free(importance.bytes);
  return differences != 0 || files == 0;
}
