import ByteIO
import Tensors

/// Finds the weights of a quantized release and everything that lies beside them.
///
/// Each method has its own file under `Layouts/`.
struct QuantizedAssembly {
  enum Found: Sendable {
    case rows(any QuantizedWeight)
    case transposed(TransposedWeight)
  }

  let source: any TensorSource
  /// By the position of the tensor that holds the codes.
  private(set) var weights: [Int: Found] = [:]
  /// Positions of tensors that are no tensors of the model.
  private(set) var hidden: Set<Int> = []
  private var positions: [ExactString: Int] = [:]
  private var activationScaleCount = 0
  /// How many weights have each summary.
  private var summaries: [String: Int] = [:]

  init(_ source: any TensorSource) {
    self.source = source
    for (index, tensor) in source.tensors.enumerated() { positions[tensor.name] = index }
  }

  mutating func assemble(_ configuration: QuantizationConfiguration) throws(FormatError) {
    switch configuration.method {
    case .fp8(let blockSize): try assembleFP8(blockSize)
    case .compressedTensors(let schemes): try assembleCompressedTensors(schemes)
    case .gptq(let parameters): try assembleGPTQ(parameters)
    case .awq(let groupLength): try assembleAWQ(groupLength)
    case .bitsAndBytes: try assembleBitsAndBytes()
    case .mxfp4: try assembleMXFP4()
    case .modelOpt: try assembleModelOpt()
    case .metaFP8: try assembleMetaFP8()
    case .metaInt4(let quantization): try assembleMetaInt4(quantization)
    case .cacheOnly: try refuseLoneScales([".weight_scale", ".weight_scale_inv"])
    }
    guard !weights.isEmpty || configuration.allowsPlainWeights && hasPlainWeights else {
      let field = configuration.field
      throw FormatError(
        file: configuration.file, field: field,
        reason: .inconsistent(
          "says \(printable(configuration.methodName, limit: 40)), but no tensor is stored so"),
        advice: "if the weights are plain, remove "
          + (field.isEmpty ? "the file" : "\(field) from the file"))
    }
    hideActivationScales()
  }

  /// Whether every weight is of full width.
  private var hasPlainWeights: Bool {
    source.tensors.allSatisfy { tensor in
      let name = tensor.name.string
      let isWeight = [".weight", ".weight_packed", ".qweight"].contains { name.hasSuffix($0) }
      return !isWeight || [.f64, .f32, .f16, .bf16].contains(tensor.type)
    }
  }

  func notes(_ configuration: QuantizationConfiguration) -> [String] {
    let kinds = summaries.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map {
      "\($0.value) of \($0.key)"
    }
    let method = printable(configuration.methodName, limit: 40)
    var notes = [
      weights.isEmpty
        ? "weights are taken as they are: \(method) is named, but none is stored quantized"
        : "dequantized \(weights.count) tensors (\(method)): " + kinds.joined(separator: "; ")
    ]
    if activationScaleCount > 0 {
      notes.append("left out: \(activationScaleCount) scales of activations and caches")
    }
    return notes
  }

  // MARK: Finding

  /// Tensors whose names end so, with the rest of the name, in the source's order.
  func tensors(endingIn suffix: String) -> [(base: String, position: Int)] {
    source.tensors.enumerated().compactMap { position, tensor in
      let name = tensor.name.string
      return name.hasSuffix(suffix) ? (String(name.dropLast(suffix.count)), position) : nil
    }
  }

  func position(of name: String) -> Int? { positions[ExactString(name)] }

  func tensor(_ name: String) -> TensorDescriptor? {
    position(of: name).map { source.tensors[$0] }
  }

  /// - Throws: `FormatError` about `owner` when there is no such tensor.
  func required(_ name: String, by owner: TensorDescriptor) throws(FormatError)
    -> TensorDescriptor
  {
    guard let tensor = tensor(name) else {
      throw source.error(
        owner, .missing("tensor \(printable(name, limit: 120)), which belongs to it"))
    }
    return tensor
  }

  func error(
    _ tensor: TensorDescriptor, _ reason: FormatError.Reason, advice: String? = nil
  ) -> FormatError {
    source.error(tensor, reason, advice: advice)
  }

  /// Entries that a tensor of a quantized weight may have; keeps products of sizes from overflowing.
  private static let elementCounts = 1...(1 << 48)

  /// Refuses a tensor of another type or rank, an empty one, and one beyond all files.
  func check(
    _ tensor: TensorDescriptor, types: [TensorType], rank: Int? = nil
  ) throws(FormatError) {
    guard Self.elementCounts.contains(tensor.elementCount) else {
      throw error(
        tensor,
        .outOfRange(
          found: printable("shape \(tensor.shape)", limit: 80),
          allowed: "\(Self.elementCounts.lowerBound) to 2^48 entries"))
    }
    guard types.contains(tensor.type) else {
      throw error(
        tensor,
        .unsupported(
          found: "type \(tensor.type)", allowed: types.map(\.name).joined(separator: ", ")))
    }
    guard rank == nil || tensor.shape.rank == rank else {
      throw error(
        tensor,
        .outOfRange(found: "shape \(tensor.shape)", allowed: "\(rank ?? 0) dimensions"))
    }
  }

  // MARK: Adding

  mutating func hide(_ name: String) {
    if let position = position(of: name) { hidden.insert(position) }
  }

  mutating func add(
    _ weight: any QuantizedWeight, at position: Int, beside names: [String]
  ) throws(FormatError) {
    try add(.rows(weight), weight.summary, at: position, beside: names)
  }

  mutating func add(
    _ weight: TransposedWeight, at position: Int, beside names: [String]
  ) throws(FormatError) {
    try add(.transposed(weight), weight.summary, at: position, beside: names)
  }

  /// A tensor is a weight's codes or lies beside one, and once only.
  private mutating func add(
    _ weight: Found, _ summary: String, at position: Int, beside names: [String]
  ) throws(FormatError) {
    let neighbours = names.compactMap { self.position(of: $0) }
    guard weights[position] == nil, !hidden.contains(position),
      neighbours.allSatisfy({ $0 != position && weights[$0] == nil })
    else {
      throw error(source.tensors[position], .inconsistent("is quantized in two ways at once"))
    }
    weights[position] = weight
    summaries[summary, default: 0] += 1
    hidden.formUnion(neighbours)
  }

  /// Describes a weight as it looks outside.
  func logical(
    _ name: String, _ dimensions: [Int], _ type: TensorType, codes: TensorDescriptor
  ) throws(FormatError) -> TensorDescriptor {
    let shape = Shape(dimensions)
    guard let count = shape.checkedElementCount, type.byteCount(weightCount: count) != nil else {
      throw error(
        codes,
        .outOfRange(
          found: printable("\(shape)", limit: 80), allowed: "a product below 2^63 bytes"))
    }
    return TensorDescriptor(
      name: ExactString(name), shape: shape, type: type, regions: codes.regions)
  }

  /// The type that a weight is delivered in: that of its scales where they are of full width.
  static func deliveredType(scales: TensorType) -> TensorType {
    [.f32, .f16, .bf16].contains(scales) ? scales : .bf16
  }

  /// Names, behind the last dot, of what belongs to activations and caches.
  private static let activationNames: Set<String> = [
    "input_scale", "input_zero_point", "input_global_scale", "input_scale_ub", "input_g_idx",
    "output_scale", "output_zero_point", "output_global_scale",
    "activation_scale", "activation_scale_ub", "qscale_act",
    "q_scale", "k_scale", "v_scale", "kv_scale", "prob_output_scale", "attn_output_scale",
    "q_zero_point", "k_zero_point", "v_zero_point",
    "q_global_scale", "k_global_scale", "v_global_scale",
  ]

  private mutating func hideActivationScales() {
    for (position, tensor) in source.tensors.enumerated()
    where weights[position] == nil && !hidden.contains(position) {
      let name = tensor.name.string
      let last = name.split(separator: ".").last.map(String.init) ?? name
      guard Self.activationNames.contains(last) || last.hasSuffix("_activation_scale") else {
        continue
      }
      hidden.insert(position)
      activationScaleCount += 1
    }
  }
}
