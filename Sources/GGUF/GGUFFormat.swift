import Tensors

/// Constants of the GGUF container.
///
///     magic | version | tensor count | key count | keys | tensor infos | padding | tensor data
///
/// Source: formats/gguf.md, which also draws every structure.
package enum GGUFFormat {
  /// The first four bytes.
  package static let magic: [UInt8] = Array("GGUF".utf8)
  package static let writtenVersion: UInt32 = 3
  package static let readVersions: ClosedRange<UInt32> = 2...3
  package static let defaultAlignment = 32
  /// Padding is made in memory; the largest alignment in use is 4096.
  package static let maximumAlignment = 1 << 20
  package static let maximumKeyCount = 65_536
  package static let maximumTensorCount = 1_048_576
  package static let maximumDimensionCount = 4
  /// The loader keeps a name in 64 bytes with a terminator.
  package static let maximumTensorNameByteCount = 63
  package static let maximumKeyByteCount = 65_535
  /// Arrays may hold arrays; this many levels are read.
  package static let maximumArrayDepth = 4
  /// Keys and tensor infos together; real headers stay under 50 MB.
  package static let maximumHeaderByteCount: UInt64 = 256 << 20

  /// Smallest encoding of a key: length, one byte, value type, one byte of value.
  static let minimumKeyByteCount: UInt64 = 8 + 1 + 4 + 1
  /// Smallest encoding of a tensor info: length, one byte, dimension count, type, offset.
  static let minimumTensorInfoByteCount: UInt64 = 8 + 1 + 4 + 4 + 8

  /// Keys that the container itself gives a meaning.
  package enum Key {
    package static let alignment = "general.alignment"
    /// Number of this part from 0, uint16.
    package static let splitNumber = "split.no"
    /// Number of parts, uint16.
    package static let splitCount = "split.count"
    /// Number of tensors in all parts together, int32.
    package static let splitTensorCount = "split.tensors.count"
    package static let allSplitKeys = [splitNumber, splitCount, splitTensorCount]
  }
}

/// Type of a value in the key-value section: its number in the file.
package enum GGUFValueType: UInt32, CaseIterable, Sendable {
  case uint8 = 0
  case int8 = 1
  case uint16 = 2
  case int16 = 3
  case uint32 = 4
  case int32 = 5
  case float32 = 6
  case bool = 7
  case string = 8
  case array = 9
  case uint64 = 10
  case int64 = 11
  case float64 = 12

  /// Bytes of a value; `nil` where a length is part of the value.
  package var byteCount: Int? {
    switch self {
    case .uint8, .int8, .bool: 1
    case .uint16, .int16: 2
    case .uint32, .int32, .float32: 4
    case .uint64, .int64, .float64: 8
    case .string, .array: nil
    }
  }

  /// Smallest encoding of one value: a string has its length, an array its element type and count.
  var minimumByteCount: Int { byteCount ?? (self == .string ? 8 : 12) }
}

extension MetadataValue {
  package var ggufType: GGUFValueType {
    switch self {
    case .uint8: .uint8
    case .int8: .int8
    case .uint16: .uint16
    case .int16: .int16
    case .uint32: .uint32
    case .int32: .int32
    case .uint64: .uint64
    case .int64: .int64
    case .float32: .float32
    case .float64: .float64
    case .bool: .bool
    case .string: .string
    case .array: .array
    }
  }
}

extension MetadataArray {
  package var ggufElementType: GGUFValueType {
    switch self {
    case .uint8: .uint8
    case .int8: .int8
    case .uint16: .uint16
    case .int16: .int16
    case .uint32: .uint32
    case .int32: .int32
    case .uint64: .uint64
    case .int64: .int64
    case .float32: .float32
    case .float64: .float64
    case .bool: .bool
    case .string: .string
    case .array: .array
    }
  }
}

/// Smallest multiple of `alignment`, a power of two, from `offset` on; `nil` on overflow.
func aligned(_ offset: UInt64, to alignment: Int) -> UInt64? {
  let mask = UInt64(alignment) - 1
  let (sum, overflow) = offset.addingReportingOverflow(mask)
  return overflow ? nil : sum & ~mask
}
