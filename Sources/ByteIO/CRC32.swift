/// The checksum of ZIP and PNG files, polynomial 0xEDB88320, taken in piece by piece.
public struct CRC32: Hashable, Sendable {
  private var state: UInt32 = ~0

  public init() {}

  public var value: UInt32 { ~state }

  /// Four parts are taken in side by side and joined: each is a chain of look-ups that wait for one
  /// another, so one alone leaves the processor idle.
  public mutating func update(_ bytes: UnsafeRawBufferPointer) {
    let partByteCount = bytes.count / 4 & ~7
    var index = 0
    Self.tables.withUnsafeBufferPointer { tables in
      if partByteCount >= Self.leastPartByteCount {
        var (a, b, c, d) = (state, ~UInt32(0), ~UInt32(0), ~UInt32(0))
        while index < partByteCount {
          a = Self.advance(a, bytes, index, tables)
          b = Self.advance(b, bytes, index + partByteCount, tables)
          c = Self.advance(c, bytes, index + 2 * partByteCount, tables)
          d = Self.advance(d, bytes, index + 3 * partByteCount, tables)
          index += 8
        }
        let count = UInt64(partByteCount)
        let front = Self.joined(~a, ~b, secondByteCount: count)
        let back = Self.joined(~c, ~d, secondByteCount: count)
        state = ~Self.joined(front, back, secondByteCount: 2 * count)
        index = 4 * partByteCount
      }
      var state = state
      while index < bytes.count & ~7 {
        state = Self.advance(state, bytes, index, tables)
        index += 8
      }
      while index < bytes.count {
        state = tables[Int((state ^ UInt32(bytes[index])) & 0xFF)] ^ state >> 8
        index += 1
      }
      self.state = state
    }
  }

  /// Below this, joining costs more than it saves.
  private static let leastPartByteCount = 1 << 14

  /// Takes in eight bytes: each goes through the table that carries it past those behind it.
  @inline(__always)
  static func advance(
    _ state: UInt32, _ bytes: UnsafeRawBufferPointer, _ index: Int,
    _ tables: UnsafeBufferPointer<UInt32>
  ) -> UInt32 {
    let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self))
    let mixed = word ^ UInt64(state)
    var next: UInt32 = 0
    for byte in 0..<8 {
      next ^= tables[(7 - byte) * 256 + Int(mixed >> UInt64(8 * byte) & 0xFF)]
    }
    return next
  }

  public mutating func update(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { update($0) }
  }

  /// The checksum of two byte strings one after the other, from the checksum of each.
  public static func joined(
    _ first: UInt32, _ second: UInt32, secondByteCount: UInt64
  ) -> UInt32 {
    product(power(byteCount: secondByteCount), first) ^ second
  }

  /// Each further bit multiplies by x, so `n` bytes multiply by x to the power of 8n.
  static func power(byteCount: UInt64) -> UInt32 {
    var (factor, square, rest) = (UInt32(1) << 31, UInt32(1) << 23, byteCount)
    while rest > 0 {
      if rest & 1 != 0 { factor = product(factor, square) }
      square = product(square, square)
      rest >>= 1
    }
    return factor
  }

  /// Product of two polynomials modulo the checksum's; the highest bit is the coefficient of 1.
  static func product(_ a: UInt32, _ b: UInt32) -> UInt32 {
    var (sum, power) = (UInt32(0), b)
    for bit in (0..<32).reversed() {
      if a >> UInt32(bit) & 1 != 0 { sum ^= power }
      power = power & 1 != 0 ? power >> 1 ^ 0xEDB8_8320 : power >> 1
    }
    return sum
  }

  /// Table `k` carries a byte past `k` more bytes.
  static let tables: [UInt32] = {
    var tables = [UInt32](repeating: 0, count: 8 * 256)
    for byte in 0..<256 {
      var state = UInt32(byte)
      for _ in 0..<8 { state = state & 1 != 0 ? state >> 1 ^ 0xEDB8_8320 : state >> 1 }
      tables[byte] = state
    }
    for table in 1..<8 {
      for byte in 0..<256 {
        let before = tables[(table - 1) * 256 + byte]
        tables[table * 256 + byte] = tables[Int(before & 0xFF)] ^ before >> 8
      }
    }
    return tables
  }()
}
