// XXH3, the reference library. Not inlined: the library chooses the instruction set at run time.
#include <xxhash.h>
