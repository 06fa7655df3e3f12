import ByteIO
import Tensors

/// One safetensors file as a source of tensors.
package struct SafetensorsFile: TensorSource {
  package let file: PositionalFile
  package let header: SafetensorsHeader

  package var files: [String] { [file.path] }
  package var fileByteCounts: [UInt64] { [file.byteCount] }
  package var tensors: [TensorDescriptor] { header.tensors }

  /// Opens the file and checks its header; no weight is read.
  package init(_ path: String) throws(FormatError) {
    file = try PositionalFile(path)
    header = try SafetensorsHeader(file)
  }

  package func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    try file.read(tensor, at: byteOffset, into: buffer)
  }

  package func prefetch(_ tensor: TensorDescriptor, at byteOffset: Int, byteCount: Int) {
    file.prefetch(tensor, at: byteOffset, byteCount: byteCount)
  }

  package func checkUnchanged() throws(FormatError) { try file.checkUnchanged() }
}

extension PositionalFile {
  /// Fills `buffer` from the one region of a safetensors tensor.
  ///
  /// - Precondition: the range lies inside the tensor.
  func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    let region = tensor.regions[0]
    precondition(byteOffset >= 0 && byteOffset <= region.byteCount - buffer.count)
    try read(
      at: region.fileOffset + UInt64(byteOffset), into: buffer, field: tensor.name.string)
  }

  /// Hints that a range of a safetensors tensor will be read soon.
  func prefetch(_ tensor: TensorDescriptor, at byteOffset: Int, byteCount: Int) {
    prefetch(at: tensor.regions[0].fileOffset + UInt64(byteOffset), byteCount: byteCount)
  }
}
