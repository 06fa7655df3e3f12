import ByteIO
import Tensors

extension GGUFHeader {
  /// A tensor info as read: plausible in itself, not yet compared with the file.
  struct TensorInfo {
    var name: ExactString
    var shape: Shape
    var type: TensorType
    var byteCount: Int
    /// From the start of the tensor data.
    var dataOffset: UInt64
    /// Position of the info itself, for errors.
    var infoOffset: UInt64
  }

  /// Reads the tensor infos.
  ///
  ///     bytes  field
  ///         8  name length, 1...63
  ///         …  name, UTF-8
  ///         4  dimension count, 0...4
  ///      8·n   dimensions, the contiguous one first
  ///         4  tensor type
  ///         8  offset from the start of the tensor data
  static func readTensorInfos(count: UInt64, _ cursor: inout FileCursor) throws(FormatError)
    -> [TensorInfo]
  {
    try requireRoom(
      for: count, of: GGUFFormat.minimumTensorInfoByteCount, "gguf.tensor_count", cursor)
    var infos: [TensorInfo] = []
    var names: Set<ExactString> = []
    for index in 0..<count {
      let start = cursor.offset
      let name = try readName(
        "gguf.tensor[\(index)].name", limit: GGUFFormat.maximumTensorNameByteCount, &cursor)
      let field = "gguf.tensor[\(name)]"
      guard names.insert(name).inserted else {
        throw cursor.error(field, .duplicate("tensor name"), at: start)
      }
      let shape = try readShape(field, &cursor)
      let typeOffset = cursor.offset
      let number = try cursor.readInteger(field + ".type", as: UInt32.self)
      guard let type = TensorType(ggmlID: number) else {
        throw cursor.error(
          field + ".type",
          .unsupported(found: "type number \(number)", allowed: "the tensor types of GGUF"),
          at: typeOffset)
      }
      let byteCount = try byteCount(type, shape, field, cursor, at: typeOffset)
      let dataOffset = try cursor.readInteger(field + ".offset", as: UInt64.self)
      infos.append(
        TensorInfo(
          name: name, shape: shape, type: type, byteCount: byteCount, dataOffset: dataOffset,
          infoOffset: start))
    }
    return infos
  }

  private static func readShape(_ field: String, _ cursor: inout FileCursor) throws(FormatError)
    -> Shape
  {
    let start = cursor.offset
    let count = try cursor.readInteger(field + ".n_dims", as: UInt32.self)
    let limit = GGUFFormat.maximumDimensionCount
    guard count <= limit else {
      throw cursor.error(
        field + ".n_dims", .outOfRange(found: "\(count)", allowed: "0 to \(limit)"), at: start)
    }
    var dimensions: [Int] = []
    for _ in 0..<count {
      let value = try cursor.readInteger(field + ".dims", as: UInt64.self)
      guard let dimension = Int(exactly: value) else {
        throw cursor.error(
          field + ".dims", .outOfRange(found: "\(value)", allowed: "0 to \(Int.max)"),
          at: cursor.offset - 8)
      }
      dimensions.append(dimension)
    }
    let shape = Shape(ggufDimensions: dimensions)
    // Beside a zero, too, the others have to make sense: strides are their products.
    guard Shape(dimensions.filter { $0 > 0 }).checkedElementCount != nil else {
      throw cursor.error(
        field + ".dims",
        .outOfRange(found: "shape \(shape)", allowed: "at most \(Int.max) weights"), at: start)
    }
    return shape
  }

  private static func byteCount(
    _ type: TensorType, _ shape: Shape, _ field: String, _ cursor: FileCursor, at offset: UInt64
  ) throws(FormatError) -> Int {
    guard shape.columnCount % type.weightsPerBlock == 0 else {
      throw cursor.error(
        field + ".dims",
        .outOfRange(
          found: "rows of \(shape.columnCount) weights",
          allowed: "whole blocks of \(type.weightsPerBlock) for \(type)"), at: offset)
    }
    guard let elementCount = shape.checkedElementCount,
      let byteCount = type.byteCount(weightCount: elementCount)
    else {
      throw cursor.error(
        field + ".dims",
        .outOfRange(found: "shape \(shape) in \(type)", allowed: "at most \(Int.max) bytes"),
        at: offset)
    }
    guard UInt64(byteCount) <= cursor.file.byteCount else {
      throw cursor.error(
        field + ".dims",
        .truncated(needed: UInt64(byteCount), available: cursor.file.byteCount), at: offset)
    }
    return byteCount
  }

  /// Compares the infos with the file and with each other.
  static func place(
    _ infos: [TensorInfo], from dataOffset: UInt64, alignment: Int, in file: PositionalFile,
    fileIndex: Int
  ) throws(FormatError) -> [TensorDescriptor] {
    var descriptors: [TensorDescriptor] = []
    descriptors.reserveCapacity(infos.count)
    for info in infos {
      let field = "gguf.tensor[\(info.name)].offset"
      guard info.dataOffset % UInt64(alignment) == 0 else {
        throw FormatError(
          file: file.path, fileOffset: info.infoOffset, field: field,
          reason: .outOfRange(
            found: "\(info.dataOffset)", allowed: "a multiple of the alignment \(alignment)"))
      }
      let (start, overflow) = dataOffset.addingReportingOverflow(info.dataOffset)
      let available = start <= file.byteCount && !overflow ? file.byteCount - start : 0
      // A tensor without bytes may lie behind a last tensor that is not padded.
      let isBehind = overflow || start > aligned(file.byteCount, to: alignment) ?? .max
      guard UInt64(info.byteCount) <= available, !isBehind else {
        throw FormatError(
          file: file.path, fileOffset: info.infoOffset, field: field,
          reason: .truncated(needed: UInt64(info.byteCount), available: available),
          advice: "the file is cut off or its header is wrong")
      }
      descriptors.append(
        TensorDescriptor(
          name: info.name, shape: info.shape, type: info.type,
          regions: [.init(file: fileIndex, fileOffset: start, byteCount: info.byteCount)]))
    }
    try checkSeparate(descriptors, infos, file)
    try checkEnd(descriptors, alignment: alignment, file)
    return descriptors
  }

  /// Throws when two tensors share a byte.
  private static func checkSeparate(
    _ descriptors: [TensorDescriptor], _ infos: [TensorInfo], _ file: PositionalFile
  ) throws(FormatError) {
    let byOffset = descriptors.indices.filter { descriptors[$0].byteCount > 0 }
      .sorted { infos[$0].dataOffset < infos[$1].dataOffset }
    for (first, second) in zip(byOffset, byOffset.dropFirst()) {
      guard infos[first].dataOffset + UInt64(infos[first].byteCount) <= infos[second].dataOffset
      else {
        throw FormatError(
          file: file.path, fileOffset: infos[second].infoOffset,
          field: "gguf.tensor[\(infos[second].name)].offset",
          reason: .inconsistent("overlaps the data of \(infos[first].name)"))
      }
    }
  }

  /// Throws when the file ends inside the padding after its last tensor.
  ///
  /// Some writers do not pad after the last tensor; a file that was cut off rarely ends there.
  private static func checkEnd(
    _ descriptors: [TensorDescriptor], alignment: Int, _ file: PositionalFile
  ) throws(FormatError) {
    let end = descriptors.lazy.flatMap(\.regions).map { $0.fileOffset + UInt64($0.byteCount) }.max()
    guard let end, file.byteCount > end, let paddedEnd = aligned(end, to: alignment),
      file.byteCount < paddedEnd
    else { return }
    throw FormatError(
      file: file.path, fileOffset: end, field: "gguf.padding",
      reason: .truncated(needed: paddedEnd - end, available: file.byteCount - end),
      advice: "the file is cut off")
  }
}
