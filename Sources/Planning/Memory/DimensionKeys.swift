import ByteIO
import Tensors

/// Reads counts under an architecture's prefix.
struct DimensionKeys {
  let metadata: Metadata
  let file: String

  /// Architectures whose forward pass the memory model knows.
  static let knownArchitectures = ["llama", "llama4"]

  func architecture() throws(FormatError) -> String {
    guard let name = metadata["general.architecture"]?.string else {
      throw FormatError(
        file: file, field: "general.architecture", reason: .missing("the architecture's name"))
    }
    guard Self.knownArchitectures.contains(name) else {
      throw FormatError(
        file: file, field: "general.architecture",
        reason: .unsupported(
          found: printable(name), allowed: Self.knownArchitectures.joined(separator: ", ")),
        advice: "the memory of other architectures is not modelled")
    }
    return name
  }

  private func fullKey(_ key: String) -> String {
    "\(metadata["general.architecture"]?.string ?? "").\(key)"
  }

  /// A count within bounds, so that products of a few do not overflow.
  func count(
    _ key: String, _ allowed: ClosedRange<Int>, absent: Int? = nil
  ) throws(FormatError) -> Int {
    guard let value = metadata[fullKey(key)] else {
      if let absent { return absent }
      throw failure(key, .missing("a count"))
    }
    guard let number = value.int else {
      throw failure(key, .outOfRange(found: "another value", allowed: "\(allowed)"))
    }
    guard allowed.contains(number) else {
      throw failure(key, .outOfRange(found: "\(number)", allowed: "\(allowed)"))
    }
    return number
  }

  /// One count for each layer, from a list or a single number.
  func perLayer(
    _ key: String, _ layerCount: Int, absent: [Int]?
  ) throws(FormatError) -> [Int] {
    let allowed = 0...(1 << 20)
    guard let list = metadata[fullKey(key)]?.array else {
      if metadata[fullKey(key)] == nil, let absent { return absent }
      return Array(repeating: try count(key, allowed), count: layerCount)
    }
    let numbers: [Int] =
      switch list {
      case .uint32(let values): values.prefix(layerCount).map { Int($0) }
      case .int32(let values): values.prefix(layerCount).map { Int($0) }
      default: []
      }
    guard numbers.count == layerCount, numbers.allSatisfy(allowed.contains) else {
      throw failure(
        key, .outOfRange(found: "another list", allowed: "\(layerCount) numbers, \(allowed)"))
    }
    return numbers
  }

  func failure(_ key: String, _ reason: FormatError.Reason) -> FormatError {
    FormatError(file: file, field: fullKey(key), reason: reason)
  }
}
