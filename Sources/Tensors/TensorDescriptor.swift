import ByteIO

/// A tensor as its file's header describes it: checked against the file, data not read.
public struct TensorDescriptor: Hashable, Sendable {
  public var name: ExactString
  public var shape: Shape
  public var type: TensorType
  /// Product of the dimensions.
  public var elementCount: Int
  /// Bytes of the data as `TensorSource.read` delivers it: row-major, without gaps.
  public var byteCount: Int
  /// Where the bytes lie, for plans and reports; several when the tensor is joined from shards.
  public var regions: [Region]

  /// A range of one file.
  public struct Region: Hashable, Sendable {
    /// Index into `TensorSource.files`.
    public var file: Int
    public var fileOffset: UInt64
    public var byteCount: Int

    public init(file: Int, fileOffset: UInt64, byteCount: Int) {
      self.file = file
      self.fileOffset = fileOffset
      self.byteCount = byteCount
    }
  }

  /// - Precondition: the shape's element count does not overflow and fills whole blocks; a reader
  ///   checks this first and throws.
  public init(name: ExactString, shape: Shape, type: TensorType, regions: [Region]) {
    guard let elementCount = shape.checkedElementCount,
      let byteCount = type.byteCount(weightCount: elementCount)
    else { preconditionFailure("unchecked shape \(shape) of \(name)") }
    self.name = name
    self.shape = shape
    self.type = type
    self.elementCount = elementCount
    self.byteCount = byteCount
    self.regions = regions
  }

  public var columnCount: Int { shape.columnCount }
  /// Rows over all leading dimensions.
  public var rowCount: Int { columnCount == 0 ? 0 : elementCount / columnCount }
  /// Bytes of one row; exact for every type, because readers refuse rows of partial blocks.
  public var bytesPerRow: Int { rowCount == 0 ? 0 : byteCount / rowCount }
}

/// Something that holds named tensors: a checkpoint directory, a file, an archive.
///
/// Readers of strange layouts (strides, model-parallel shards, quantized releases) hide them here:
/// `read` always delivers the logical tensor, row-major, in the descriptor's type.
public protocol TensorSource: Sendable {
  /// Paths of all files that tensors lie in.
  var files: [String] { get }
  /// Sizes of those files when they were opened.
  var fileByteCounts: [UInt64] { get }
  /// In the order of the files.
  var tensors: [TensorDescriptor] { get }

  /// Fills `buffer` with the bytes of `tensor` from `byteOffset` on. Safe from any thread.
  func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError)

  /// Fills `buffer` with runs of the bytes of `tensor`, one behind the other; `buffer` holds exactly
  /// these. Safe from any thread.
  func read(
    _ tensor: TensorDescriptor, runs: ByteRuns, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError)

  /// Hints that a range of `tensor` will be read soon.
  func prefetch(_ tensor: TensorDescriptor, at byteOffset: Int, byteCount: Int)

  /// Neighbouring rows of `tensor` that are cheapest to read together.
  func rowsReadTogether(_ tensor: TensorDescriptor) -> Int

  /// Most bytes that `read` holds beside the buffers of its callers.
  func heldByteLimit(threadCount: Int) -> Int

  /// Allows reads to keep so many bytes more, where that spares reading the same again and again.
  func hold(upTo byteCount: Int)

  /// Throws when a file is no longer what it was when it was opened.
  func checkUnchanged() throws(FormatError)
}

extension TensorSource {
  public func read(
    _ tensor: TensorDescriptor, runs: ByteRuns, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    try readEach(tensor, runs, into: buffer)
  }

  /// Reads run by run.
  public func readEach(
    _ tensor: TensorDescriptor, _ runs: ByteRuns, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    for index in 0..<runs.count {
      try read(tensor, at: runs.start(of: index), into: runs.place(of: index, in: buffer))
    }
  }

  public func heldByteLimit(threadCount: Int) -> Int { 0 }
  public func hold(upTo byteCount: Int) {}
  public func rowsReadTogether(_ tensor: TensorDescriptor) -> Int { 1 }
  public func prefetch(_ tensor: TensorDescriptor, at byteOffset: Int, byteCount: Int) {}
}
