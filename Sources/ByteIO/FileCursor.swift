/// A bounded reader of little-endian fields that walks forward through a file.
///
/// Holds one window of the file, so a header of any length is read in constant memory. Every count
/// is compared with the bytes that are left before anything is allocated.
public struct FileCursor: Sendable {
  public let file: PositionalFile
  /// Absolute position of the next byte.
  public private(set) var offset: UInt64
  /// First byte that may not be read.
  public let end: UInt64

  private var window: [UInt8] = []
  private var windowOffset: UInt64 = 0
  private let windowByteCount: Int

  public init(
    _ file: PositionalFile, from offset: UInt64 = 0, to end: UInt64? = nil,
    windowByteCount: Int = 1 << 18
  ) {
    self.file = file
    self.offset = offset
    self.end = min(end ?? file.byteCount, file.byteCount)
    self.windowByteCount = windowByteCount
  }

  public var bytesLeft: UInt64 { end > offset ? end - offset : 0 }

  /// Throws unless `count` more bytes exist.
  public func require(_ count: UInt64, _ field: String) throws(FormatError) {
    guard count <= bytesLeft else {
      throw FormatError(
        file: file.path, fileOffset: offset, field: field,
        reason: .truncated(needed: count, available: bytesLeft))
    }
  }

  public mutating func readInteger<T: FixedWidthInteger>(
    _ field: String, as type: T.Type = T.self
  ) throws(FormatError) -> T {
    let size = MemoryLayout<T>.size
    let start = try fill(size, field)
    let value = window.withUnsafeBytes {
      $0.loadUnaligned(fromByteOffset: start, as: T.self)
    }
    offset += UInt64(size)
    return T(littleEndian: value)
  }

  public mutating func readFloat32(_ field: String) throws(FormatError) -> Float {
    Float(bitPattern: try readInteger(field, as: UInt32.self))
  }

  public mutating func readFloat64(_ field: String) throws(FormatError) -> Double {
    Double(bitPattern: try readInteger(field, as: UInt64.self))
  }

  /// Appends the next `count` bytes to `bytes`.
  public mutating func readBytes(
    _ count: UInt64, _ field: String, appendingTo bytes: inout [UInt8]
  ) throws(FormatError) {
    try require(count, field)
    if count <= UInt64(windowByteCount) {
      let start = try fill(Int(count), field)
      bytes.append(contentsOf: window[start..<start + Int(count)])
      offset += count
      return
    }
    bytes.append(contentsOf: try file.read(at: offset, count: Int(count), field: field))
    offset += count
  }

  public mutating func readBytes(_ count: UInt64, _ field: String) throws(FormatError) -> [UInt8] {
    var bytes: [UInt8] = []
    try readBytes(count, field, appendingTo: &bytes)
    return bytes
  }

  /// Reads up to the next line feed, which is passed over.
  ///
  /// - Returns: `nil`, with nothing read, when there is none behind at most `limit` bytes.
  package mutating func readLine(limit: Int, _ field: String) throws(FormatError) -> [UInt8]? {
    let available = Int(min(bytesLeft, UInt64(limit) + 1))
    let start = try fill(available, field)
    let line = window[start..<(start + available)].prefix { $0 != UInt8(ascii: "\n") }
    guard line.count < available else { return nil }
    offset += UInt64(line.count) + 1
    return Array(line)
  }

  public mutating func skip(_ count: UInt64, _ field: String) throws(FormatError) {
    try require(count, field)
    offset += count
  }

  /// An error about `field` at the current position, or at `at`.
  public func error(
    _ field: String, _ reason: FormatError.Reason, at: UInt64? = nil, advice: String? = nil
  ) -> FormatError {
    FormatError(
      file: file.path, fileOffset: at ?? offset, field: field, reason: reason, advice: advice)
  }

  /// Makes `count` bytes from `offset` available; returns their position in the window.
  private mutating func fill(_ count: Int, _ field: String) throws(FormatError) -> Int {
    try require(UInt64(count), field)
    if offset >= windowOffset {
      let start = offset - windowOffset
      if start <= UInt64(window.count), UInt64(window.count) - start >= UInt64(count) {
        return Int(start)
      }
    }
    let wanted = min(bytesLeft, UInt64(max(windowByteCount, count)))
    window = try file.read(at: offset, count: Int(wanted), field: field)
    windowOffset = offset
    return 0
  }
}
