import ByteIO
import ForwardRuns
import Planning
import Tensors

extension OpenedModel {
  /// What reports say about it.
  var side: VerificationResult.Side {
    let tensors = model.source.tensors
    let byteCount = tensors.reduce(0) { $0 + UInt64($1.byteCount) }
    let weightCount = tensors.reduce(0) { $0 + UInt64($1.elementCount) }
    let recipe = metadata?["ingot.recipe"]?.string.map { printable($0, limit: 40) }
    let mix = StockMix.all.first { $0.fileType == fileType }?.name
    return VerificationResult.Side(
      path: path, kind: metadata == nil ? .checkpoint : .archive,
      byteCount: model.source.fileByteCounts.reduce(0, +), weightCount: weightCount,
      bitsPerWeight: weightCount == 0 ? 0 : Double(byteCount) * 8 / Double(weightCount),
      type: recipe ?? mix ?? Self.commonType(tensors))
  }

  private static func commonType(_ tensors: [TensorDescriptor]) -> String {
    var bytes: [TensorType: Int] = [:]
    for tensor in tensors { bytes[tensor.type, default: 0] += tensor.byteCount }
    return bytes.max { ($0.value, $0.key.name) < ($1.value, $1.key.name) }?.key.name ?? ""
  }
}
