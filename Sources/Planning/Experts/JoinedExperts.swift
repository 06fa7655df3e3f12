import ByteIO
import GGUF
import Quantizers
import Tensors

/// An archive with a tensor for every expert, seen as one with stacked experts.
///
/// Experts of one type are put one behind the other as they lie. Where types differ, the stack is
/// one of F32.
struct JoinedExperts: TensorSource {
  let files: [String]
  let fileByteCounts: [UInt64]
  let tensors: [TensorDescriptor]
  private let base: any TensorSource
  /// Experts of the stacks, by name.
  private let parts: [ExactString: [TensorDescriptor]]

  /// - Parameters:
  ///   - base: the archive.
  ///   - expertCount: what its metadata say; `nil` where they say nothing.
  ///   - file: for errors.
  /// - Throws: `FormatError` when experts of a stack are missing, or differ in shape.
  init(_ base: any TensorSource, expertCount: Int?, file: String) throws(FormatError) {
    self.base = base
    files = base.files
    fileByteCounts = base.fileByteCounts
    var tensors = base.tensors.filter { SplitExperts.stack(of: $0.name) == nil }
    var parts: [ExactString: [TensorDescriptor]] = [:]
    for (name, list) in try SplitExperts.stacks(
      of: base.tensors, expertCount: expertCount, file: file)
    {
      guard let first = list.first else { continue }
      let shape = Shape([list.count] + first.shape.dimensions)
      let type = list.allSatisfy { $0.type == first.type } ? first.type : .f32
      guard let count = shape.checkedElementCount, type.byteCount(weightCount: count) != nil,
        list.allSatisfy({ KernelTable.scalar.canDequantize($0.type) })
      else {
        throw FormatError(
          file: file, field: "tensor \(name)",
          reason: .unsupported(found: "experts of these types", allowed: "float and block types"))
      }
      tensors.append(
        TensorDescriptor(name: name, shape: shape, type: type, regions: list.flatMap(\.regions)))
      parts[name] = list
    }
    self.tensors = tensors
    self.parts = parts
  }

  /// Whether experts of several types make up this stack.
  func isMixed(_ name: ExactString) -> Bool {
    guard let list = parts[name], let first = list.first else { return false }
    return list.contains { $0.type != first.type }
  }

  func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    guard let list = parts[tensor.name] else {
      return try base.read(tensor, at: byteOffset, into: buffer)
    }
    let expertByteCount = tensor.byteCount / list.count
    var done = 0
    while done < buffer.count {
      let (expert, offset) = (byteOffset + done).quotientAndRemainder(dividingBy: expertByteCount)
      let count = min(buffer.count - done, expertByteCount - offset)
      let target = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
      if list[expert].type == tensor.type {
        try base.read(list[expert], at: offset, into: target)
      } else {
        try dequantize(list[expert], at: offset, into: target)
      }
      done += count
    }
  }

  /// Reads weights from the byte on that they have in F32.
  private func dequantize(
    _ tensor: TensorDescriptor, at byteOffset: Int, into target: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    let type = tensor.type
    let unit = type.weightsPerBlock
    let (first, end) = (byteOffset / 4, (byteOffset + target.count + 3) / 4)
    let blocks = first / unit..<(end + unit - 1) / unit
    let stored = UnsafeMutableRawBufferPointer.allocate(
      byteCount: blocks.count * type.bytesPerBlock, alignment: 64)
    defer { stored.deallocate() }
    try base.read(tensor, at: blocks.lowerBound * type.bytesPerBlock, into: stored)
    let values = UnsafeMutablePointer<Float>.allocate(capacity: blocks.count * unit)
    defer { values.deallocate() }
    guard let source = stored.baseAddress else { return }
    KernelTable.scalar.dequantize(
      type, blocks: source, weightCount: blocks.count * unit, into: values)
    let skipped = byteOffset - blocks.lowerBound * unit * 4
    target.copyMemory(
      from: UnsafeRawBufferPointer(
        start: UnsafeRawPointer(values) + skipped, count: target.count))
  }

  func checkUnchanged() throws(FormatError) { try base.checkUnchanged() }
}
