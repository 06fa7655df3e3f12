import ByteIO

/// A typed value of an archive's key-value section.
public enum MetadataValue: Hashable, Sendable {
  case uint8(UInt8), int8(Int8), uint16(UInt16), int16(Int16)
  case uint32(UInt32), int32(Int32), uint64(UInt64), int64(Int64)
  case float32(Float), float64(Double)
  case bool(Bool)
  case string(String)
  case array(MetadataArray)
}

/// An array of one element type, held compactly: tokenizers have hundreds of thousands.
public enum MetadataArray: Hashable, Sendable {
  case uint8([UInt8]), int8([Int8]), uint16([UInt16]), int16([Int16])
  case uint32([UInt32]), int32([Int32]), uint64([UInt64]), int64([Int64])
  case float32([Float]), float64([Double])
  case bool([Bool])
  case string(StringTable)
  case array([MetadataArray])

  public var count: Int {
    switch self {
    case .uint8(let a): a.count
    case .int8(let a): a.count
    case .uint16(let a): a.count
    case .int16(let a): a.count
    case .uint32(let a): a.count
    case .int32(let a): a.count
    case .uint64(let a): a.count
    case .int64(let a): a.count
    case .float32(let a): a.count
    case .float64(let a): a.count
    case .bool(let a): a.count
    case .string(let a): a.count
    case .array(let a): a.count
    }
  }
}

/// Many byte strings in one allocation.
///
/// Not necessarily UTF-8: old files hold raw bytes.
public struct StringTable: Hashable, Sendable, RandomAccessCollection {
  public private(set) var bytes: [UInt8] = []
  /// End of string `i` in `bytes`; it starts where the one before ends.
  private var ends: [Int] = []

  public init() {}

  public init(_ strings: some Sequence<String>) {
    for string in strings { append(string.utf8) }
  }

  public mutating func reserveCapacity(stringCount: Int, byteCount: Int) {
    bytes.reserveCapacity(byteCount)
    ends.reserveCapacity(stringCount)
  }

  public mutating func append(_ string: some Sequence<UInt8>) {
    bytes.append(contentsOf: string)
    ends.append(bytes.count)
  }

  /// Appends the string that `body` appends to the shared bytes.
  public mutating func append<E: Error>(by body: (inout [UInt8]) throws(E) -> Void) throws(E) {
    let start = bytes.count
    do {
      try body(&bytes)
    } catch {
      bytes.removeSubrange(start...)
      throw error
    }
    precondition(bytes.count >= start)
    ends.append(bytes.count)
  }

  public var startIndex: Int { 0 }
  public var endIndex: Int { ends.count }
  public subscript(index: Int) -> ArraySlice<UInt8> {
    bytes[(index == 0 ? 0 : ends[index - 1])..<ends[index]]
  }

  /// String `index` as text; invalid UTF-8 is replaced.
  public func text(_ index: Int) -> String { String(decoding: self[index], as: UTF8.self) }
}

/// Key-value pairs in the order in which they are written; keys are unique.
public struct Metadata: Hashable, Sendable {
  public private(set) var keys: [ExactString] = []
  private var values: [ExactString: MetadataValue] = [:]

  public init() {}

  public var count: Int { keys.count }

  /// Setting keeps the position of a key that exists and appends a new one; `nil` removes.
  public subscript(key: ExactString) -> MetadataValue? {
    get { values[key] }
    set {
      if let newValue {
        if values.updateValue(newValue, forKey: key) == nil { keys.append(key) }
      } else if values.removeValue(forKey: key) != nil {
        keys.removeAll { $0 == key }
      }
    }
  }

  public subscript(key: String) -> MetadataValue? {
    get { self[ExactString(key)] }
    set { self[ExactString(key)] = newValue }
  }

  public var entries: some Sequence<(key: ExactString, value: MetadataValue)> {
    keys.lazy.compactMap { key in values[key].map { (key, $0) } }
  }

  /// Appends the entries of `other`; later values win, at the earlier position.
  public mutating func merge(_ other: Metadata) {
    for (key, value) in other.entries { self[key] = value }
  }
}

extension MetadataValue {
  public var string: String? { if case .string(let value) = self { value } else { nil } }
  public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  public var array: MetadataArray? { if case .array(let value) = self { value } else { nil } }

  /// An integer of any width that fits.
  public var int: Int? {
    switch self {
    case .uint8(let v): Int(v)
    case .int8(let v): Int(v)
    case .uint16(let v): Int(v)
    case .int16(let v): Int(v)
    case .uint32(let v): Int(exactly: v)
    case .int32(let v): Int(v)
    case .uint64(let v): Int(exactly: v)
    case .int64(let v): Int(exactly: v)
    default: nil
    }
  }

  /// A floating-point number of either width.
  public var double: Double? {
    switch self {
    case .float32(let v): Double(v)
    case .float64(let v): v
    default: nil
    }
  }

  public var strings: StringTable? {
    if case .array(.string(let table)) = self { table } else { nil }
  }
}
