import ByteIO
import Tensors

/// Squared inputs of the matrices of a model, summed over the tokens of a text.
///
/// What an importance file holds before the sums are divided by the counts. `llama-imatrix` writes
/// two forms of it, and `ingot calibrate` the one in GGUF.
///
/// Source: formats/imatrix.md
package struct ImportanceSums: Sendable {
  /// One matrix, or several that are stacked under one name.
  package struct Entry: Hashable, Sendable {
    /// `[experts × columns]`, row-major.
    package var sums: [Float]
    /// Tokens that were summed, one whole number per expert; of the older form calls, and only one.
    package var counts: [Float]

    package init(sums: [Float], counts: [Float]) {
      precondition(!counts.isEmpty && sums.count % counts.count == 0)
      self.sums = sums
      self.counts = counts
    }

    package var expertCount: Int { counts.count }
    package var columnCount: Int { sums.count / counts.count }
  }

  /// By the matrix's name in an archive.
  package var entries: [ExactString: Entry]
  /// Names of the texts.
  package var datasets: [String]
  /// Chunks of text; 0 when the file does not say.
  package var chunkCount: Int
  /// Tokens of a chunk; `nil` in the older form.
  package var chunkSize: Int?
  /// Path as the user gave it.
  package var file: String

  package init(
    entries: [ExactString: Entry], datasets: [String], chunkCount: Int, chunkSize: Int?,
    file: String
  ) {
    self.entries = entries
    self.datasets = datasets
    self.chunkCount = chunkCount
    self.chunkSize = chunkSize
    self.file = file
  }

  /// Its numbers are all in memory; a model with 256 experts in each of 61 layers has about 1 GB.
  package static let maximumFileByteCount: UInt64 = 2 << 30

  /// Reads a file in either form.
  ///
  /// - Throws: `FormatError` for what formats/imatrix.md does not allow, and when the file changes
  ///   while it is being read.
  package init(_ path: String) throws(FormatError) {
    let file = try PositionalFile(path)
    try file.refuseGitPointer()
    try Self.checkByteCount(file.byteCount, path)
    var cursor = FileCursor(file)
    let magic = try cursor.readBytes(4, "imatrix.magic")
    if magic == GGUFFormat.magic {
      let archive = try GGUFFile(file)
      try Self.checkByteCount(archive.parts.reduce(0) { $0 + $1.file.byteCount }, path)
      try self.init(gguf: archive)
      try archive.checkUnchanged()
    } else {
      do throws(FormatError) {
        try self.init(legacy: file)
      } catch {
        throw Self.explain(error, start: magic)
      }
      try file.checkUnchanged()
    }
  }

  /// What to give where a file is no importance matrix.
  static let advice =
    "give a file that 'ingot calibrate' or llama-imatrix wrote: GGUF, or llama-imatrix's older .dat"

  /// The older form has no mark at its beginning, so that any file looks like a damaged one: a text
  /// is told for what it is.
  private static func explain(_ error: FormatError, start: [UInt8]) -> FormatError {
    var error = error
    switch error.reason {
    case .readFailed: return error
    default: error.advice = error.advice ?? advice
    }
    let isText = start.allSatisfy { (0x20..<0x7F).contains($0) || (0x09...0x0D).contains($0) }
    if isText {
      error.fileOffset = 0
      error.field = "imatrix"
      error.reason = .unsupported(found: "a text", allowed: "importance matrices")
    }
    return error
  }

  private static func checkByteCount(_ byteCount: UInt64, _ path: String) throws(FormatError) {
    guard byteCount <= maximumFileByteCount else {
      throw FormatError(
        file: path, field: "imatrix",
        reason: .outOfRange(
          found: "\(byteCount) bytes", allowed: "at most \(maximumFileByteCount) bytes"))
    }
  }

  /// Whether a file with this metadata says that it is one.
  package static func isOne(_ metadata: Metadata) -> Bool {
    metadata[Key.type]?.string == Key.importanceType
      || metadata[Key.type] == nil && metadata[Key.chunkCount] != nil
  }

  /// Throws unless every number is one that a sum of squares can be.
  static func checkSums(
    _ values: [Float], file: String, fileOffset: UInt64, field: String
  ) throws(FormatError) {
    guard let index = values.firstIndex(where: { !($0 >= 0 && $0.isFinite) }) else { return }
    throw FormatError(
      file: file, fileOffset: fileOffset + 4 * UInt64(index), field: "\(field)[\(index)]",
      reason: .outOfRange(found: "\(values[index])", allowed: "a finite number from 0 on"))
  }
}
