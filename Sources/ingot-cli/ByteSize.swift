import ArgumentParser

/// A number of bytes as people write it: K, M, G are powers of 1000, KiB, MiB, GiB of 1024.
struct ByteSize: ExpressibleByArgument, Hashable {
  var byteCount: UInt64

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
    byteCount = UInt64(bytes)
  }

  init(byteCount: UInt64) { self.byteCount = byteCount }

  var defaultValueDescription: String {
    byteCount % (1 << 20) == 0 ? "\(byteCount >> 20)MiB" : Self.text(byteCount)
  }

  /// Short text with a decimal unit, such as `3.57 MB`.
  static func text(_ byteCount: UInt64) -> String {
    let scales: [(Double, String)] = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")]
    for (factor, unit) in scales where Double(byteCount) >= factor {
      return fixed(Double(byteCount) / factor, 2) + " " + unit
    }
    return "\(byteCount) B"
  }
}

/// A number with a fixed count of decimals.
func fixed(_ value: Double, _ decimals: Int) -> String {
  guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
  var scale = 1.0
  for _ in 0..<decimals { scale *= 10 }
  let scaled = Int64((abs(value) * scale).rounded())
  let sign = value < 0 && scaled != 0 ? "-" : ""
  guard decimals > 0 else { return sign + "\(scaled)" }
  let digits = "\(scaled)"
  let padded = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
  return sign + padded.dropLast(decimals) + "." + padded.suffix(decimals)
}
