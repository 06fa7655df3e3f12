import Tensors

/// Sizes that come from a file or a user stop growing here: 256 TiB fit no memory.
///
/// The bound leaves room to add up every tensor of the largest model without overflow.
private let sizeLimit = 1 << 48

/// The product of counts, at most 256 TiB.
func boundedProduct(_ factors: Int...) -> Int {
  var product = 1
  for factor in factors {
    let (next, overflow) = product.multipliedReportingOverflow(by: max(0, factor))
    product = overflow ? sizeLimit : min(next, sizeLimit)
  }
  return product
}

/// `count`, at most 256 TiB, rounded up to a multiple of `multiple`.
func padded(_ count: Int, to multiple: Int) -> Int {
  (min(count, sizeLimit) + multiple - 1) / multiple * multiple
}

/// Bytes of `weightCount` weights of whole blocks, at most 256 TiB.
func boundedByteCount(_ type: TensorType, weightCount: Int) -> Int {
  min(type.byteCount(weightCount: weightCount) ?? sizeLimit, sizeLimit)
}
