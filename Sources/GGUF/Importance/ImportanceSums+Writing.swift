import ByteIO
import Tensors

extension ImportanceSums {
  /// Writes the GGUF form, whose bytes are those that `llama-imatrix` writes for the same numbers.
  ///
  /// The entries by name, each its sums and then its counts.
  ///
  /// - Parameter output: is left for the caller to commit.
  /// - Returns: bytes of the file.
  /// - Throws: `FormatError` for a name that GGUF does not take, `OutputError`.
  @discardableResult
  package func write(to output: OutputFile) throws -> UInt64 {
    var metadata = Metadata()
    metadata[Key.type] = .string(Key.importanceType)
    metadata[Key.datasets] = .array(.string(StringTable(datasets)))
    metadata[Key.chunkCount] = .uint32(UInt32(clamping: chunkCount))
    metadata[Key.chunkSize] = .uint32(UInt32(clamping: chunkSize ?? Self.usualChunkSize))
    var tensors: [GGUFTensorInfo] = []
    var contents: [[Float]] = []
    for (name, entry) in entries.sorted(by: { $0.key < $1.key }) {
      tensors.append(
        GGUFTensorInfo(
          name: ExactString(name.string + Key.sumSuffix),
          shape: Shape([entry.expertCount, entry.columnCount]), type: .f32))
      contents.append(entry.sums)
      tensors.append(
        GGUFTensorInfo(
          name: ExactString(name.string + Key.countSuffix),
          shape: Shape([entry.expertCount, 1]), type: .f32))
      contents.append(entry.counts)
    }
    let layout = try GGUFLayout(metadata: metadata, tensors: tensors, file: output.path)
    try output.setByteCount(layout.fileByteCount)
    try output.write(layout.headerBytes, at: 0)
    for (numbers, offset) in zip(contents, layout.tensorOffsets) {
      try output.writeLittleEndian(numbers, at: offset)
    }
    return layout.fileByteCount
  }
}

extension OutputFile {
  /// Writes numbers as every machine that this runs on holds them.
  package func writeLittleEndian<Number: BitwiseCopyable>(_ numbers: [Number], at offset: UInt64)
    throws(OutputError)
  {
    #if _endian(big)
      #error("GGUF is written little-endian")
    #endif
    var failure: OutputError?
    numbers.withUnsafeBytes { bytes in
      do throws(OutputError) {
        try write(bytes, at: offset)
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
  }
}
