import ByteIO
import Conversion
import Quantizers
import TestSupport
import Testing

/// As the page says it, word by word.
private func plainHash(_ bytes: [UInt8]) -> UInt64 {
  var sums: [UInt64] = []
  for start in stride(from: 0, to: bytes.count, by: 4096) {
    var page = Array(bytes[start..<min(start + 4096, bytes.count)])
    page += [UInt8](repeating: 0, count: 4096 - page.count)
    var row = [UInt64](repeating: 0, count: 8)
    for (index, byte) in page.enumerated() {
      row[index / 8 % 8] &+= UInt64(byte) << UInt64(index % 8 * 8)
    }
    sums += row
  }
  return XXH3.hash64(
    sums.flatMap { sum in (0..<8).map { UInt8(truncatingIfNeeded: sum >> ($0 * 8)) } })
}

private func hash(_ bytes: [UInt8]) -> UInt64 { bytes.withUnsafeBytes { RangeHash.hash64($0) } }

@Test func rangeHashIsThatOfThePage() {
  var generator = SplitMix64(seed: 8)
  for count in [0, 1, 7, 63, 64, 4095, 4096, 4097, 8192, 12_345, 139_264, 1 << 20] {
    let bytes = (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    let expected = plainHash(bytes)
    for kernels in KernelTable.runnableHere {
      let found = bytes.withUnsafeBytes { RangeHash.hash64($0, kernels: kernels) }
      #expect(found == expected, "\(count) \(kernels.name)")
    }
    #expect(
      hash([UInt8](repeating: 255, count: count))
        == plainHash([UInt8](repeating: 255, count: count)))
  }
}

/// What disks and power cuts do to a range: bits, sectors and pages that are others, or gone.
@Test func rangeHashSeesDamage() {
  var generator = SplitMix64(seed: 9)
  let bytes = (0..<20_000).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
  let sound = hash(bytes)
  for index in stride(from: 0, to: bytes.count, by: 17) {
    var damaged = bytes
    damaged[index] ^= 1 << UInt8(index % 8)
    #expect(hash(damaged) != sound, "bit \(index)")
  }
  for (size, name) in [(512, "sector"), (4096, "page")] {
    for start in stride(from: 0, to: bytes.count - 2 * size, by: size) {
      var lost = bytes
      lost.replaceSubrange(start..<start + size, with: [UInt8](repeating: 0, count: size))
      #expect(hash(lost) != sound, "lost \(name) \(start)")
      var twice = bytes
      twice.replaceSubrange(start..<start + size, with: bytes[start + size..<start + 2 * size])
      #expect(hash(twice) != sound, "doubled \(name) \(start)")
    }
  }
  // Pages in another order.
  #expect(hash(Array(bytes[4096..<8192] + bytes[..<4096] + bytes[8192...])) != sound)
  // Unaligned, as buffers may be.
  let shifted = [0] + bytes
  #expect(
    shifted.withUnsafeBytes { RangeHash.hash64(UnsafeRawBufferPointer(rebasing: $0[1...])) }
      == sound)
}
