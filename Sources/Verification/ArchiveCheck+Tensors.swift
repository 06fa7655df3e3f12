import ByteIO
import Formats
import GGUF
import Tensors

/// `formats/checks/archive-tensors.tsv`.
enum TensorTable {
  /// One expected tensor, or one for each layer.
  struct Row: Sendable {
    var architecture: String
    /// With `{L}` where the number of the layer stands.
    var pattern: String
    var models: String
    var isRequired: Bool
    /// Words of `ModelDimensions`, row-major.
    var shape: [String]

    var isPerLayer: Bool { pattern.contains("{") }

    func name(layer: Int) -> String {
      guard let open = pattern.firstIndex(of: "{"), let close = pattern.firstIndex(of: "}") else {
        return pattern
      }
      return pattern[..<open] + "\(layer)" + pattern[pattern.index(after: close)...]
    }

    func applies(to model: ModelDimensions, layer: Int) -> Bool {
      models == "all" || (models == "experts") == model.hasExperts(inLayer: layer)
    }
  }

  static let rows: [Row] = FormatTable(
    Formats.Checks.tensors, name: "checks/archive-tensors.tsv",
    columns: ["architecture", "tensor", "models", "presence", "shape"]
  ).rows.map {
    Row(
      architecture: $0["architecture"], pattern: $0["tensor"], models: $0["models"],
      isRequired: $0["presence"] == "required", shape: $0.list("shape", separator: " "))
  }

  static let architectures = Set(rows.map(\.architecture))

  /// Compares the archive's tensors with the table.
  static func check(
    _ archive: GGUFFile, _ model: ModelDimensions, architecture: String,
    _ report: inout CheckReport
  ) {
    let rows = rows.filter { $0.architecture == architecture }
    var left: [ExactString: TensorDescriptor] = [:]
    for tensor in archive.tensors { left[tensor.name] = tensor }
    for row in rows {
      for layer in 0..<(row.isPerLayer ? model.layerCount : 1)
      where row.applies(to: model, layer: layer) {
        let name = row.name(layer: layer)
        if let tensor = left.removeValue(forKey: ExactString(name)) {
          check(tensor, row, model, layer: layer, archive, &report)
        } else if row.isRequired {
          let shape = expectedShape(row, model, layer: layer).map { "shape \($0)" }
          report.error(name, "tensor is missing", allowed: shape)
        }
      }
    }
    let patterns = Set(rows.map(\.pattern))
    for tensor in archive.tensors where left[tensor.name] != nil {
      checkUnexpected(tensor, patterns, model, archive, &report)
    }
  }

  private static func expectedShape(_ row: Row, _ model: ModelDimensions, layer: Int) -> Shape? {
    let dimensions = row.shape.compactMap { model($0, layer: layer) }
    return dimensions.count == row.shape.count ? Shape(dimensions) : nil
  }

  private static func check(
    _ tensor: TensorDescriptor, _ row: Row, _ model: ModelDimensions, layer: Int,
    _ archive: GGUFFile, _ report: inout CheckReport
  ) {
    guard let expected = expectedShape(row, model, layer: layer) else { return }
    let found = GGUFTensorInfo(tensor).writtenDimensions
    let allowed = GGUFTensorInfo(name: tensor.name, shape: expected, type: .f32).writtenDimensions
    guard found != allowed else { return }
    report.error(
      tensor.name.string, "has the shape \(tensor.shape)", allowed: "\(expected)",
      file: archive.files[tensor.regions[0].file], fileOffset: tensor.regions[0].fileOffset)
  }

  private static func checkUnexpected(
    _ tensor: TensorDescriptor, _ patterns: Set<String>, _ model: ModelDimensions,
    _ archive: GGUFFile, _ report: inout CheckReport
  ) {
    let name = tensor.name.string
    let (pattern, layer) = generalize(name)
    guard patterns.contains(pattern) else {
      report.warning(name, "is no tensor of this architecture; llama.cpp may refuse the archive")
      return
    }
    let isBeyond = layer.map { $0 >= model.layerCount } ?? false
    let hasExperts = model.hasExperts(inLayer: layer ?? 0)
    report.error(
      name,
      isBeyond
        ? "belongs to a layer that does not exist"
        : "belongs to layers \(hasExperts ? "without" : "with") experts",
      allowed: isBeyond ? "layers 0 to \(model.layerCount - 1)" : nil,
      file: archive.files[tensor.regions[0].file], fileOffset: tensor.regions[0].fileOffset)
  }

  /// The pattern that a name would match, and its layer.
  private static func generalize(_ name: String) -> (pattern: String, layer: Int?) {
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count > 2, parts[0] == "blk", let layer = Int(parts[1]), "\(layer)" == parts[1]
    else { return (name, nil) }
    return ((["blk", "{L}"] + parts[2...]).joined(separator: "."), layer)
  }
}
