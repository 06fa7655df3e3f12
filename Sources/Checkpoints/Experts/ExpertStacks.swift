import ByteIO
import Tensors

/// A checkpoint whose experts are stacked, one tensor `[experts, rows, columns]` for each matrix of a
/// layer, however its files store them.
///
/// A read gathers what it needs; of what is transposed, a strip is held where that is allowed.
/// Source: formats/architectures/experts.tsv
package struct ExpertStacks: TensorSource {
  private let source: any TensorSource
  private let stacks: [ExactString: ExpertStack]
  private let held = HeldStrips()
  package let tensors: [TensorDescriptor]

  package var files: [String] { source.files }
  package var fileByteCounts: [UInt64] { source.fileByteCounts }

  /// - Throws: `FormatError` where an expert is missing, or experts of one matrix differ.
  package init(_ source: any TensorSource) throws(FormatError) {
    self.source = source
    var tensors: [TensorDescriptor] = []
    var stacks: [ExactString: ExpertStack] = [:]
    var separate: [ExactString: [Int: TensorDescriptor]] = [:]
    var order: [ExactString] = []
    for tensor in source.tensors {
      guard let match = ExpertForm.Match(tensor.name) else {
        tensors.append(tensor)
        continue
      }
      for form in match.forms {
        let name = ExactString(match.prefix + form.stack)
        if form.layout == .oneExpert {
          if separate[name] == nil { order.append(name) }
          separate[name, default: [:]][match.expert ?? 0] = tensor
        } else {
          let stack = try Self.transposed(tensor, name: name, form.layout, source)
          guard stacks.updateValue(stack, forKey: name) == nil else {
            throw Self.error(source, tensor, .duplicate("of experts that the checkpoint holds too"))
          }
          tensors.append(stack.descriptor)
        }
      }
    }
    for name in order {
      let stack = try Self.joined(separate[name] ?? [:], name: name, source)
      guard stacks.updateValue(stack, forKey: name) == nil else {
        throw Self.error(
          source, stack.descriptor, .duplicate("of experts that the checkpoint holds stacked, too"))
      }
      tensors.append(stack.descriptor)
    }
    self.stacks = stacks
    self.tensors = tensors
  }

  private static func error(
    _ source: any TensorSource, _ tensor: TensorDescriptor, _ reason: FormatError.Reason
  ) -> FormatError {
    let region = tensor.regions.first
    return FormatError(
      file: region.map { source.files[$0.file] } ?? source.files.first ?? "checkpoint",
      fileOffset: region?.fileOffset, field: printable(tensor.name.string, limit: 120),
      reason: reason)
  }

  private static func transposed(
    _ tensor: TensorDescriptor, name: ExactString, _ layout: ExpertForm.Layout,
    _ source: any TensorSource
  ) throws(FormatError) -> ExpertStack {
    let isHalf = layout != .transposed
    let dimensions = tensor.shape.dimensions
    guard dimensions.count == 3, !isHalf || dimensions[2] % 2 == 0 else {
      throw error(
        source, tensor,
        .outOfRange(
          found: "shape \(printable("\(tensor.shape)", limit: 80))",
          allowed: isHalf ? "[experts, columns, 2 × rows]" : "[experts, columns, rows]"))
    }
    guard !tensor.type.isBlockType else {
      throw error(
        source, tensor, .unsupported(found: "type \(tensor.type)", allowed: "one weight at a time"))
    }
    let rows = isHalf ? dimensions[2] / 2 : dimensions[2]
    return ExpertStack(
      transposed: tensor, first: layout == .secondHalf ? rows : 0,
      descriptor: TensorDescriptor(
        name: name, shape: Shape([dimensions[0], rows, dimensions[1]]), type: tensor.type,
        regions: tensor.regions))
  }

  private static func joined(
    _ experts: [Int: TensorDescriptor], name: ExactString, _ source: any TensorSource
  ) throws(FormatError) -> ExpertStack {
    let numbers = experts.keys.sorted()
    let parts = numbers.compactMap { experts[$0] }
    let first = parts[0]
    if let gap = numbers.indices.first(where: { numbers[$0] != $0 }) {
      throw FormatError(
        file: first.regions.first.map { source.files[$0.file] } ?? "checkpoint",
        field: printable(name.string, limit: 120),
        reason: .missing(
          "expert \(gap); the last one there is \(numbers[numbers.count - 1])"))
    }
    for part in parts.dropFirst() where part.type != first.type || part.shape != first.shape {
      throw error(
        source, part,
        .inconsistent(
          "is \(part.type) \(part.shape), \(first.name) is \(first.type) \(first.shape)"))
    }
    let shape = Shape([parts.count] + first.shape.dimensions)
    guard first.shape.rank == 2, let count = shape.checkedElementCount,
      first.type.byteCount(weightCount: count) != nil
    else {
      throw error(
        source, first,
        .outOfRange(
          found: "\(parts.count) experts of \(first.shape)", allowed: "matrices that fit 63 bits"))
    }
    return ExpertStack(
      parts,
      descriptor: TensorDescriptor(
        name: name, shape: shape, type: first.type, regions: parts.flatMap(\.regions)))
  }

  // MARK: TensorSource

  package func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    guard !buffer.isEmpty else { return }
    if let stack = stacks[tensor.name] {
      try stack.read(source, held, at: byteOffset, into: buffer)
    } else {
      try source.read(tensor, at: byteOffset, into: buffer)
    }
  }

  package func prefetch(_ tensor: TensorDescriptor, at byteOffset: Int, byteCount: Int) {
    if let stack = stacks[tensor.name] {
      stack.prefetch(source, at: byteOffset, byteCount: byteCount)
    } else {
      source.prefetch(tensor, at: byteOffset, byteCount: byteCount)
    }
  }

  package func rowsReadTogether(_ tensor: TensorDescriptor) -> Int {
    stacks[tensor.name]?.rowsReadTogether ?? source.rowsReadTogether(tensor)
  }

  package func heldByteLimit(threadCount: Int) -> Int {
    source.heldByteLimit(threadCount: threadCount)
      + (stacks.isEmpty ? 0 : threadCount * StridedView.scratchByteCount)
  }

  package func hold(upTo byteCount: Int) {
    held.byteLimit.store(byteCount, ordering: .relaxed)
    source.hold(upTo: byteCount)
  }

  package func checkUnchanged() throws(FormatError) { try source.checkUnchanged() }
}
