// Zstandard, the reference library.
#include <zstd.h>
