// OpenSSL's digests. Apple's systems have CryptoKit instead.
#include <openssl/evp.h>
