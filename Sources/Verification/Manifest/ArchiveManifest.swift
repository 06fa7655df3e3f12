import ByteIO
import GGUF
import Planning
import StrictJSON
import Tensors

/// What an archive holds, byte for byte: its files and tensors with their places and hashes, and what
/// it was made from.
///
/// It follows from the archive alone, so the same archive gives the same manifest wherever it lies.
///
/// Source: formats/manifest.md
package struct ArchiveManifest: Hashable, Sendable {
  package static let format = "ingot-manifest"
  package static let version = 1
  /// Longest file: a tensor takes some 400 bytes, the largest checkpoints have 10,000 to 100,000.
  package static let byteLimit: UInt64 = 64 << 20
  /// Longest provenance, and most entries of one of its lists.
  package static let provenanceByteLimit = 8 << 20
  /// Longest one of an archive, whose texts grow by quotes and escapes.
  package static let archiveProvenanceByteLimit = provenanceByteLimit / 8
  package static let provenanceListLimit = 1 << 16

  /// One file of the archive.
  package struct File: Hashable, Sendable {
    /// Without a folder.
    package var name: String
    package var byteCount: UInt64
    /// Of the whole file, as `sha256sum` prints it.
    package var sha256: String
    /// Of everything before the tensor data.
    package var headerByteCount: UInt64
    package var headerSHA256: String
  }

  package struct Tensor: Hashable, Sendable {
    package var name: ExactString
    package var type: TensorType
    package var shape: Shape
    /// Index into `files`.
    package var file: Int
    /// Absolute position in that file.
    package var fileOffset: UInt64
    package var byteCount: Int
    package var sha256: String
  }

  package var files: [File]
  /// In the order of the archive.
  package var tensors: [Tensor]
  /// The archive's `ingot.*` keys that say what it was made from; empty where it has none.
  package var provenance: JSONObject

  /// Reads the whole archive; `nil` when it was cancelled.
  ///
  /// - Parameters:
  ///   - archive: whose bytes are read and hashed.
  ///   - threadCount: tensors and files that are hashed at a time.
  ///   - isCancelled: asked between tiles of 1 MiB.
  /// - Throws: when the archive cannot be read, changes meanwhile, or its manifest would be longer
  ///   than one may be, which is found before anything is hashed.
  package init?(
    of archive: GGUFFile, threadCount: Int, isCancelled: @escaping @Sendable () -> Bool
  ) throws(FormatError) {
    var ranges = HashedRanges(files: archive.parts.map(\.file))
    let places = Places(archive, in: &ranges)
    let provenance = try Self.provenance(archive.metadata, file: archive.files[0])
    // As many digits as every hash has.
    let unknown = String(repeating: "0", count: 64)
    try Self(of: archive, places, provenance) { _ in unknown }.checkSize(file: archive.files[0])
    guard let hashes = try ranges.run(threadCount: threadCount, isCancelled: isCancelled) else {
      return nil
    }
    try archive.checkUnchanged()
    self.init(of: archive, places, provenance) { hashes[$0] }
  }

  /// Which of the hashed ranges are whose.
  private struct Places {
    var files: [(whole: Int, header: Int)]
    var tensors: [Int]

    init(_ archive: GGUFFile, in ranges: inout HashedRanges) {
      files = []
      for (index, part) in archive.parts.enumerated() {
        let whole = ranges.add(file: index, 0..<part.file.byteCount)
        files.append(
          (whole, ranges.add(file: index, 0..<part.header.byteCount(in: part.file))))
      }
      tensors = []
      for tensor in archive.tensors { tensors.append(ranges.add(tensor.regions[0])) }
    }
  }

  private init(
    of archive: GGUFFile, _ places: Places, _ provenance: JSONObject, hash: (Int) -> String
  ) {
    files = zip(archive.parts, places.files).map { part, places in
      File(
        name: OutputFile.name(of: part.file.path), byteCount: part.file.byteCount,
        sha256: hash(places.whole), headerByteCount: part.header.byteCount(in: part.file),
        headerSHA256: hash(places.header))
    }
    tensors = zip(archive.tensors, places.tensors).map { tensor, place in
      Tensor(
        name: tensor.name, type: tensor.type, shape: tensor.shape, file: tensor.regions[0].file,
        fileOffset: tensor.regions[0].fileOffset, byteCount: tensor.byteCount,
        sha256: hash(place))
    }
    self.provenance = provenance
  }

  /// Refuses what could not be read again.
  private func checkSize(file: String) throws(FormatError) {
    let byteCount = bytes.count
    guard UInt64(byteCount) <= Self.byteLimit else {
      throw FormatError(
        file: file, field: "manifest",
        reason: .outOfRange(
          found: "\(tensors.count) tensors, whose manifest takes \(byteCount) bytes",
          allowed: "at most \(Self.byteLimit) bytes"))
    }
  }

  /// What an archive says of its origin.
  ///
  /// - Throws: `FormatError` where that is longer than a manifest may be.
  package static func provenance(_ metadata: Metadata, file: String) throws(FormatError)
    -> JSONObject
  {
    var object = JSONObject()
    var byteCount = 0
    for key in Provenance.Key.all {
      guard let value = metadata[key] else { continue }
      let size = Self.size(of: value)
      byteCount += size.byteCount
      guard size.entryCount <= provenanceListLimit, byteCount <= archiveProvenanceByteLimit else {
        throw FormatError(
          file: file, field: key.string,
          reason: .outOfRange(
            found: "\(size.entryCount) entries",
            allowed: "at most \(provenanceListLimit), and \(archiveProvenanceByteLimit) bytes of "
              + "provenance"))
      }
      if let value = JSONValue(value) { object.set(key.string, value) }
    }
    return object
  }

  /// Entries and bytes that a value has in JSON, without what escapes take.
  private static func size(of value: MetadataValue) -> (entryCount: Int, byteCount: Int) {
    switch value {
    case .string(let text): (1, text.utf8.count)
    case .array(.string(let table)): (table.count, table.bytes.count)
    case .array(.uint64(let numbers)): (numbers.count, 20 * numbers.count)
    default: (0, 0)
    }
  }
}

extension JSONValue {
  /// A text, a number, or a list of these, which is what provenance consists of.
  fileprivate init?(_ value: MetadataValue) {
    switch value {
    case .string(let text): self = .string(text)
    case .float64(let number):
      guard number.isFinite else { return nil }
      self = .number(JSONNumber(text: "\(number)", isIntegerLiteral: false))
    case .array(.string(let table)):
      self = .array(table.indices.map { .string(table.text($0)) })
    case .array(.uint64(let numbers)):
      self = .array(
        numbers.map { .number(JSONNumber(text: "\($0)", isIntegerLiteral: true)) })
    default: return nil
    }
  }
}

extension ArchiveManifest {
  /// Stable JSON.
  package var json: String {
    var writer = JSONWriter()
    writer.object { json in
      json.key("format")
      json.value(Self.format)
      json.key("version")
      json.value(Self.version)
      json.key("files")
      json.array { json in for file in files { file.write(to: &json) } }
      json.key("provenance")
      json.value(.object(provenance))
      json.key("tensors")
      json.array { json in for tensor in tensors { tensor.write(to: &json) } }
    }
    return writer.text
  }

  /// The file as it is written.
  package var bytes: [UInt8] { Array((json + "\n").utf8) }
}

extension ArchiveManifest.File {
  fileprivate func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("name")
      json.value(name)
      json.key("bytes")
      json.value(byteCount)
      json.key("sha256")
      json.value(sha256)
      json.key("headerBytes")
      json.value(headerByteCount)
      json.key("headerSHA256")
      json.value(headerSHA256)
    }
  }
}

extension ArchiveManifest.Tensor {
  fileprivate func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("name")
      json.value(name.string)
      json.key("type")
      json.value(type.name)
      json.key("shape")
      json.array { json in for dimension in shape.dimensions { json.value(dimension) } }
      json.key("file")
      json.value(file)
      json.key("offset")
      json.value(fileOffset)
      json.key("bytes")
      json.value(byteCount)
      json.key("sha256")
      json.value(sha256)
    }
  }
}
