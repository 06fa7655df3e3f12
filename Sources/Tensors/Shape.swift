/// Sizes of a tensor's dimensions, row-major: the last one is contiguous.
public struct Shape: Hashable, Sendable, CustomStringConvertible {
  public var dimensions: [Int]

  public init(_ dimensions: [Int]) { self.dimensions = dimensions }

  /// From GGUF's order, in which the first dimension is contiguous.
  public init(ggufDimensions: [Int]) { dimensions = ggufDimensions.reversed() }
  public var ggufDimensions: [Int] { dimensions.reversed() }

  public var rank: Int { dimensions.count }
  /// Entries of a row, the contiguous dimension; 1 for a scalar.
  public var columnCount: Int { dimensions.last ?? 1 }

  /// Number of entries; `nil` when a dimension is negative or the product overflows.
  public var checkedElementCount: Int? {
    var count = 1
    // A zero anywhere makes the count zero, even beside dimensions that would overflow.
    if dimensions.contains(0) { return dimensions.allSatisfy { $0 >= 0 } ? 0 : nil }
    for dimension in dimensions {
      guard dimension > 0 else { return nil }
      let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
      if overflow { return nil }
      count = product
    }
    return count
  }

  public var description: String {
    "[" + dimensions.map(String.init).joined(separator: ", ") + "]"
  }
}
