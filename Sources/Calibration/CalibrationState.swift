import ByteIO
import GGUF
import Tensors

/// What an interrupted calibration had summed up, in a file beside its output.
///
/// A GGUF file with the sums in double precision: a run that goes on from it with the same memory
/// writes what a run without interruption writes.
///
/// Source: formats/imatrix.md
package struct CalibrationState {
  /// Keys of the file.
  package enum Key {
    package static let type = ImportanceSums.Key.type
    package static let run = "ingot.calibration.run"
    package static let chunkCount = "ingot.calibration.chunk_count"
    package static let groupChunkCount = "ingot.calibration.group_chunk_count"
    package static let inputs = "ingot.calibration.inputs"
  }
  /// Value of `Key.type`.
  package static let fileType = "ingot-calibration"

  /// Everything that the sums depend on, a line each.
  package var run: [String]
  /// Chunks of the text that are done.
  package var chunkCount: Int
  /// Chunks of a group: with the same groups the sums that follow are the same to the last bit.
  package var groupChunkCount: Int
  /// All inputs with what they have summed up.
  package var inputs: [InputSums]

  /// Where the state of the run with this output is kept.
  package static func path(output: String) -> String { output + ".state" }

  /// Takes what a run has.
  package init(run: [String], chunkCount: Int, groupChunkCount: Int, inputs: [InputSums]) {
    self.run = run
    self.chunkCount = chunkCount
    self.groupChunkCount = groupChunkCount
    self.inputs = inputs
  }

  /// Reads a state, if there is one.
  ///
  /// - Throws: `FormatError` when it is damaged or that of another run.
  package init?(_ path: String, run: [String], totalChunkCount: Int) throws(FormatError) {
    let file: GGUFFile
    do throws(FormatError) {
      file = try GGUFFile(path)
    } catch {
      if error.reason == .fileNotFound { return nil }
      throw error
    }
    let metadata = file.metadata
    func fail(_ field: String, _ reason: FormatError.Reason) -> FormatError {
      FormatError(
        file: path, field: field, reason: reason,
        advice: "leave out --resume to begin anew")
    }
    guard metadata[Key.type]?.string == Self.fileType else {
      throw fail(
        Key.type,
        .unsupported(
          found: metadata[Key.type]?.string ?? "no such key", allowed: Self.fileType))
    }
    guard let table = metadata[Key.run]?.strings, let inputs = metadata[Key.inputs]?.strings,
      let chunkCount = metadata[Key.chunkCount]?.int,
      let groupChunkCount = metadata[Key.groupChunkCount]?.int
    else { throw fail("gguf.kv", .missing("keys ingot.calibration.*")) }
    let known = table.indices.map { table.text($0) }
    if known != run {
      let pair = zip(known, run).first { $0 != $1 }
      throw fail(
        Key.run,
        .inconsistent(
          pair.map { "is of another run: it had '\($0)', this one has '\($1)'" }
            ?? "is of another run"))
    }
    guard (1..<totalChunkCount).contains(chunkCount) else {
      throw fail(
        Key.chunkCount,
        .outOfRange(found: "\(chunkCount)", allowed: "1 to \(totalChunkCount - 1)"))
    }
    let tensors = Dictionary(
      file.tensors.map { ($0.name.string, $0) }, uniquingKeysWith: { first, _ in first })
    var sums: [InputSums] = []
    for index in inputs.indices {
      let matrices = inputs.text(index).split(separator: " ").map(String.init)
      guard let name = matrices.first,
        let values = tensors[name + ImportanceSums.Key.sumSuffix],
        let counts = tensors[name + ImportanceSums.Key.countSuffix]
      else { throw fail("\(Key.inputs)[\(index)]", .missing("the tensors of the input")) }
      guard values.type == .f64, counts.type == .f64, counts.elementCount > 0,
        values.elementCount > 0, values.elementCount % counts.elementCount == 0
      else {
        throw fail(
          values.name.string,
          .inconsistent(
            "has \(values.elementCount) sums for \(counts.elementCount) counts, or is not F64"))
      }
      sums.append(
        InputSums(
          matrices: matrices, sums: try Self.numbers(values, file),
          counts: try Self.numbers(counts, file)))
    }
    try file.checkUnchanged()
    self.init(run: run, chunkCount: chunkCount, groupChunkCount: groupChunkCount, inputs: sums)
  }

  private static func numbers(_ tensor: TensorDescriptor, _ file: GGUFFile) throws(FormatError)
    -> [Double]
  {
    var failure: FormatError?
    let values = [Double](unsafeUninitializedCapacity: tensor.elementCount) { buffer, count in
      do throws(FormatError) {
        try file.read(tensor, at: 0, into: UnsafeMutableRawBufferPointer(buffer))
        count = tensor.elementCount
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    guard let index = values.firstIndex(where: { !($0 >= 0 && $0.isFinite) }) else { return values }
    throw FormatError(
      file: file.files[0], fileOffset: tensor.regions[0].fileOffset + 8 * UInt64(index),
      field: "\(tensor.name)[\(index)]",
      reason: .outOfRange(found: "\(values[index])", allowed: "a finite number from 0 on"),
      advice: "leave out --resume to begin anew")
  }

  /// Writes the state; the one before stays until this one is whole.
  package func write(_ path: String) throws {
    var metadata = Metadata()
    metadata[Key.type] = .string(Self.fileType)
    metadata[Key.run] = .array(.string(StringTable(run)))
    metadata[Key.chunkCount] = .uint32(UInt32(clamping: chunkCount))
    metadata[Key.groupChunkCount] = .uint32(UInt32(clamping: groupChunkCount))
    metadata[Key.inputs] = .array(
      .string(StringTable(inputs.map { $0.matrices.joined(separator: " ") })))
    let tensors = inputs.flatMap { input in
      [
        (ImportanceSums.Key.sumSuffix, [input.expertCount, input.columnCount]),
        (ImportanceSums.Key.countSuffix, [input.expertCount, 1]),
      ].map { suffix, dimensions in
        GGUFTensorInfo(
          name: ExactString(input.matrices[0] + suffix), shape: Shape(dimensions), type: .f64)
      }
    }
    let layout = try GGUFLayout(metadata: metadata, tensors: tensors, file: path)
    let output = try OutputFile(path)
    try output.setByteCount(layout.fileByteCount)
    try output.write(layout.headerBytes, at: 0)
    for (index, input) in inputs.enumerated() {
      try output.writeLittleEndian(input.allSums, at: layout.tensorOffsets[2 * index])
      try output.writeLittleEndian(input.allCounts, at: layout.tensorOffsets[2 * index + 1])
    }
    try output.commit()
  }
}
