/// Which record of a file holds the entries of one tensor, and how they lie in the file.
struct StorageView: Hashable, Sendable {
  let record: Int
  let entries: StridedView

  /// - Precondition: the view lies inside its storage, which the pickle reader checks.
  init(_ tensor: PickledTensor, record: Int, recordOffset: UInt64) {
    self.record = record
    let width = tensor.type.bytesPerBlock
    // Nothing bounds where an empty tensor says it is.
    let isEmpty = tensor.shape.dimensions.contains(0)
    entries = StridedView(
      start: recordOffset + UInt64(isEmpty ? 0 : tensor.firstElement * width),
      bytesPerElement: width, dimensions: tensor.shape.dimensions,
      // Of a dimension with one entry the stride may be anything.
      strides: zip(tensor.shape.dimensions, tensor.strides).map { dimension, stride in
        isEmpty || dimension == 1 ? 0 : stride * width
      })
  }
}
