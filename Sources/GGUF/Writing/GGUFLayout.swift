import ByteIO
import Tensors

/// A tensor as it is going to be written.
package struct GGUFTensorInfo: Hashable, Sendable {
  package var name: ExactString
  package var shape: Shape
  package var type: TensorType

  package init(name: ExactString, shape: Shape, type: TensorType) {
    self.name = name
    self.shape = shape
    self.type = type
  }

  package init(_ tensor: TensorDescriptor) {
    self.init(name: tensor.name, shape: tensor.shape, type: tensor.type)
  }

  /// Without padding; `nil` when rows are not whole blocks or the product overflows.
  package var byteCount: Int? {
    guard shape.columnCount % type.weightsPerBlock == 0 else { return nil }
    return shape.checkedElementCount.flatMap { type.byteCount(weightCount: $0) }
  }

  /// The contiguous dimension first, without the ones at the end: ggml keeps no rank.
  package var writtenDimensions: [Int] {
    var dimensions = shape.ggufDimensions
    while dimensions.count > 1, dimensions.last == 1 { dimensions.removeLast() }
    return dimensions.isEmpty ? [1] : dimensions
  }
}

/// Every byte of a GGUF file but the tensors' own, and where those go.
///
/// Made from metadata and tensor infos alone, before anything is written. The bytes are those that
/// `llama-quantize` writes for the same content: version 3, tensors in the given order, each padded
/// with zeros to the alignment, the last one too.
///
///     0                  dataOffset                              fileByteCount
///     | header | zeros   | tensor 0 | zeros | tensor 1 | … | zeros |
package struct GGUFLayout: Sendable {
  /// From the start of the file to the tensor data, padding included.
  package let headerBytes: [UInt8]
  /// A power of two.
  package let alignment: Int
  /// Absolute position of each tensor, in the order given.
  package let tensorOffsets: [UInt64]
  package let fileByteCount: UInt64

  /// Absolute position of the tensor data.
  package var dataOffset: UInt64 { UInt64(headerBytes.count) }

  /// Lays out a file.
  ///
  /// - Parameters:
  ///   - metadata: in the order in which it is written; `general.alignment` in it is honoured.
  ///   - tensors: in the order in which they lie in the file.
  ///   - file: named in errors.
  /// - Throws: when the content cannot be written so that it loads again: a name that is too long
  ///   or not unique, a type that GGUF does not have, more than 4 dimensions, rows of partial
  ///   blocks, an alignment or a count beyond the limits of the page.
  package init(metadata: Metadata, tensors: [GGUFTensorInfo], file: String = "output")
    throws(FormatError)
  {
    alignment = try GGUFHeader.alignment(metadata, file: file)
    try GGUFHeader.checkCounts(
      keys: UInt64(metadata.count), tensors: UInt64(tensors.count), file: file)
    var offsets: [UInt64] = []
    offsets.reserveCapacity(tensors.count)
    var dataByteCount: UInt64 = 0
    for tensor in tensors {
      offsets.append(dataByteCount)
      dataByteCount = try Self.end(of: tensor, from: dataByteCount, alignment, file)
    }
    var encoder = GGUFEncoder(
      byteCount: GGUFEncoder.headerByteCount(metadata, tensors) + alignment)
    try encoder.appendHeader(metadata, tensors, offsets: offsets, file: file)
    encoder.pad(to: alignment)
    headerBytes = encoder.bytes
    let start = UInt64(headerBytes.count)
    let (end, overflow) = start.addingReportingOverflow(dataByteCount)
    guard !overflow, end <= Int64.max else { throw Self.tooLarge(file) }
    tensorOffsets = offsets.map { $0 + start }
    fileByteCount = end
  }

  private static func end(
    of tensor: GGUFTensorInfo, from start: UInt64, _ alignment: Int, _ file: String
  ) throws(FormatError) -> UInt64 {
    guard let byteCount = tensor.byteCount else {
      throw FormatError(
        file: file, field: "gguf.tensor[\(tensor.name)].dims",
        reason: .outOfRange(
          found: "shape \(tensor.shape) in \(tensor.type)",
          allowed: "rows of whole blocks of \(tensor.type.weightsPerBlock) weights"))
    }
    let (end, overflow) = start.addingReportingOverflow(UInt64(byteCount))
    guard !overflow, let padded = aligned(end, to: alignment) else { throw tooLarge(file) }
    return padded
  }

  private static func tooLarge(_ file: String) -> FormatError {
    FormatError(
      file: file, field: "gguf.data",
      reason: .outOfRange(found: "more than \(Int64.max) bytes", allowed: "\(Int64.max) bytes"))
  }
}
