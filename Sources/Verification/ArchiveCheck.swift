import ByteIO
import Formats
import GGUF
import Tensors

/// Checks an archive without any reference: structure, keys, tensors, tokenizer and numbers.
///
/// Opening it checks the structure (header, ranges, overlap, alignment, the set of a split archive):
/// a file that fails there cannot be read, and `run` throws. Everything else becomes a finding.
///
/// Source: formats/gguf.md, formats/checks/README.md
package struct ArchiveCheck: Sendable {
  /// How blocks of a type are decoded; `Quantizers` has the rules.
  package struct BlockRules: Sendable {
    package var canValidate: @Sendable (TensorType) -> Bool
    /// Index of the first block that does not decode to finite numbers, of as many as given.
    package var firstInvalidBlock: @Sendable (TensorType, UnsafeRawPointer, Int) -> Int?

    package init(
      canValidate: @escaping @Sendable (TensorType) -> Bool,
      firstInvalidBlock: @escaping @Sendable (TensorType, UnsafeRawPointer, Int) -> Int?
    ) {
      self.canValidate = canValidate
      self.firstInvalidBlock = firstInvalidBlock
    }
  }

  package var rules: BlockRules
  package var threadCount: Int

  /// - Parameters:
  ///   - rules: how blocks are decoded.
  ///   - threadCount: tiles of 1 MiB that are read and decoded at a time.
  package init(rules: BlockRules, threadCount: Int = 1) {
    precondition(threadCount > 0)
    self.rules = rules
    self.threadCount = threadCount
  }

  /// Reads the whole archive.
  ///
  /// - Throws: when the archive, or one of its parts, cannot be read.
  package func run(_ path: String) throws(FormatError) -> CheckReport {
    let archive = try GGUFFile(path)
    var report = checkHeader(archive)
    try checkBlocks(of: archive, &report)
    try archive.checkUnchanged()
    return report
  }

  /// Reads the whole archive, and compares it with a manifest.
  ///
  /// What cannot be read as an archive is a finding here: the manifest still tells which of its bytes
  /// are as they were.
  ///
  /// - Throws: when the archive is not there, or the system cannot read it.
  package func run(_ path: String, against manifest: ArchiveManifest) throws(FormatError)
    -> CheckReport
  {
    let comparison = ManifestComparison(manifest: manifest, threadCount: threadCount)
    let archive: GGUFFile
    do throws(FormatError) {
      archive = try GGUFFile(path)
    } catch {
      if case .readFailed = error.reason { throw error }
      // Whatever is there has to be a file at least.
      _ = try PositionalFile(path)
      let paths = manifest.filePaths(from: path)
      var report = CheckReport(
        files: paths, architecture: nil, keyCount: 0, tensorCount: 0, tensorByteCount: 0)
      report.error(
        OutputFile.name(of: path), "cannot be read as an archive: \(error)", file: path)
      try comparison.compare(bytesOf: paths, &report)
      return report
    }
    var report = checkHeader(archive)
    try checkBlocks(of: archive, &report)
    try comparison.compare(archive, &report)
    try archive.checkUnchanged()
    return report
  }

  /// The checks that read no tensor data.
  package func checkHeader(_ archive: GGUFFile) -> CheckReport {
    let architecture = archive.metadata["general.architecture"]?.string
    var report = CheckReport(
      files: archive.files, architecture: architecture, keyCount: archive.metadata.count,
      tensorCount: archive.tensors.count,
      tensorByteCount: archive.tensors.reduce(0) { $0 + UInt64($1.byteCount) })
    for part in archive.parts {
      guard let end = part.header.contentEnd, part.file.byteCount > end else { continue }
      report.warning(
        OutputFile.name(of: part.file.path),
        "\(part.file.byteCount - end) bytes follow its last tensor, which nothing reads",
        file: part.file.path, fileOffset: end)
    }
    if let kind = archive.metadata["general.type"]?.string, kind != "model" {
      report.warning("general.type", "is \(kind): keys and tensors are those of no model")
      return report
    }
    let keys = KeyTable.rows(of: architecture)
    for row in keys { row.check(archive.metadata, &report) }
    guard let architecture else { return report }
    guard TensorTable.architectures.contains(architecture) else {
      report.warning(
        "general.architecture", "is \(architecture): its keys and tensors are not known here")
      return report
    }
    checkTokenizer(archive.metadata, &report)
    guard var model = ModelDimensions(archive.metadata, architecture: architecture, &report) else {
      return report
    }
    model.checkExperts(of: archive, architecture: architecture, &report)
    TensorTable.check(archive, model, architecture: architecture, &report)
    return report
  }
}
