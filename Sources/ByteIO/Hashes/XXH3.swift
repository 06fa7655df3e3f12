import CXXHash

/// XXH3 of bytes: finds damage at the speed of memory, but keeps out no forger.
package enum XXH3 {
  /// The 64-bit hash with seed 0.
  package static func hash64(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    xxh3_64bits_fastest(bytes.baseAddress, bytes.count)
  }

  package static func hash64(_ bytes: [UInt8]) -> UInt64 {
    bytes.withUnsafeBytes { hash64($0) }
  }
}

/// The older XXH64, which the seekable format of Zstandard uses.
package enum XXH64Hash {
  /// With seed 0.
  package static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    XXH64(bytes.baseAddress, bytes.count, 0)
  }
}
