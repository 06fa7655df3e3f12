import ByteIO
import Tensors

/// Writes a GGUF header into memory.
struct GGUFEncoder {
  private(set) var bytes: [UInt8] = []

  /// - Parameter byteCount: reserved at once, so that a large tokenizer is held once.
  init(byteCount: Int) { bytes.reserveCapacity(byteCount) }

  /// Appends everything up to the padding before the tensor data.
  ///
  /// - Parameters:
  ///   - metadata: in order.
  ///   - tensors: in order.
  ///   - offsets: of the tensors, from the start of the tensor data.
  ///   - file: named in errors.
  /// - Throws: for names, types and shapes that a reader would refuse.
  mutating func appendHeader(
    _ metadata: Metadata, _ tensors: [GGUFTensorInfo], offsets: [UInt64], file: String
  ) throws(FormatError) {
    bytes.append(contentsOf: GGUFFormat.magic)
    append(GGUFFormat.writtenVersion)
    append(UInt64(tensors.count))
    append(UInt64(metadata.count))
    for (key, value) in metadata.entries {
      try Self.checkName(key, limit: GGUFFormat.maximumKeyByteCount, "gguf.kv", file)
      append(string: key.utf8)
      append(value)
    }
    var names: Set<ExactString> = []
    for (tensor, offset) in zip(tensors, offsets) {
      let field = "gguf.tensor[\(tensor.name)]"
      try Self.checkName(tensor.name, limit: GGUFFormat.maximumTensorNameByteCount, field, file)
      guard names.insert(tensor.name).inserted else {
        throw FormatError(file: file, field: field, reason: .duplicate("tensor name"))
      }
      try append(tensor, offset: offset, field, file)
    }
  }

  mutating func pad(to alignment: Int) {
    let rest = bytes.count % alignment
    if rest > 0 { bytes.append(contentsOf: repeatElement(0, count: alignment - rest)) }
  }

  private mutating func append(
    _ tensor: GGUFTensorInfo, offset: UInt64, _ field: String, _ file: String
  ) throws(FormatError) {
    let dimensions = tensor.writtenDimensions
    guard dimensions.count <= GGUFFormat.maximumDimensionCount else {
      throw FormatError(
        file: file, field: field + ".n_dims",
        reason: .outOfRange(
          found: "\(dimensions.count)", allowed: "at most \(GGUFFormat.maximumDimensionCount)"))
    }
    guard let type = tensor.type.ggmlID else {
      throw FormatError(
        file: file, field: field + ".type",
        reason: .unsupported(
          found: tensor.type.name, allowed: "the tensor types of GGUF"))
    }
    append(string: tensor.name.utf8)
    append(UInt32(dimensions.count))
    for dimension in dimensions { append(UInt64(dimension)) }
    append(type)
    append(offset)
  }

  private mutating func append(_ value: MetadataValue) {
    append(value.ggufType.rawValue)
    switch value {
    case .uint8(let v): append(v)
    case .int8(let v): append(v)
    case .uint16(let v): append(v)
    case .int16(let v): append(v)
    case .uint32(let v): append(v)
    case .int32(let v): append(v)
    case .uint64(let v): append(v)
    case .int64(let v): append(v)
    case .float32(let v): append(v.bitPattern)
    case .float64(let v): append(v.bitPattern)
    case .bool(let v): append(UInt8(v ? 1 : 0))
    case .string(let v): append(string: v.utf8)
    case .array(let v): append(v)
    }
  }

  private mutating func append(_ array: MetadataArray) {
    append(array.ggufElementType.rawValue)
    append(UInt64(array.count))
    switch array {
    case .uint8(let a): bytes.append(contentsOf: a)
    case .int8(let a): for v in a { append(v) }
    case .uint16(let a): for v in a { append(v) }
    case .int16(let a): for v in a { append(v) }
    case .uint32(let a): for v in a { append(v) }
    case .int32(let a): for v in a { append(v) }
    case .uint64(let a): for v in a { append(v) }
    case .int64(let a): for v in a { append(v) }
    case .float32(let a): for v in a { append(v.bitPattern) }
    case .float64(let a): for v in a { append(v.bitPattern) }
    case .bool(let a): for v in a { append(UInt8(v ? 1 : 0)) }
    case .string(let a): for v in a { append(string: v) }
    case .array(let a): for v in a { append(v) }
    }
  }

  private mutating func append(_ value: some FixedWidthInteger) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  private mutating func append(string: some Collection<UInt8>) {
    append(UInt64(string.count))
    bytes.append(contentsOf: string)
  }

  private static func checkName(_ name: ExactString, limit: Int, _ field: String, _ file: String)
    throws(FormatError)
  {
    let byteCount = name.utf8.count
    guard byteCount > 0, byteCount <= limit, !name.utf8.contains(0) else {
      throw FormatError(
        file: file, field: field,
        reason: .outOfRange(
          found: "a name of \(byteCount) bytes",
          allowed: "1 to \(limit) bytes, none of them zero"))
    }
  }
}

extension GGUFEncoder {
  /// Bytes of the header without padding.
  static func headerByteCount(_ metadata: Metadata, _ tensors: [GGUFTensorInfo]) -> Int {
    var count = 4 + 4 + 8 + 8
    for (key, value) in metadata.entries { count += 8 + key.utf8.count + 4 + byteCount(value) }
    for tensor in tensors {
      count += 8 + tensor.name.utf8.count + 4 + 8 * tensor.writtenDimensions.count + 4 + 8
    }
    return count
  }

  private static func byteCount(_ value: MetadataValue) -> Int {
    switch value {
    case .string(let text): 8 + text.utf8.count
    case .array(let array): byteCount(array)
    default: value.ggufType.byteCount ?? 0
    }
  }

  private static func byteCount(_ array: MetadataArray) -> Int {
    let prefix = 4 + 8
    return switch array {
    case .string(let table): prefix + 8 * table.count + table.bytes.count
    case .array(let arrays): arrays.reduce(prefix) { $0 + byteCount($1) }
    default: prefix + array.count * (array.ggufElementType.byteCount ?? 0)
    }
  }
}
