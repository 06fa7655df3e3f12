#if canImport(CryptoKit)
  import CryptoKit
#else
  import CCrypto
#endif

/// SHA-256 of bytes that come piece by piece; the digest that `sha256sum` and model hubs print.
///
/// OpenSSL's, or CryptoKit's on Apple's systems.
package final class SHA256Stream {
  #if canImport(CryptoKit)
    private var hasher = CryptoKit.SHA256()
  #else
    private let context: OpaquePointer
  #endif

  package init() {
    #if !canImport(CryptoKit)
      guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1
      else { fatalError("the cryptography library has no SHA-256") }
      self.context = context
    #endif
  }

  #if !canImport(CryptoKit)
    deinit { EVP_MD_CTX_free(context) }
  #endif

  package func update(_ bytes: UnsafeRawBufferPointer) {
    #if canImport(CryptoKit)
      hasher.update(bufferPointer: bytes)
    #else
      guard EVP_DigestUpdate(context, bytes.baseAddress, bytes.count) == 1 else {
        fatalError("SHA-256 failed")
      }
    #endif
  }

  package func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

  /// The digest of everything so far as 64 lower-case hexadecimal digits; nothing may follow.
  package func finish() -> String {
    #if canImport(CryptoKit)
      let digest = Array(hasher.finalize())
    #else
      var digest = [UInt8](repeating: 0, count: 32)
      var byteCount: UInt32 = 0
      guard EVP_DigestFinal_ex(context, &digest, &byteCount) == 1, byteCount == 32 else {
        fatalError("SHA-256 failed")
      }
    #endif
    let digits = Array("0123456789abcdef".utf8)
    return String(
      decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  /// Digest of bytes in memory.
  package static func hex(of bytes: [UInt8]) -> String {
    let stream = SHA256Stream()
    stream.update(bytes)
    return stream.finish()
  }
}
