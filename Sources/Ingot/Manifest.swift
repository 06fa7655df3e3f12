import GGUF
import Verification

/// What an archive holds: names, places and hashes of its files and tensors, and its origin.
///
/// Source: formats/manifest.md
public struct Manifest: Sendable {
  /// Reads the whole archive, or all parts of a split one.
  ///
  /// - Throws: `FormatError` when it cannot be read or has more tensors than a manifest takes,
  ///   `ManifestInterrupted`.
  public init(
    of path: String, threadCount: Int = Converter.defaultThreadCount,
    cancellation: CancellationFlag = CancellationFlag()
  ) throws {
    let archive = try GGUFFile(path)
    let manifest = try ArchiveManifest(of: archive, threadCount: threadCount) {
      cancellation.isCancelled
    }
    guard let manifest else { throw ManifestInterrupted(archive: path) }
    bytes = manifest.bytes
  }

  /// Stable JSON, with a line feed at its end.
  let bytes: [UInt8]

  /// Stable JSON.
  public var json: String { String(decoding: bytes.dropLast(), as: UTF8.self) }
}

/// Hashing was stopped by a signal; no manifest was written.
public struct ManifestInterrupted: Error, Sendable, CustomStringConvertible {
  public var archive: String
  public var description: String {
    "interrupted; no manifest was written. 'ingot manifest \(printable(archive))' makes one."
  }
}

/// A manifest that will be written, under a hidden name until it is whole.
public struct ManifestOutput: Sendable {
  /// The archive, or its first part.
  private let archive: String
  private let file: OutputFile

  /// Makes the hidden file, so that a folder that takes none is found before the work.
  ///
  /// - Throws: `OutputError`, or `UsageError` when it would replace the archive.
  public init(of archive: String, at path: String) throws {
    let files = (try? GGUFFile(archive))?.files ?? []
    if (files + [archive]).contains(where: { OutputFile.isSamePlace(path, $0) }) {
      throw UsageError("the manifest \(printable(path)) is also the archive")
    }
    self.archive = archive
    file = try OutputFile(path)
  }

  /// Reads the archive that is there now, and writes its manifest.
  public func write(threadCount: Int, cancellation: CancellationFlag) throws {
    try write(Manifest(of: archive, threadCount: threadCount, cancellation: cancellation))
  }

  /// Writes a manifest that was made.
  public func write(_ manifest: Manifest) throws(OutputError) {
    let bytes = manifest.bytes
    try file.setByteCount(UInt64(bytes.count))
    try file.write(bytes, at: 0)
    try file.commit()
  }
}

extension Converter {
  /// Prepares a manifest of the archive of this plan; write it after `run`.
  ///
  /// It describes the language model, and the vision tower where that is written alone.
  ///
  /// - Throws: `UsageError` when it would replace an output or an input, `OutputError` when it cannot
  ///   be written.
  public func prepareManifest(at path: String) throws -> ManifestOutput {
    guard let archive = plan.outputs.first?.path else { throw UsageError("nothing to describe") }
    if plan.outputs.contains(where: { OutputFile.isSamePlace(path, $0.path) })
      || inputs.files.contains(path)
    {
      throw UsageError("--manifest \(printable(path)) is also an output or an input")
    }
    return try ManifestOutput(of: archive, at: path)
  }
}
