import ByteIO
import Testing

@Suite("Hashes")
struct HashTests {
  /// FIPS 180-2, appendix B; a million letters come in uneven pieces.
  @Test("SHA-256 of the standard's own examples")
  func sha256() {
    #expect(
      SHA256Stream.hex(of: Array("abc".utf8))
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(
      SHA256Stream.hex(of: [])
        == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    let stream = SHA256Stream()
    var left = 1_000_000
    var piece = 1
    while left > 0 {
      stream.update([UInt8](repeating: 0x61, count: min(piece, left)))
      left -= min(piece, left)
      piece = piece * 3 + 1
    }
    #expect(
      stream.finish() == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0")
  }

  /// `xxhsum -H3` of the same bytes.
  @Test("XXH3 of nothing, of a word and of a long run")
  func xxh3() {
    #expect(XXH3.hash64([]) == 0x2d06_8005_38d3_94c2)
    #expect(XXH3.hash64(Array("abc".utf8)) == 0x78af_5f94_892f_3950)
    #expect(XXH3.hash64([UInt8](repeating: 7, count: 100_000)) == 0x11b3_28c9_d584_c63b)
  }
}
