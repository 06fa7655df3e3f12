// Zstandard, the reference library; what a compressor will allocate is told by its static part.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
