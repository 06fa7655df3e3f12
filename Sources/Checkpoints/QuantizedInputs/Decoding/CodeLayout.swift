/// How the codes of a row are stored, and what number each one is before scales.
enum CodeLayout: Hashable, Sendable {
  case e4m3, e5m2
  case int8
  /// Codes without gaps in little-endian 32-bit words; code − 2^(bits−1) is the number.
  ///
  ///     code i of a row   bits i·n … i·n+n−1 of its words, counted from bit 0 of the first
  case packed(bits: Int)
  /// Two E2M1 numbers in a byte, the first in the low half.
  ///
  /// ModelOpt's table has no negative zero, the other libraries' have.
  case e2m1(hasNegativeZero: Bool)

  /// Bytes to read for some columns of a row, from the start of the row's codes.
  func byteRange(_ columns: Range<Int>) -> Range<Int> {
    switch self {
    case .e4m3, .e5m2, .int8: columns
    case .e2m1: columns.lowerBound / 2..<columns.upperBound.dividedUp(by: 2)
    case .packed(let bits):
      columns.lowerBound * bits / 32 * 4..<(columns.upperBound * bits).dividedUp(by: 32) * 4
    }
  }

  /// Decodes columns from the bytes of `byteRange`.
  func decode(
    _ bytes: UnsafeRawPointer, columns: Range<Int>, into weights: UnsafeMutablePointer<Float>
  ) {
    let count = columns.count
    switch self {
    case .e4m3: Self.look(up: bytes, count, in: NarrowFloats.e4m3, into: weights)
    case .e5m2: Self.look(up: bytes, count, in: NarrowFloats.e5m2, into: weights)
    case .int8:
      let codes = bytes.assumingMemoryBound(to: Int8.self)
      for index in 0..<count { weights[index] = Float(codes[index]) }
    case .e2m1(let hasNegativeZero):
      let values = hasNegativeZero ? NarrowFloats.e2m1 : NarrowFloats.e2m1OfModelOpt
      values.withUnsafeBufferPointer { table in
        let first = columns.lowerBound & 1
        let codes = bytes.assumingMemoryBound(to: UInt8.self)
        for index in 0..<count {
          let position = index + first
          let byte = codes[position >> 1]
          weights[index] = table[Int(position & 1 == 0 ? byte & 15 : byte >> 4)]
        }
      }
    case .packed(let bits):
      Self.unpack(
        bytes, bits: bits, firstBit: columns.lowerBound * bits % 32, count, into: weights)
    }
  }

  private static func look(
    up bytes: UnsafeRawPointer, _ count: Int, in table: [Float],
    into weights: UnsafeMutablePointer<Float>
  ) {
    let codes = bytes.assumingMemoryBound(to: UInt8.self)
    table.withUnsafeBufferPointer { table in
      for index in 0..<count { weights[index] = table[Int(codes[index])] }
    }
  }

  private static func unpack(
    _ bytes: UnsafeRawPointer, bits: Int, firstBit: Int, _ count: Int,
    into weights: UnsafeMutablePointer<Float>
  ) {
    let offset = Float(1 << (bits - 1))
    // Words are little-endian, so their bytes are one stream; a code lies in at most two of them.
    if bits == 8 || bits == 4 && firstBit % 8 == 0 {
      let codes = bytes.assumingMemoryBound(to: UInt8.self) + firstBit / 8
      if bits == 8 {
        for index in 0..<count { weights[index] = Float(codes[index]) - offset }
      } else {
        for pair in 0..<count / 2 {
          weights[2 * pair] = Float(codes[pair] & 15) - offset
          weights[2 * pair + 1] = Float(codes[pair] >> 4) - offset
        }
        if count % 2 == 1 { weights[count - 1] = Float(codes[count / 2] & 15) - offset }
      }
      return
    }
    let end = (firstBit + count * bits).dividedUp(by: 8)
    let codes = bytes.assumingMemoryBound(to: UInt8.self)
    let mask = UInt32(1 << bits - 1)
    for index in 0..<count {
      let bit = firstBit + index * bits
      var pair = UInt32(codes[bit / 8])
      if bit / 8 + 1 < end { pair |= UInt32(codes[bit / 8 + 1]) << 8 }
      weights[index] = Float(pair >> UInt32(bit % 8) & mask) - offset
    }
  }
}
