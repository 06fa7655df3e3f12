import ByteIO
import StrictJSON

extension JournalHead {
  /// Fills a buffer from a position of a journal; returns how many bytes were there.
  package typealias Read = (UInt64, UnsafeMutableRawBufferPointer) throws -> Int

  /// Reads a head; nothing in it is trusted.
  ///
  /// - Returns: the head and the position of the first record.
  /// - Throws: `FormatError`: `truncated` or `malformed` where it was not written to its end.
  package static func read(_ file: LockedFile) throws -> (head: JournalHead, recordsOffset: UInt64)
  {
    try read(path: file.path, byteCount: try file.byteCount) {
      try file.read(at: $0, into: $1)
    }
  }

  /// Reads the head of a journal that another process may be writing.
  package static func read(_ file: PositionalFile) throws
    -> (head: JournalHead, recordsOffset: UInt64)
  {
    try read(path: file.path, byteCount: file.byteCount) { offset, buffer in
      let count = Int(min(UInt64(buffer.count), file.byteCount - min(offset, file.byteCount)))
      try file.read(at: offset, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]))
      return count
    }
  }

  private static func read(path: String, byteCount: UInt64, _ read: Read) throws
    -> (head: JournalHead, recordsOffset: UInt64)
  {
    func fail(_ field: String, _ reason: FormatError.Reason) -> FormatError {
      FormatError(file: path, field: "journal.\(field)", reason: reason)
    }
    func bytes(at offset: Int, count: Int) throws -> [UInt8] {
      var bytes = [UInt8](repeating: 0, count: count)
      let got = try bytes.withUnsafeMutableBytes { try read(UInt64(offset), $0) }
      return Array(bytes[..<got])
    }
    let prefix = try bytes(at: 0, count: prefixByteCount)
    guard prefix.count == prefixByteCount else {
      throw fail(
        "magic", .truncated(needed: UInt64(prefixByteCount), available: UInt64(prefix.count)))
    }
    guard Array(prefix[..<8]) == magic else { throw fail("magic", .malformed("is no journal")) }
    let known: UInt32 = prefix.littleEndian(at: 8)
    guard known == version else {
      throw fail("version", .unsupported(found: "\(known)", allowed: "\(version)"))
    }
    let count = Int(prefix.littleEndian(at: 12) as UInt32)
    guard count <= byteLimit + JournalRecord.byteCount else {
      throw fail(
        "byteCount", .outOfRange(found: "\(count)", allowed: "at most \(byteLimit)"))
    }
    guard UInt64(prefixByteCount + count) <= byteCount else {
      throw fail(
        "byteCount",
        .truncated(
          needed: UInt64(count), available: byteCount - min(byteCount, UInt64(prefixByteCount))))
    }
    let text = try bytes(at: prefixByteCount, count: count)
    guard text.count == count, XXH3.hash64(text) == prefix.littleEndian(at: 16) else {
      throw fail("hash", .malformed("the head is damaged"))
    }
    let end = prefixByteCount + count
    let step = JournalRecord.byteCount
    var reader = JournalHeadReader(JSONReader(text, file: path))
    return (try reader.read(), UInt64((end + step - 1) / step * step))
  }
}

/// Reads the JSON of a head member by member, so that no made-up one costs much more than its bytes.
private struct JournalHeadReader {
  private var json: JSONReader

  init(_ json: JSONReader) { self.json = json }

  private func fail(_ field: String, _ reason: FormatError.Reason) -> FormatError {
    FormatError(file: json.file, field: "journal.\(field)", reason: reason)
  }

  mutating func read() throws(FormatError) -> JournalHead {
    var texts: [String: [String]] = [:]
    var numbers: [String: Int] = [:]
    var outputs: [JournalHead.Output]?
    try json.beginObject("journal")
    while let key = try json.nextKey("journal") {
      switch key {
      case "run", "local", "details", "command": texts[key] = try readTexts(key)
      case "part", "partCount": numbers[key] = try json.readNumber("journal.\(key)").int
      case "outputs": outputs = try readOutputs()
      default: try json.skipValue("journal")
      }
    }
    try json.finish("journal")
    guard let run = texts["run"] else { throw fail("run", .missing("a list")) }
    guard let local = texts["local"] else { throw fail("local", .missing("a list")) }
    guard let command = texts["command"] else { throw fail("command", .missing("a list")) }
    guard let outputs, !outputs.isEmpty else { throw fail("outputs", .missing("a list")) }
    var share: WorkShare?
    if let number = numbers["part"], let count = numbers["partCount"] {
      share = WorkShare(number: number, of: count)
      guard share != nil else {
        throw fail("part", .outOfRange(found: "\(number) of \(count)", allowed: "1 of 1 on"))
      }
    }
    var total: UInt64 = 0
    for output in outputs {
      total = total.addingReportingOverflow(output.byteCount).partialValue
      // No sum of two numbers below this passes 64 bits.
      guard total <= UInt64(Int64.max) else {
        throw fail("outputs", .outOfRange(found: "more bytes", allowed: "less than 2^63"))
      }
    }
    return JournalHead(
      identity: JournalHead.Identity(run: run, local: local, details: texts["details"] ?? []),
      outputs: outputs, share: share, command: command)
  }

  private func checkCount(_ count: Int, _ field: String) throws(FormatError) {
    guard count < JournalHead.listLimit else {
      throw fail(
        field, .outOfRange(found: "more entries", allowed: "at most \(JournalHead.listLimit)"))
    }
  }

  private mutating func readTexts(_ key: String) throws(FormatError) -> [String] {
    var texts: [String] = []
    try json.beginArray("journal.\(key)")
    while try json.nextElement("journal.\(key)") {
      try checkCount(texts.count, key)
      texts.append(try json.readString("journal.\(key)"))
    }
    return texts
  }

  private mutating func readOutputs() throws(FormatError) -> [JournalHead.Output] {
    var outputs: [JournalHead.Output] = []
    try json.beginArray("journal.outputs")
    while try json.nextElement("journal.outputs") {
      try checkCount(outputs.count, "outputs")
      outputs.append(try readOutput("outputs[\(outputs.count)]"))
    }
    return outputs
  }

  private mutating func readOutput(_ field: String) throws(FormatError) -> JournalHead.Output {
    var path = ""
    var numbers: [String: Int] = [:]
    try json.beginObject("journal.\(field)")
    while let key = try json.nextKey("journal.\(field)") {
      switch key {
      case "path": path = try json.readString("journal.\(field)")
      case "bytes", "from", "to": numbers[key] = try json.readNumber("journal.\(field)").int
      default: try json.skipValue("journal.\(field)")
      }
    }
    guard !path.isEmpty, let byteCount = numbers["bytes"], let from = numbers["from"],
      let to = numbers["to"]
    else { throw fail(field, .missing("path, bytes, from and to")) }
    // It leads to a file beside the journal, or is a whole path as a user wrote it.
    guard path.hasPrefix("/") || OutputFile.name(of: path) == path && path != ".." && path != "."
    else { throw fail(field, .outOfRange(found: path, allowed: "names of files")) }
    guard byteCount > 0, 0 <= from, from <= to, to <= byteCount else {
      throw fail(
        field, .outOfRange(found: "\(from) to \(to)", allowed: "0 to \(byteCount)"))
    }
    return JournalHead.Output(
      path: path, byteCount: UInt64(byteCount), share: UInt64(from)..<UInt64(to))
  }
}
