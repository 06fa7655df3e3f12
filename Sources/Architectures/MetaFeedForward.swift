import ByteIO

/// Meta's rule for the width of feed-forward networks, which `params.json` does not state.
///
/// Two thirds of a multiple of the model's width, stretched, then up to the next multiple.
/// Source: formats/meta-native.md, "Parameters".
struct MetaFeedForward {
  private let root: ConfigurationReader
  private let multiple: Int
  /// `nil`: not stretched.
  private let multiplier: Double?

  init(_ root: ConfigurationReader) throws(FormatError) {
    self.root = root
    multiple = try root.count("multiple_of", in: ModelConfiguration.lengths) ?? 256
    multiplier = try root.positive("ffn_dim_multiplier")
  }

  func denseLength(_ embeddingLength: Int) throws(FormatError) -> Int {
    rounded(try stretched(4 * embeddingLength * 2 / 3))
  }

  /// Width of one expert, and of the shared one.
  ///
  /// - Parameters:
  ///   - embeddingLength: the model's width.
  ///   - expansion: `ffn_exp`, in place of the 4 of dense layers.
  ///   - activeCount: how many experts a token counts for, which share the width; `nil`: they do
  ///     not.
  /// - Returns: a multiple of `multiple_of`.
  /// - Throws: `FormatError` for a member that makes it 0 or far too large.
  func expertLength(
    _ embeddingLength: Int, expansion: Double, activeCount: Double?
  ) throws(FormatError) -> Int {
    let whole = (expansion * Double(embeddingLength)).rounded(.towardZero)
    try check("ffn_exp", whole)
    var length = try stretched(Int(2 * whole / 3))
    if let activeCount {
      let share = (Double(length) / activeCount).rounded(.towardZero)
      try check("moe_args.capacity_factor", share)
      length = Int(share)
    }
    return rounded(length)
  }

  private func stretched(_ length: Int) throws(FormatError) -> Int {
    guard let multiplier else { return length }
    let stretched = (multiplier * Double(length)).rounded(.towardZero)
    try check("ffn_dim_multiplier", stretched)
    return Int(stretched)
  }

  private func check(_ name: String, _ length: Double) throws(FormatError) {
    guard length >= 1, length <= Double(ModelConfiguration.lengths.upperBound) else {
      throw root.error(
        name,
        .outOfRange(
          found: "\(length)",
          allowed: "a feed-forward length of 1 to \(ModelConfiguration.lengths.upperBound)"))
    }
  }

  private func rounded(_ length: Int) -> Int { (length + multiple - 1) / multiple * multiple }
}
