import Fitting

/// No choice of types is within the target.
public struct FitTooSmall: Error, Hashable, Sendable, CustomStringConvertible {
  public var target: FitTarget
  /// Bytes of the smallest choice that is possible with the types allowed: of the whole file, of all
  /// tensors for bits per weight, of those on the devices for a memory.
  public var smallest: UInt64
  /// Bytes that the target leaves for the same.
  public var byteLimit: UInt64
  public var weightCount: UInt64
  /// What would help.
  public var advice: String
  /// What takes the memory, where nothing is left for weights.
  public var besides: String?

  public var description: String {
    let size: String
    switch target {
    case .byteCount: size = "the smallest file has \(smallest) bytes"
    case .bitsPerWeight:
      let bits = Double(smallest) * 8 / Double(max(1, weightCount))
      size = "the smallest weights have \(smallest) bytes, \(fixed(bits, 2)) bits each"
    case .memory:
      size =
        "the smallest weights have \(smallest) bytes, and \(byteLimit) are left for them"
        + (besides.map { " (\($0))" } ?? "")
    }
    return "nothing would \(target.title): with the types allowed \(size); \(advice)"
  }
}
