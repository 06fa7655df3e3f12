import ByteIO
import GGUF
import Planning
import Tensors

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What is known of an archive whose types were chosen tensor by tensor, so that no mix's policy is
/// meant for it.
///
/// Source: formats/verification/README.md
package struct ChosenTypes: Hashable, Sendable {
  /// The recipe's.
  package var title: String
  /// Mean KL divergence in nats that the types were chosen to cost; `nil` where no text was read.
  package var expectedDivergence: Double?
  /// Largest relative error of normally distributed weights in any of its types.
  package var largestError: Double
  /// The stock mix with most bits per weight among those that, on this model, have no more than the
  /// archive; the smallest mix where all have more.
  ///
  /// Mixes for models that were trained in a type are left out.
  package var mix: String?

  package init(
    title: String, expectedDivergence: Double?, largestError: Double, mix: String? = nil
  ) {
    self.title = title
    self.expectedDivergence = expectedDivergence
    self.largestError = largestError
    self.mix = mix
  }

  /// Looks at an archive.
  ///
  /// - Returns: `nil` for one that names no recipe, or a stock mix as its recipe.
  /// - Throws: `FormatError` where its metadata does not say what the rules of mixes ask.
  package init?(_ metadata: Metadata, tensors: [TensorDescriptor], file: String) throws(FormatError)
  {
    guard let title = metadata[RecipeFile.Key.title]?.string, !Self.isStock(title) else {
      return nil
    }
    let facts = try ModelFacts(metadata, file: file)
    let matrices = tensors.filter { $0.shape.rank > 1 }
    self.init(
      title: title, expectedDivergence: metadata.expectedDivergence,
      largestError: matrices.compactMap { ErrorBand.normal($0.type) }.max() ?? 0,
      mix: Self.nearestMix(tensors, facts))
  }

  private static func isStock(_ title: String) -> Bool {
    let name = title.hasSuffix(" --pure") ? String(title.dropLast(7)) : title
    return name == "copy" || OutputType(name: name) != nil || StockMix(name: name) != nil
  }

  private static func nearestMix(_ tensors: [TensorDescriptor], _ facts: ModelFacts) -> String? {
    let ownBytes = tensors.reduce(0) { $0 + $1.byteCount }
    let typed = tensors.map { ($0.name, $0.shape, $0.type) as TypedTensor }
    var mixes: [(name: String, byteCount: Int)] = []
    for policy in VerificationPolicy.shipped where policy.gates[.maxMeanKLD] != nil {
      guard let mix = StockMix(name: policy.name), mix.defaultType.isBlockType,
        !mix.isForTrainedTypes,
        let assignments = try? assignTypes(
          mix, options: TypeOptions(hasImportance: true), facts: facts, tensors: typed)
      else { continue }
      mixes.append(
        (
          mix.name,
          zip(tensors, assignments).reduce(0) { sum, pair in
            sum + (pair.1.type.byteCount(weightCount: pair.0.elementCount) ?? 0)
          }
        ))
    }
    func limit(_ name: String) -> Double {
      VerificationPolicy.shipped(name)?.gates[.maxMeanKLD] ?? 0
    }
    // Of mixes of one size the one that allows more.
    let smaller = mixes.filter { $0.byteCount <= ownBytes }
      .max { ($0.byteCount, limit($0.name)) < ($1.byteCount, limit($1.name)) }
    return (smaller ?? mixes.min { $0.byteCount < $1.byteCount })?.name
  }
}

extension VerificationPolicy {
  /// How far a divergence may lie above the one that types were chosen to cost: on other texts than
  /// the one that was read, and where harms do not add up.
  private static let expectationFactor = 3.0
  /// Besides, for what rounding alone does.
  private static let expectationSlack = 0.001
  /// Of the largest error of normally distributed weights: as in policies.tsv.
  private static let errorFactor = 1.5

  /// Gates for chosen types; `nil` where nothing is known to go by.
  package init?(_ chosen: ChosenTypes) {
    var gates = Gates()
    let basis: String
    if let expected = chosen.expectedDivergence {
      // As many times as divergences, ratios and choices of the shipped policies allow.
      // What the archive says of itself loosens no gate beyond those of the loosest mix.
      func loosest(_ gate: Gate) -> [Double] { Self.shipped.compactMap { $0.gates[gate] } }
      let limit = min(
        Self.rounded(Self.expectationFactor * expected + Self.expectationSlack),
        loosest(.maxMeanKLD).max() ?? 0)
      gates = Gates(
        maxMeanKLD: limit, maxP99KLD: Self.rounded(12 * limit),
        maxPPLRatio: min(
          Self.rounded(exp(limit) + 0.005, 4), loosest(.maxPPLRatio).max() ?? 1),
        minTop1: max(
          ((1 - 0.6 * limit.squareRoot()) * 1000).rounded(.down) / 1000,
          loosest(.minTop1).min() ?? 1))
      basis = "\(significant(expected, 3)) nats were expected of them"
    } else if let mix = chosen.mix, let policy = Self.shipped(mix) {
      gates = policy.gates
      basis = "\(mix) is the stock mix of at most as many bytes"
    } else {
      return nil
    }
    gates[.maxTensorError] = min(1000, Self.rounded(Self.errorFactor * chosen.largestError))
    self.init(
      name: "auto", description: "types were chosen (\(chosen.title)); \(basis)", gates: gates,
      isShipped: true)
  }

  /// Up to so many significant digits.
  private static func rounded(_ value: Double, _ digits: Int = 2) -> Double {
    guard value.isFinite, value > 0 else { return 0 }
    let scale = pow(10, Double(digits - 1 - decimalExponent(value)))
    // What is round already stays so.
    return (value * scale * (1 - 1e-9)).rounded(.up) / scale
  }
}
