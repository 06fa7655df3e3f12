// LZ4, the reference library: raw blocks, fast and high compression.
#include <lz4.h>
#include <lz4hc.h>
