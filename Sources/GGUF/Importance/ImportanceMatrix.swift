import ByteIO
import Tensors

/// Per-column importance of the weights of tensors: mean squared activations over a text.
///
/// Read from either form that `llama-imatrix` writes; the numbers are the ones that `llama-quantize`
/// computes from the same file, in float32.
///
/// Source: formats/imatrix.md
package struct ImportanceMatrix: Sendable {
  /// Tensor name → `[experts × columns]`, row-major, one value per column of each expert's matrix.
  package var entries: [ExactString: [Float]]
  /// Names of the texts, as the file gives them.
  package var datasets: [String]
  /// Chunks of text that the sums were taken over; 0 when the file does not say.
  package var chunkCount: Int
  /// Path as the user gave it: it is stored in the archive.
  package var file: String

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
      try self.init(legacy: file)
      try file.checkUnchanged()
    }
  }

  private static func checkByteCount(_ byteCount: UInt64, _ path: String) throws(FormatError) {
    guard byteCount <= maximumFileByteCount else {
      throw FormatError(
        file: path, field: "imatrix",
        reason: .outOfRange(
          found: "\(byteCount) bytes", allowed: "at most \(maximumFileByteCount) bytes"))
    }
  }

  init(entries: [ExactString: [Float]], datasets: [String], chunkCount: Int, file: String) {
    self.entries = entries
    self.datasets = datasets
    self.chunkCount = chunkCount
    self.file = file
  }

  /// Keeps the entries that `llama-quantize` keeps under its `--include-weights` and
  /// `--exclude-weights`.
  ///
  /// Those are the entries whose name contains one of `included` (any name if that is empty) and
  /// none of `excluded`, compared by bytes.
  package func filtered(including included: [String], excluding excluded: [String])
    -> ImportanceMatrix
  {
    var result = self
    result.entries = entries.filter { name, _ in
      if excluded.contains(where: { contains(name, $0) }) { return false }
      return included.isEmpty || included.contains { contains(name, $0) }
    }
    return result
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

private func contains(_ name: ExactString, _ part: String) -> Bool {
  let name = Array(name.utf8)
  let part = Array(part.utf8)
  guard part.count <= name.count else { return false }
  return (0...name.count - part.count).contains { name[$0..<$0 + part.count].elementsEqual(part) }
}
