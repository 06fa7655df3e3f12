import ByteIO
import Tensors

/// A GGUF file, or a set of files that one was split into, as one source of tensors.
///
/// Opening the first part of a set opens all of them; a set that is incomplete or contradicts itself
/// is refused before any tensor is read.
package struct GGUFFile: TensorSource {
  /// One file of the set.
  package struct Part: Sendable {
    package let file: PositionalFile
    package let header: GGUFHeader
  }

  /// In the order of their numbers; one unless the file was split.
  package let parts: [Part]
  /// Of the first part, without the keys that describe the split.
  package let metadata: Metadata
  /// Of all parts in order; a descriptor's region names its part by `file`.
  package let tensors: [TensorDescriptor]

  /// Opens a file, and the other parts of its set if it is the first.
  package init(_ path: String) throws(FormatError) {
    try self.init(PositionalFile(path))
  }

  /// Takes over an opened file, and opens the other parts of its set if it is the first.
  init(_ file: PositionalFile) throws(FormatError) {
    let first = Part(file: file, header: try GGUFHeader(file))
    parts = try GGUFSplit.openSet(first)
    var metadata = first.header.metadata
    for key in GGUFFormat.Key.allSplitKeys { metadata[key] = nil }
    self.metadata = metadata
    tensors = parts.flatMap(\.header.tensors)
  }

  package var files: [String] { parts.map(\.file.path) }
  package var fileByteCounts: [UInt64] { parts.map(\.file.byteCount) }

  package func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    let region = checkedRegion(tensor, byteOffset, buffer.count)
    try parts[region.file].file.read(
      at: region.fileOffset + UInt64(byteOffset), into: buffer, field: tensor.name.string)
  }

  package func prefetch(_ tensor: TensorDescriptor, at byteOffset: Int, byteCount: Int) {
    let region = checkedRegion(tensor, byteOffset, byteCount)
    parts[region.file].file.prefetch(
      at: region.fileOffset + UInt64(byteOffset), byteCount: byteCount)
  }

  package func checkUnchanged() throws(FormatError) {
    for part in parts { try part.file.checkUnchanged() }
  }

  private func checkedRegion(_ tensor: TensorDescriptor, _ byteOffset: Int, _ byteCount: Int)
    -> TensorDescriptor.Region
  {
    precondition(
      byteOffset >= 0 && byteCount >= 0 && byteCount <= tensor.byteCount - byteOffset,
      "read outside \(tensor.name)")
    return tensor.regions[0]
  }
}
