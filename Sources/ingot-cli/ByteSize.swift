import ArgumentParser
import Ingot

/// A number of bytes as people write it: K, M, G are powers of 1000, KiB, MiB, GiB of 1024.
struct ByteSize: ExpressibleByArgument, Hashable {
  var byteCount: UInt64
  /// As typed, where there was no unit.
  private var bareNumber: String?

  /// For help texts.
  static let grammar =
    "Sizes are 512M, 2.5G, 8GiB, above 0: K, M, G are powers of 1000, KiB, MiB, GiB of 1024."

  private static let units: [(suffix: String, factor: Double)] = [
    ("KIB", 1024), ("MIB", 1_048_576), ("GIB", 1_073_741_824), ("TIB", 1_099_511_627_776),
    ("KB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12),
    ("K", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12), ("B", 1),
  ]

  init?(argument: String) {
    let text = argument.uppercased()
    let unit = Self.units.first { text.hasSuffix($0.suffix) } ?? ("", 1)
    let digits = text.dropLast(unit.suffix.count)
    guard !digits.isEmpty, digits.allSatisfy({ $0.isASCII && ($0.isNumber || $0 == ".") }),
      let number = Double(digits)
    else { return nil }
    let bytes = (number * unit.factor).rounded(.down)
    guard bytes >= 1, bytes < 9e18 else { return nil }
    // Only whole bytes are bytes.
    guard !unit.suffix.isEmpty || number == bytes || bytes < Self.unlikelyByteCount else {
      return nil
    }
    byteCount = UInt64(bytes)
    if unit.suffix.isEmpty { bareNumber = argument }
  }

  /// Nobody means so few bytes.
  private static let unlikelyByteCount = 1e6

  /// The bytes of a size of memory or of an archive, where a unit was most likely forgotten.
  func withUnit(_ option: String) throws -> UInt64 {
    if let bareNumber, Double(byteCount) < Self.unlikelyByteCount {
      throw UsageError(
        "\(option) \(bareNumber) is \(byteCount) bytes: write the unit, such as \(bareNumber)GiB")
    }
    return byteCount
  }

  init(byteCount: UInt64) { self.byteCount = byteCount }

  var defaultValueDescription: String {
    if byteCount % 1_000_000_000 == 0 { return "\(byteCount / 1_000_000_000)G" }
    return byteCount % (1 << 20) == 0 ? "\(byteCount >> 20)MiB" : byteText(byteCount)
  }
}
