import ByteIO
import GGUF
import StrictJSON
import Tensors

/// Holds an archive against a manifest; every difference becomes a finding.
struct ManifestComparison {
  let manifest: ArchiveManifest
  let threadCount: Int

  /// Compares an archive that can be read: files, headers, tensors, origin.
  ///
  /// Tensors are looked up by name, so that they are told apart from a header of another length.
  func compare(_ archive: GGUFFile, _ report: inout CheckReport) throws(FormatError) {
    compareTensorLists(archive, &report)
    do throws(FormatError) {
      let found = try ArchiveManifest.provenance(archive.metadata, file: archive.files[0])
      compareProvenance(found, &report)
    } catch {
      report.error(error.field, "is not what the manifest says: \(error.reason)")
    }
    let files = archive.parts.map(\.file)
    var work = Work(files)
    compareFiles(files, headers: archive.parts.map { $0.header.byteCount(in: $0.file) }, &work)
    let known = Dictionary(uniqueKeysWithValues: manifest.tensors.map { ($0.name, $0) })
    for tensor in archive.tensors {
      guard let expected = known[tensor.name], expected.byteCount == tensor.byteCount else {
        continue
      }
      let region = tensor.regions[0]
      work.add(
        .tensor(tensor.name.string), region.file,
        region.fileOffset..<region.fileOffset + UInt64(region.byteCount), expected.sha256)
    }
    try work.run(threadCount: threadCount, &report)
  }

  /// Compares the bytes of an archive whose header cannot be read, where the manifest says that they
  /// are.
  func compare(bytesOf paths: [String], _ report: inout CheckReport) throws(FormatError) {
    var files: [PositionalFile] = []
    for path in paths {
      do throws(FormatError) {
        files.append(try PositionalFile(path))
      } catch {
        guard error.reason == .fileNotFound else { throw error }
        report.error(OutputFile.name(of: path), "is missing", file: path)
        return
      }
    }
    var work = Work(files)
    compareFiles(files, headers: manifest.files.map(\.headerByteCount), &work)
    for tensor in manifest.tensors where tensor.file < files.count {
      let end = tensor.fileOffset + UInt64(tensor.byteCount)
      guard end <= files[tensor.file].byteCount else {
        report.error(
          tensor.name.string, "lies behind the end of the file", file: files[tensor.file].path,
          fileOffset: tensor.fileOffset)
        continue
      }
      work.add(
        .tensor(tensor.name.string), tensor.file, tensor.fileOffset..<end, tensor.sha256)
    }
    try work.run(threadCount: threadCount, &report)
    for file in files { try file.checkUnchanged() }
  }

  /// Adds what is to be hashed of each file.
  private func compareFiles(_ files: [PositionalFile], headers: [UInt64], _ work: inout Work) {
    for (index, (file, expected)) in zip(files, manifest.files).enumerated() {
      let name = OutputFile.name(of: file.path)
      if ExactString(name) != ExactString(expected.name) {
        work.renamed.append((name, expected.name))
      }
      if file.byteCount != expected.byteCount {
        work.resized.append((file.path, file.byteCount, expected.byteCount))
      } else {
        work.add(.file(name), index, 0..<file.byteCount, expected.sha256)
      }
      if index < headers.count, headers[index] == expected.headerByteCount,
        headers[index] <= file.byteCount
      {
        work.add(.header(name), index, 0..<headers[index], expected.headerSHA256)
      } else {
        work.otherHeaders.append(name)
      }
    }
    if files.count != manifest.files.count {
      work.fileCounts = (files.count, manifest.files.count)
    }
  }

  private func compareTensorLists(_ archive: GGUFFile, _ report: inout CheckReport) {
    let found = Dictionary(uniqueKeysWithValues: archive.tensors.map { ($0.name, $0) })
    var moved: [String] = []
    for expected in manifest.tensors {
      let name = expected.name.string
      guard let tensor = found[expected.name] else {
        report.error(name, "is missing", allowed: "as in the manifest")
        continue
      }
      if tensor.type != expected.type {
        report.error(
          name, "has type \(tensor.type)", allowed: "\(expected.type) as in the manifest")
      }
      if tensor.shape != expected.shape {
        report.error(
          name, "has shape \(tensor.shape)", allowed: "\(expected.shape) as in the manifest")
      }
      let region = tensor.regions[0]
      if region.file != expected.file || region.fileOffset != expected.fileOffset {
        moved.append(name)
      }
    }
    let known = Set(manifest.tensors.map(\.name))
    for tensor in archive.tensors where !known.contains(tensor.name) {
      report.error(tensor.name.string, "is not in the manifest")
    }
    if let first = moved.first {
      report.error(
        first,
        "lies at another place than in the manifest"
          + (moved.count > 1 ? ", and so do \(moved.count - 1) more tensors" : ""))
    }
  }

  private func compareProvenance(_ found: JSONObject, _ report: inout CheckReport) {
    let keys = Set((found.members + manifest.provenance.members).map { ExactString($0.key) })
    for key in keys.sorted() where found[key.string] != manifest.provenance[key.string] {
      report.error(key.string, "is not what the manifest says")
    }
  }
}

extension ArchiveManifest {
  /// Where the files of the archive at `path` lie, by the number that the manifest says.
  ///
  /// The manifest's own names are never opened.
  func filePaths(from path: String) -> [String] {
    guard files.count > 1, let name = SplitName(path: path), name.part == 0,
      name.partCount == files.count
    else { return [path] }
    return files.indices.map { name.with(part: $0).path }
  }
}

/// Ranges to hash, what they should give, and what is known to differ without reading.
private struct Work {
  enum Subject {
    case file(String), header(String), tensor(String)
  }
  private let files: [PositionalFile]
  private var ranges: HashedRanges
  private var expected: [(subject: Subject, file: Int, offset: UInt64, hash: String)] = []
  var renamed: [(found: String, expected: String)] = []
  var resized: [(path: String, found: UInt64, expected: UInt64)] = []
  var otherHeaders: [String] = []
  var fileCounts: (found: Int, expected: Int)?

  init(_ files: [PositionalFile]) {
    self.files = files
    ranges = HashedRanges(files: files)
  }

  mutating func add(_ subject: Subject, _ file: Int, _ range: Range<UInt64>, _ hash: String) {
    _ = ranges.add(file: file, range)
    expected.append((subject, file, range.lowerBound, hash))
  }

  func run(threadCount: Int, _ report: inout CheckReport) throws(FormatError) {
    if let fileCounts {
      report.error(
        "archive", "has \(fileCounts.found) files", allowed: "\(fileCounts.expected) files")
    }
    for (found, expected) in renamed {
      report.warning(found, "is called \(printable(expected)) in the manifest")
    }
    for (path, found, expected) in resized {
      report.error(
        OutputFile.name(of: path), "has \(found) bytes",
        allowed: "\(expected) bytes as in the manifest", file: path)
    }
    for name in otherHeaders { report.error(name, "has a header of another length") }
    guard let hashes = try ranges.run(threadCount: threadCount) else { return }
    for (found, (subject, file, offset, hash)) in zip(hashes, expected) where found != hash {
      let path = files[file].path
      switch subject {
      case .file(let name):
        report.error(
          name, "has SHA-256 \(found)", allowed: "\(hash) as in the manifest", file: path)
      case .header(let name):
        report.error(name, "has another header than in the manifest", file: path, fileOffset: 0)
      case .tensor(let name):
        report.error(
          name, "has other data than in the manifest", file: path, fileOffset: offset)
      }
    }
  }
}
