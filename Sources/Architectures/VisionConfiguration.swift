import ByteIO
import StrictJSON
import Tensors

/// The facts of a vision tower and its projector that their archive needs, checked.
///
/// Source: formats/architectures/README.md, section "Vision tower of Llama 4".
package struct VisionConfiguration: Sendable {
  package var file: String
  package var layerCount: Int
  package var imageSize: Int
  package var patchSize: Int
  package var embeddingLength: Int
  package var feedForwardLength: Int
  package var headCount: Int
  package var epsilon: Double
  /// Patches along one side of those that become one token.
  package var mergedSide: Int
  /// Width of what the projector is given.
  package var projectedLength: Int
  /// Of red, green and blue.
  package var imageMean: [Double]
  package var imageDeviation: [Double]

  /// Red, green and blue: llama.cpp knows nothing else.
  private static let channelCount = 3
  private static let lengths = ModelConfiguration.lengths

  /// Reads `vision_config` of a `config.json`, and how pictures are prepared from the files beside
  /// it.
  ///
  /// - Parameters:
  ///   - file: path of the `config.json`.
  ///   - preprocessors: paths of files that may hold `image_mean` and `image_std`; what a later one
  ///     says counts, and those that are not there do not.
  /// - Throws: `FormatError` that names the member, what it is and what it may be.
  package init(file: String, preprocessors: [String]) throws(FormatError) {
    let limit = ModelConfiguration.byteCountLimit
    let document = try JSONValue(file: file, limit: limit)
    guard let whole = document.object else {
      throw FormatError(
        file: file, field: "config", reason: .outOfRange(found: "no object", allowed: "an object"))
    }
    guard
      let root = try ConfigurationReader(file: file, object: whole).object("vision_config")
    else { throw FormatError(file: file, field: "config", reason: .missing("\"vision_config\"")) }
    self.file = file
    layerCount = try root.requiredCount("num_hidden_layers", in: ModelConfiguration.layerCounts)
    imageSize = try root.requiredCount("image_size", in: 1...(1 << 16))
    patchSize = try root.requiredCount("patch_size", in: 1...(1 << 10))
    embeddingLength = try root.requiredCount("hidden_size", in: Self.lengths)
    feedForwardLength = try root.requiredCount("intermediate_size", in: Self.lengths)
    headCount = try root.requiredCount("num_attention_heads", in: Self.lengths)
    epsilon = try root.positive("norm_eps") ?? 1e-5
    projectedLength = try root.requiredCount("vision_output_dim", in: Self.lengths)
    let ratio = try root.positive("pixel_shuffle_ratio") ?? 0.5
    guard ratio <= 1, 1 / ratio == (1 / ratio).rounded(), ratio >= 1.0 / 64 else {
      throw root.error(
        "pixel_shuffle_ratio", .outOfRange(found: "\(ratio)", allowed: "1, 1/2, 1/3, … 1/64"))
    }
    mergedSide = Int(1 / ratio)
    (imageMean, imageDeviation) = try Self.imageStatistics(preprocessors, config: file)
    try Self.refuseUnsupported(root)
    try checkSizes(root)
  }

  /// What llama.cpp computes whatever the archive says.
  private static func refuseUnsupported(_ root: ConfigurationReader) throws(FormatError) {
    if let activation = try root.string("hidden_act"), activation != "gelu" {
      throw root.error(
        "hidden_act",
        .unsupported(found: "\"\(printable(activation, limit: 40))\"", allowed: "\"gelu\""))
    }
    let rotary = try root.object("rope_parameters")
    for reader in [root, rotary].compactMap({ $0 }) {
      guard let theta = try reader.positive("rope_theta"), theta != 10_000 else { continue }
      throw reader.error("rope_theta", .unsupported(found: "\(theta)", allowed: "10000"))
    }
    if let count = try root.count("num_channels", in: lengths), count != channelCount {
      throw root.error("num_channels", .unsupported(found: "\(count)", allowed: "\(channelCount)"))
    }
  }

  private func checkSizes(_ root: ConfigurationReader) throws(FormatError) {
    guard imageSize % (patchSize * mergedSide) == 0 else {
      throw root.error(
        "image_size",
        .inconsistent(
          "\(imageSize) is no multiple of \(mergedSide) patches of patch_size \(patchSize)"))
    }
    // Each half of a head rotates by one coordinate, in pairs.
    guard embeddingLength % headCount == 0, embeddingLength / headCount % 4 == 0 else {
      throw root.error(
        "num_attention_heads",
        .inconsistent(
          "\(headCount) heads do not divide hidden_size \(embeddingLength) into multiples of 4"))
    }
    for name in ["projector_input_dim", "projector_output_dim"] {
      guard let other = try root.count(name, in: Self.lengths), other != projectedLength else {
        continue
      }
      throw root.error(
        name, .inconsistent("is \(other), but vision_output_dim is \(projectedLength)"))
    }
  }

  /// Mean and standard deviation of pictures' colours, as the tower was trained for.
  private static func imageStatistics(
    _ files: [String], config: String
  ) throws(FormatError) -> (mean: [Double], deviation: [Double]) {
    var found: [String: [Double]] = [:]
    for file in files where DirectoryListing.exists(file) {
      let document = try JSONValue(file: file, limit: ModelConfiguration.byteCountLimit)
      // `processor_config.json` has the image processor's members inside.
      for (object, prefix) in [
        (document.object, ""), (document["image_processor"]?.object, "image_processor."),
      ] {
        guard let object else { continue }
        let reader = ConfigurationReader(file: file, prefix: prefix, object: object)
        for name in ["image_mean", "image_std"] where reader[name] != nil {
          found[name] = try colours(reader, name)
        }
      }
    }
    guard let mean = found["image_mean"], let deviation = found["image_std"] else {
      throw FormatError(
        file: files.first ?? config, field: found["image_mean"] == nil ? "image_mean" : "image_std",
        reason: .missing("how pictures are prepared: a list of three numbers"),
        advice: "download preprocessor_config.json, too")
    }
    return (mean, deviation)
  }

  private static func colours(
    _ reader: ConfigurationReader, _ name: String
  ) throws(FormatError) -> [Double] {
    let numbers = reader[name]?.array?.compactMap(\.double) ?? []
    guard numbers.count == channelCount, reader[name]?.array?.count == channelCount,
      numbers.allSatisfy({ Float($0).isFinite && (name == "image_mean" || Float($0) > 0) })
    else {
      throw reader.error(
        name, .outOfRange(found: "another value", allowed: "a list of three finite numbers"))
    }
    return numbers
  }

  /// The value of a word of the table of names; `nil` for those of the language model.
  func size(_ word: String) -> Int? {
    let patchesPerSide = imageSize / patchSize
    return switch word {
    case "visionEmbedding": embeddingLength
    case "visionFeedForward": feedForwardLength
    case "visionPositions": patchesPerSide * patchesPerSide + 1
    case "visionPatch": Self.channelCount * patchSize * patchSize
    case "visionMerged": embeddingLength * mergedSide * mergedSide
    case "visionProjected": projectedLength
    default: nil
    }
  }
}
