import ByteIO
import StrictJSON

/// Llama 3.2 Vision: layers that attend to a picture stand among those of a Llama 3.1. Without a
/// picture the framework passes them by, so the others make up a model of their own.
///
/// Source: formats/architectures/README.md, section "Llama 3.2 Vision".
extension ModelConfiguration {
  /// Rows of the embedding behind the vocabulary's: for the token that stands for a picture.
  package static let pictureTokenCount = 8

  /// Layers with cross-attention where the configuration does not say.
  private static let usualCrossAttentionLayers = [3, 8, 13, 18, 23, 28, 33, 38]

  static func crossAttentionLayers(
    _ root: ConfigurationReader, of layerCount: Int
  ) throws(FormatError) -> [Int] {
    let name = "cross_attention_layers"
    var layers = usualCrossAttentionLayers
    if let stated = root[name] {
      let numbers = stated.array?.map { $0.int ?? -1 }
      guard let numbers, numbers.allSatisfy({ $0 >= 0 }), Set(numbers).count == numbers.count else {
        throw root.error(
          name, .outOfRange(found: "another value", allowed: "a list of layers, each once"))
      }
      layers = numbers.sorted()
    }
    // The framework passes over numbers that no layer has: its default list is for 40 layers.
    layers.removeAll { $0 >= layerCount }
    guard layers.count < layerCount else {
      throw root.error(name, .inconsistent("has all \(layerCount) layers: none attends to text"))
    }
    return layers
  }

  /// Layers of the checkpoint, whatever they attend to.
  package var sourceLayerCount: Int { layerCount + crossAttentionLayers.count }

  /// The checkpoint's numbers of the archive's layers.
  package var sourceLayers: [Int] {
    let left = Set(crossAttentionLayers)
    return (0..<sourceLayerCount).filter { !left.contains($0) }
  }

  /// What the archive lacks that the checkpoint has; `nil` where there is nothing.
  var crossAttentionNote: String? {
    guard !crossAttentionLayers.isEmpty else { return nil }
    let layers = crossAttentionLayers.map(String.init).joined(separator: ", ")
    return "left out: the layers that attend to a picture (\(layers)) and the embedding of the "
      + "picture's token; without a picture the model does not use them, so this is the whole of "
      + "its text model: \(layerCount) layers, numbered from 0 without gaps"
  }
}
