import ByteIO
import GGUF
import Planning
import StrictJSON
import Tensors

extension ArchiveManifest {
  /// Most files of one archive: as many as a split can count.
  package static let fileLimit = Int(UInt16.max)

  /// Reads a manifest.
  ///
  /// Every member has to be there, no other may be, and what they say has to be possible: names of
  /// files without a folder, tensors inside their file, sizes that follow from types and shapes.
  ///
  /// - Throws: `FormatError`.
  package init(_ path: String) throws(FormatError) {
    try self.init(
      parsing: PositionalFile.readAll(path, limit: Self.byteLimit, field: "manifest"), file: path)
  }

  /// Reads the bytes of a manifest.
  package init(parsing bytes: [UInt8], file path: String) throws(FormatError) {
    var reader = ManifestReader(JSONReader(bytes, file: path), path: path)
    self = try reader.read()
  }
}

/// Reads the one form that `ArchiveManifest.json` writes; members may come in any order.
private struct ManifestReader {
  private var json: JSONReader
  private let path: String

  init(_ json: JSONReader, path: String) {
    self.json = json
    self.path = path
  }

  mutating func read() throws(FormatError) -> ArchiveManifest {
    var format: String?
    var version: Int?
    var files: [ArchiveManifest.File]?
    var tensors: [(ArchiveManifest.Tensor, field: String)]?
    var provenance: JSONObject?
    try json.beginObject("manifest")
    while let key = try json.nextKey("manifest") {
      switch key {
      case "format": format = try json.readString(key)
      case "version": version = try json.readNumber(key).int
      case "files": files = try readFiles()
      case "tensors": tensors = try readTensors()
      case "provenance": provenance = try readProvenance()
      default: throw unknown(key, in: "manifest")
      }
      if let format, format != ArchiveManifest.format {
        throw fail(
          "format",
          .unsupported(
            found: "\"\(printable(format, limit: 40))\"", allowed: "\"\(ArchiveManifest.format)\""))
      }
    }
    try json.finish("manifest")
    guard format != nil else { throw fail("format", .missing("\"\(ArchiveManifest.format)\"")) }
    guard version == ArchiveManifest.version else {
      throw fail(
        "version",
        .unsupported(
          found: version.map(String.init) ?? "no version", allowed: "\(ArchiveManifest.version)"))
    }
    guard let files else { throw fail("files", .missing("a list of files")) }
    guard let tensors else { throw fail("tensors", .missing("a list of tensors")) }
    guard let provenance else { throw fail("provenance", .missing("an object")) }
    try check(files)
    try check(tensors, files)
    return ArchiveManifest(files: files, tensors: tensors.map(\.0), provenance: provenance)
  }

  // MARK: Lists

  private mutating func readFiles() throws(FormatError) -> [ArchiveManifest.File] {
    var files: [ArchiveManifest.File] = []
    try json.beginArray("files")
    while try json.nextElement("files") {
      let field = "files[\(files.count)]"
      guard files.count < ArchiveManifest.fileLimit else {
        throw fail(
          field,
          .outOfRange(
            found: "more than \(files.count) files",
            allowed: "at most \(ArchiveManifest.fileLimit)"))
      }
      let members = try readMembers(
        field, texts: ["name", "sha256", "headerSHA256"], numbers: ["bytes", "headerBytes"])
      files.append(
        ArchiveManifest.File(
          name: try members.text("name"), byteCount: try members.number("bytes"),
          sha256: try members.hash("sha256"), headerByteCount: try members.number("headerBytes"),
          headerSHA256: try members.hash("headerSHA256")))
    }
    return files
  }

  private mutating func readTensors() throws(FormatError) -> [(
    ArchiveManifest.Tensor, field: String
  )] {
    var tensors: [(ArchiveManifest.Tensor, field: String)] = []
    try json.beginArray("tensors")
    while try json.nextElement("tensors") {
      let field = "tensors[\(tensors.count)]"
      guard tensors.count < GGUFFormat.maximumTensorCount else {
        throw fail(
          field,
          .outOfRange(
            found: "more than \(tensors.count) tensors",
            allowed: "at most \(GGUFFormat.maximumTensorCount)"))
      }
      let members = try readMembers(
        field, texts: ["name", "type", "sha256"], numbers: ["file", "offset", "bytes"],
        list: "shape")
      let typeName = try members.text("type")
      guard let type = TensorType(name: typeName), type.ggmlID != nil else {
        throw fail(
          field + ".type",
          .unsupported(found: "\"\(printable(typeName, limit: 40))\"", allowed: "a type of GGUF"))
      }
      tensors.append(
        (
          ArchiveManifest.Tensor(
            name: ExactString(try members.text("name")), type: type,
            shape: Shape(try members.shape()), file: Int(clamping: try members.number("file")),
            fileOffset: try members.number("offset"),
            byteCount: Int(clamping: try members.number("bytes")),
            sha256: try members.hash("sha256")), field
        ))
    }
    return tensors
  }

  /// Only keys that say where an archive comes from, and only texts, numbers and lists of them: a
  /// document may hold anything, but no more of it is kept than an archive can have.
  private mutating func readProvenance() throws(FormatError) -> JSONObject {
    var object = JSONObject()
    let start = json.position
    try json.beginObject("provenance")
    while let key = try json.nextKey("provenance") {
      let field = "provenance.\(printable(key, limit: 80))"
      guard Provenance.Key.all.contains(where: { $0 == ExactString(key) }) else {
        throw unknown(key, in: "provenance")
      }
      guard try json.peek(field) == .array else {
        object.set(key, try readScalar(field))
        try checkProvenance(from: start, entryCount: 1, field)
        continue
      }
      var items: [JSONValue] = []
      try json.beginArray(field)
      while try json.nextElement(field) {
        items.append(try readScalar(field))
        try checkProvenance(from: start, entryCount: items.count, field)
      }
      object.set(key, .array(items))
    }
    return object
  }

  private func checkProvenance(from start: Int, entryCount: Int, _ field: String)
    throws(FormatError)
  {
    let (listLimit, byteLimit) = (
      ArchiveManifest.provenanceListLimit, ArchiveManifest.provenanceByteLimit
    )
    guard entryCount > listLimit || json.position - start > byteLimit else { return }
    throw fail(
      field,
      .outOfRange(
        found: "\(entryCount) entries up to byte \(json.position - start)",
        allowed: "at most \(listLimit) entries, and \(byteLimit) bytes of provenance"))
  }

  private mutating func readScalar(_ field: String) throws(FormatError) -> JSONValue {
    switch try json.peek(field) {
    case .string: return .string(try json.readString(field))
    case .number: return .number(try json.readNumber(field))
    default: throw fail(field, .malformed("not a text, a number, or a list of them"))
    }
  }

  /// The members of one entry, all of which have to be there.
  private struct Members {
    var path: String
    var field: String
    var texts: [String: String] = [:]
    var numbers: [String: UInt64] = [:]
    var list: [Int]?

    private func missing(_ key: String) -> FormatError {
      FormatError(file: path, field: "\(field).\(key)", reason: .missing("this member"))
    }

    func text(_ key: String) throws(FormatError) -> String {
      guard let value = texts[key] else { throw missing(key) }
      return value
    }

    func number(_ key: String) throws(FormatError) -> UInt64 {
      guard let value = numbers[key] else { throw missing(key) }
      return value
    }

    func shape() throws(FormatError) -> [Int] {
      guard let list else { throw missing("shape") }
      return list
    }

    func hash(_ key: String) throws(FormatError) -> String {
      let text = try text(key)
      let isHash =
        text.utf8.count == 64
        && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
      guard isHash else {
        throw FormatError(
          file: path, field: "\(field).\(key)",
          reason: .malformed("not 64 lower-case hexadecimal digits"))
      }
      return text
    }
  }

  private mutating func readMembers(
    _ field: String, texts: Set<String>, numbers: Set<String>, list: String? = nil
  ) throws(FormatError) -> Members {
    var members = Members(path: path, field: field)
    try json.beginObject(field)
    while let key = try json.nextKey(field) {
      let name = "\(field).\(printable(key, limit: 80))"
      if texts.contains(key) {
        members.texts[key] = try json.readString(name)
      } else if numbers.contains(key) {
        members.numbers[key] = UInt64(try readCount(name))
      } else if key == list {
        members.list = try readShape(name)
      } else {
        throw unknown(key, in: field)
      }
    }
    return members
  }

  private mutating func readShape(_ field: String) throws(FormatError) -> [Int] {
    var dimensions: [Int] = []
    try json.beginArray(field)
    while try json.nextElement(field) {
      guard dimensions.count < 4 else {
        throw fail(field, .outOfRange(found: "more dimensions", allowed: "at most 4"))
      }
      dimensions.append(try readCount(field))
    }
    return dimensions
  }

  private mutating func readCount(_ field: String) throws(FormatError) -> Int {
    let number = try json.readNumber(field)
    guard let value = number.int, value >= 0 else {
      throw fail(
        field,
        .outOfRange(
          found: printable(number.text, limit: 40), allowed: "a whole number from 0 to 2^63 - 1"))
    }
    return value
  }

  // MARK: Rules

  private func check(_ files: [ArchiveManifest.File]) throws(FormatError) {
    guard !files.isEmpty else { throw fail("files", .missing("at least one file")) }
    var names: Set<ExactString> = []
    for (index, file) in files.enumerated() {
      let field = "files[\(index)]"
      guard !file.name.isEmpty, file.name != ".", file.name != "..",
        !file.name.utf8.contains(UInt8(ascii: "/")), !file.name.utf8.contains(0)
      else {
        throw fail(
          field + ".name",
          .unsupported(
            found: "\"\(printable(file.name, limit: 120))\"", allowed: "a name without a folder"))
      }
      guard names.insert(ExactString(file.name)).inserted else {
        throw fail(field + ".name", .duplicate(printable(file.name, limit: 120)))
      }
      guard file.headerByteCount <= file.byteCount else {
        throw fail(
          field + ".headerBytes",
          .outOfRange(found: "\(file.headerByteCount)", allowed: "at most \(file.byteCount)"))
      }
    }
  }

  private func check(
    _ tensors: [(ArchiveManifest.Tensor, field: String)], _ files: [ArchiveManifest.File]
  ) throws(FormatError) {
    var names: Set<ExactString> = []
    for (tensor, field) in tensors {
      guard names.insert(tensor.name).inserted else {
        throw fail(field + ".name", .duplicate(printable(tensor.name.string, limit: 120)))
      }
      guard files.indices.contains(tensor.file) else {
        throw fail(
          field + ".file",
          .outOfRange(found: "\(tensor.file)", allowed: "0 to \(files.count - 1)"))
      }
      guard let count = tensor.shape.checkedElementCount,
        let byteCount = tensor.type.byteCount(weightCount: count), byteCount == tensor.byteCount
      else {
        throw fail(
          field + ".bytes",
          .inconsistent("\(tensor.byteCount) is not what \(tensor.type) \(tensor.shape) takes"))
      }
      let file = files[tensor.file]
      let (end, overflow) = tensor.fileOffset.addingReportingOverflow(UInt64(byteCount))
      guard tensor.fileOffset >= file.headerByteCount, !overflow, end <= file.byteCount else {
        throw fail(
          field + ".offset",
          .outOfRange(
            found: "\(tensor.fileOffset)",
            allowed: "bytes \(file.headerByteCount) to \(file.byteCount) of the file"))
      }
    }
    try checkOverlaps(tensors)
  }

  /// Were they allowed to, a small document could have an archive hashed as often as it likes.
  private func checkOverlaps(_ tensors: [(ArchiveManifest.Tensor, field: String)])
    throws(FormatError)
  {
    let order = tensors.indices.filter { tensors[$0].0.byteCount > 0 }.sorted {
      let (a, b) = (tensors[$0].0, tensors[$1].0)
      return (a.file, a.fileOffset) < (b.file, b.fileOffset)
    }
    for (first, second) in zip(order, order.dropFirst()) {
      let (a, b) = (tensors[first].0, tensors[second].0)
      guard a.file != b.file || a.fileOffset + UInt64(a.byteCount) <= b.fileOffset else {
        throw fail(
          tensors[second].field + ".offset",
          .inconsistent("overlaps the data of \(printable(a.name.string, limit: 120))"))
      }
    }
  }

  private func fail(_ field: String, _ reason: FormatError.Reason) -> FormatError {
    FormatError(
      file: path, field: field, reason: reason,
      advice: "a manifest is what 'ingot manifest' writes")
  }

  private func unknown(_ key: String, in field: String) -> FormatError {
    fail(field, .unsupported(found: "member \"\(printable(key, limit: 80))\"", allowed: "no other"))
  }
}

extension ArchiveManifest {
  fileprivate init(files: [File], tensors: [Tensor], provenance: JSONObject) {
    self.files = files
    self.tensors = tensors
    self.provenance = provenance
  }
}
