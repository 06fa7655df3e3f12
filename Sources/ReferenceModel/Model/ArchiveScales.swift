import ByteIO
import GGUF
import Tensors

/// Scales that stand beside matrices of an archive: `X.scale` multiplies `X.weight`, and
/// `X.input_scale` is for programs that quantize activations.
struct ArchiveScales {
  /// By the name of the matrix.
  private(set) var values: [ExactString: Float] = [:]
  /// Of all tensors that are such scales.
  private(set) var names: Set<ExactString> = []

  private static let suffix = ".scale"
  private static let inputSuffix = ".input_scale"

  /// - Throws: `FormatError` for a scale that is no finite number.
  init(_ archive: GGUFFile, _ roles: [WeightRole: String]) throws(FormatError) {
    let matrices = Set(roles.filter { $0.key.hasScale }.values)
    for tensor in archive.tensors {
      let name = tensor.name.string
      guard let suffix = [Self.inputSuffix, Self.suffix].first(where: { name.hasSuffix($0) })
      else { continue }
      let matrix = name.dropLast(suffix.count) + ".weight"
      guard matrices.contains(String(matrix)) else { continue }
      let value = try Self.read(tensor, of: archive)
      names.insert(tensor.name)
      if suffix == Self.suffix { values[ExactString(String(matrix))] = value }
    }
  }

  private static func read(
    _ tensor: TensorDescriptor, of archive: GGUFFile
  ) throws(FormatError) -> Float {
    var value: Float = .nan
    if tensor.shape == Shape([1]), tensor.type == .f32 {
      var bytes: [UInt8] = [0, 0, 0, 0]
      var failure: FormatError?
      bytes.withUnsafeMutableBytes {
        do throws(FormatError) { try archive.read(tensor, at: 0, into: $0) } catch {
          failure = error
        }
      }
      if let failure { throw failure }
      value = Float(
        bitPattern: UInt32(
          littleEndian: bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) }))
    }
    guard value.isFinite else {
      throw FormatError(
        file: archive.files[tensor.regions[0].file], field: "tensor \(tensor.name)",
        reason: .outOfRange(
          found: tensor.type == .f32 && tensor.elementCount == 1
            ? "\(value)" : "\(tensor.type) \(tensor.shape)",
          allowed: "F32 [1], a finite number"))
    }
    return value
  }
}

extension WeightRole {
  /// Whether programs look for a scale beside it.
  fileprivate var hasScale: Bool {
    switch self {
    case .tokenEmbedding, .outputNorm: false
    case .output: true
    case .layer(_, let weight):
      !weight.isBias && weight != .attentionNorm && weight != .feedForwardNorm
    }
  }
}
