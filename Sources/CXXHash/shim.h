// XXH3, the reference library. On x86 its plain functions are compiled for the oldest processors;
// those of the dispatcher choose the instruction set at run time.
#include <xxhash.h>

#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
static inline XXH64_hash_t xxh3_64bits_fastest(const void *bytes, size_t count) {
  return XXH3_64bits_dispatch(bytes, count);
}
#else
static inline XXH64_hash_t xxh3_64bits_fastest(const void *bytes, size_t count) {
  return XXH3_64bits(bytes, count);
}
#endif
