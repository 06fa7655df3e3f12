import ByteIO
import Tensors

/// One weight of a quantized release: what it looks like outside, and how to decode a piece of it.
protocol QuantizedWeight: Sendable {
  /// Plain name, logical shape and delivered type; the regions are those of the codes.
  var logical: TensorDescriptor { get }
  /// For the note to the user, for example `FP8 E4M3, blocks of 128×128`.
  var summary: String { get }
  /// The tensor whose bytes hold the codes.
  var codes: TensorDescriptor { get }
  /// Bytes that decoding takes beside the tile and its codes.
  var scratchByteCount: Int { get }

  /// Decodes whole rows, or a part of one row.
  ///
  /// - Parameters:
  ///   - rows: of the logical tensor, all leading dimensions counted together.
  ///   - columns: all of them unless `rows` is one row.
  ///   - source: where the codes and their scales lie.
  ///   - scratch: memory that may be used.
  ///   - weights: `rows × columns` values, row-major, in F32 before the last rounding.
  /// - Throws: what the source throws, and `FormatError` for contents that contradict the shapes.
  func decode(
    rows: Range<Int>, columns: Range<Int>, from source: any TensorSource,
    _ scratch: inout DecodeScratch, into weights: UnsafeMutablePointer<Float>
  ) throws(FormatError)
}

extension QuantizedWeight {
  var scratchByteCount: Int { 0 }
}

/// Rows of columns: the shapes of a weight and of everything that lies beside it.
struct MatrixShape: Hashable, Sendable {
  /// Product of the leading dimensions; 1 for a matrix.
  var matrixCount: Int
  /// Rows of one matrix.
  var rowCount: Int
  var columnCount: Int

  /// `nil` for a vector or scalar.
  init?(_ shape: Shape) {
    guard shape.rank >= 2, let elementCount = shape.checkedElementCount else { return nil }
    rowCount = shape.dimensions[shape.rank - 2]
    columnCount = shape.columnCount
    matrixCount = elementCount == 0 ? 0 : elementCount / (rowCount * columnCount)
  }
}

extension TensorSource {
  /// An error about a tensor, at its place in its file.
  func error(
    _ tensor: TensorDescriptor, _ reason: FormatError.Reason, advice: String? = nil
  ) -> FormatError {
    let region = tensor.regions.first
    return FormatError(
      file: region.map { files[$0.file] } ?? "", fileOffset: region?.fileOffset,
      field: printable(tensor.name.string, limit: 120), reason: reason, advice: advice)
  }

  /// Reads all of a tensor that has at most `limit` bytes.
  func readSmall(_ tensor: TensorDescriptor, limit: Int) throws(FormatError) -> [UInt8] {
    guard tensor.byteCount <= limit else {
      throw error(
        tensor,
        .outOfRange(found: "\(tensor.byteCount) bytes", allowed: "at most \(limit) bytes"))
    }
    var failure: FormatError?
    let bytes = [UInt8](unsafeUninitializedCapacity: tensor.byteCount) { buffer, count in
      do throws(FormatError) {
        try read(
          tensor, at: 0,
          into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: tensor.byteCount))
        count = tensor.byteCount
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return bytes
  }

  /// Reads the one number of a tensor of one element.
  func readScalar(_ tensor: TensorDescriptor) throws(FormatError) -> Float {
    guard tensor.elementCount == 1, ScaleGrid.types.contains(tensor.type) else {
      throw error(
        tensor,
        .outOfRange(found: "\(tensor.type) \(tensor.shape)", allowed: "one floating-point number"))
    }
    let bytes = try readSmall(tensor, limit: 8)
    var value: Float = 0
    bytes.withUnsafeBytes { bytes in
      withUnsafeMutablePointer(to: &value) { tensor.type.loadScales(bytes, count: 1, into: $0) }
    }
    return value
  }
}
