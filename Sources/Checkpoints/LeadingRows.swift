import ByteIO
import Tensors

/// A checkpoint of one of whose matrices only the first rows count.
package struct LeadingRows: TensorSource {
  private let source: any TensorSource
  private let whole: TensorDescriptor?
  package let tensors: [TensorDescriptor]

  package var files: [String] { source.files }
  package var fileByteCounts: [UInt64] { source.fileByteCounts }

  /// Leaves a matrix of another number of rows as it is, for whoever checks its shape.
  ///
  /// - Parameters:
  ///   - source: holds the tensors.
  ///   - names: of which one is the matrix's.
  ///   - rowCount: of those that count.
  ///   - count: of all rows.
  package init(_ source: any TensorSource, of names: Set<ExactString>, rowCount: Int, of count: Int)
  {
    self.source = source
    var tensors = source.tensors
    let index = tensors.firstIndex {
      names.contains($0.name) && $0.shape.rank == 2 && $0.shape.dimensions.first == count
    }
    whole = index.map { tensors[$0] }
    if let index, let whole {
      // No fewer bytes than a row has are left of it, so the shape is still a checked one.
      tensors[index] = TensorDescriptor(
        name: whole.name, shape: Shape([rowCount, whole.columnCount]), type: whole.type,
        regions: whole.regions)
    }
    self.tensors = tensors
  }

  private func original(_ tensor: TensorDescriptor) -> TensorDescriptor {
    if let whole, whole.name == tensor.name { whole } else { tensor }
  }

  package func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    try source.read(original(tensor), at: byteOffset, into: buffer)
  }

  package func prefetch(_ tensor: TensorDescriptor, at byteOffset: Int, byteCount: Int) {
    source.prefetch(original(tensor), at: byteOffset, byteCount: byteCount)
  }

  package func rowsReadTogether(_ tensor: TensorDescriptor) -> Int {
    source.rowsReadTogether(original(tensor))
  }

  package func heldByteLimit(threadCount: Int) -> Int {
    source.heldByteLimit(threadCount: threadCount)
  }

  package func read(
    _ tensor: TensorDescriptor, runs: ByteRuns, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    try source.read(original(tensor), runs: runs, into: buffer)
  }

  package func hold(upTo byteLimit: Int) { source.hold(upTo: byteLimit) }

  package func checkUnchanged() throws(FormatError) { try source.checkUnchanged() }
}
