/// Checksums of bytes that come in runs with others between.
///
/// A remainder here begins at zero and is not inverted, so that remainders of messages of one length
/// add up to that of the sum of the messages.
extension CRC32 {
  /// The remainder of runs at one distance with zeros between, up to the end of the last.
  ///
  /// - Parameters:
  ///   - bytes: the runs, one behind the other.
  ///   - byteCount: bytes of each run.
  ///   - stride: bytes from the start of one to the start of the next.
  /// - Returns: the remainder.
  package static func remainder(
    ofRuns bytes: UnsafeRawBufferPointer, byteCount: Int, stride: UInt64
  ) -> UInt32 {
    precondition(byteCount > 0 && bytes.count.isMultiple(of: byteCount))
    let count = bytes.count / byteCount
    let step = FactorTable(power(byteCount: stride))
    var sum: UInt32 = 0
    var run = 0
    tables.withUnsafeBufferPointer { tables in
      // Four runs side by side, as `update` does with four parts.
      while run + 4 <= count {
        let start = run * byteCount
        var (a, b, c, d) = (UInt32(0), UInt32(0), UInt32(0), UInt32(0))
        var index = start
        while index < start + byteCount & ~7 {
          a = advance(a, bytes, index, tables)
          b = advance(b, bytes, index + byteCount, tables)
          c = advance(c, bytes, index + 2 * byteCount, tables)
          d = advance(d, bytes, index + 3 * byteCount, tables)
          index += 8
        }
        for (number, state) in [a, b, c, d].enumerated() {
          let end = start + (number + 1) * byteCount
          sum = step(sum) ^ finish(state, bytes, (end - byteCount & 7)..<end, tables)
        }
        run += 4
      }
      while run < count {
        let start = run * byteCount
        var state: UInt32 = 0
        for index in Swift.stride(from: start, to: start + byteCount & ~7, by: 8) {
          state = advance(state, bytes, index, tables)
        }
        let end = start + byteCount
        sum = step(sum) ^ finish(state, bytes, (end - byteCount & 7)..<end, tables)
        run += 1
      }
    }
    return sum
  }

  /// Takes in single bytes.
  @inline(__always)
  private static func finish(
    _ state: UInt32, _ bytes: UnsafeRawBufferPointer, _ range: Range<Int>,
    _ tables: UnsafeBufferPointer<UInt32>
  ) -> UInt32 {
    range.reduce(state) { tables[Int(($0 ^ UInt32(bytes[$1])) & 0xFF)] ^ $0 >> 8 }
  }

  /// The remainder of a message with zeros behind it.
  package static func remainder(_ remainder: UInt32, zeroByteCount: UInt64) -> UInt32 {
    product(power(byteCount: zeroByteCount), remainder)
  }

  /// The checksum of a message of `byteCount` bytes from its remainder.
  package static func value(ofRemainder remainder: UInt32, byteCount: UInt64) -> UInt32 {
    ~(product(power(byteCount: byteCount), ~0) ^ remainder)
  }

  /// Multiplies by one factor: what each byte adds to the product.
  private struct FactorTable {
    private var products = [UInt32](repeating: 0, count: 4 * 256)

    init(_ factor: UInt32) {
      for byte in 0..<4 {
        for value in 1..<256 {
          let bit = value.trailingZeroBitCount
          let rest = products[byte * 256 + (value & (value - 1))]
          let single =
            value & (value - 1) == 0
            ? CRC32.product(factor, 1 << UInt32(8 * byte + bit)) : products[byte * 256 + 1 << bit]
          products[byte * 256 + value] = rest ^ single
        }
      }
    }

    @inline(__always)
    func callAsFunction(_ value: UInt32) -> UInt32 {
      products[Int(value & 0xFF)] ^ products[256 + Int(value >> 8 & 0xFF)]
        ^ products[512 + Int(value >> 16 & 0xFF)] ^ products[768 + Int(value >> 24)]
    }
  }
}
