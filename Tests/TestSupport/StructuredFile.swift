/// A binary file as a list of fields: one can be changed while the rest still fits, so that a change
/// is not refused for the next length alone.
package struct StructuredFile: Sendable {
  package enum Field: Hashable, Sendable {
    /// A little-endian number.
    case integer(UInt64, byteCount: Int)
    /// Bytes behind their count.
    case counted([UInt8], countByteCount: Int)
    case bytes([UInt8])
    /// Zeros up to a multiple.
    case padding(Int)
  }

  package var fields: [Field]

  package init(_ fields: [Field] = []) { self.fields = fields }

  package var bytes: [UInt8] {
    var result: [UInt8] = []
    for field in fields {
      switch field {
      case .integer(let value, let byteCount): result += Self.little(value, byteCount)
      case .counted(let bytes, let countByteCount):
        result += Self.little(UInt64(bytes.count), countByteCount) + bytes
      case .bytes(let bytes): result += bytes
      case .padding(let unit):
        result += [UInt8](repeating: 0, count: (unit - result.count % unit) % unit)
      }
    }
    return result
  }

  private static func little(_ value: UInt64, _ byteCount: Int) -> [UInt8] {
    (0..<byteCount).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
  }

  /// The file with one to three fields changed, left out, repeated or exchanged.
  package func mutated(by generator: inout SplitMix64) -> [UInt8] {
    var copy = self
    for _ in 0...generator.below(3) where !copy.fields.isEmpty {
      let index = generator.below(copy.fields.count)
      switch generator.below(12) {
      case 0: copy.fields.remove(at: index)
      case 1: copy.fields.insert(fields[generator.below(fields.count)], at: index)
      case 2: copy.fields.swapAt(index, generator.below(copy.fields.count))
      default: copy.fields[index] = copy.changed(copy.fields[index], &generator)
      }
    }
    return copy.bytes
  }

  private func changed(_ field: Field, _ generator: inout SplitMix64) -> Field {
    switch field {
    case .integer(let value, let byteCount):
      return .integer(generator.extreme(near: value), byteCount: byteCount)
    case .counted(let bytes, let countByteCount):
      switch generator.below(4) {
      case 0:
        // The count lies.
        return .bytes(
          Self.little(generator.extreme(near: UInt64(bytes.count)), countByteCount) + bytes)
      case 1:
        // Another's text.
        let others = fields.compactMap { other -> [UInt8]? in
          if case .counted(let bytes, _) = other { bytes } else { nil }
        }
        return .counted(others[generator.below(others.count)], countByteCount: countByteCount)
      default: return .counted(generator.damaged(bytes), countByteCount: countByteCount)
      }
    case .bytes(let bytes): return .bytes(generator.damaged(bytes))
    case .padding(let unit): return .padding([1, 8, 16, 64, 4096, unit][generator.below(6)])
    }
  }
}

extension SplitMix64 {
  package mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(max(1, limit))) }

  /// Numbers at which arithmetic goes wrong.
  package mutating func extreme(near value: UInt64) -> UInt64 {
    let power = UInt64(1) << UInt64(below(64))
    return [
      power, power &- 1, power &+ 1, 0 &- power, value &+ 1, value &- 1, value &* 2, 0, .max,
      UInt64(below(300)),
    ][below(10)]
  }

  /// Bytes with a bit, a byte or a piece changed.
  package mutating func damaged(_ bytes: [UInt8]) -> [UInt8] {
    guard !bytes.isEmpty else { return [UInt8(truncatingIfNeeded: next())] }
    var bytes = bytes
    let place = below(bytes.count)
    switch below(5) {
    case 0: bytes[place] ^= 1 << UInt8(below(8))
    case 1: bytes[place] = [0, 0x20, 0x2F, 0x7F, 0x80, 0xFF][below(6)]
    case 2: bytes.removeSubrange(place...)
    case 3: bytes += [UInt8](repeating: bytes[place], count: 1 + below(200))
    default: bytes.insert(contentsOf: bytes[..<place], at: place)
    }
    return bytes
  }
}
