import ByteIO
import Tensors

/// How archives name a matrix of one expert, where every expert has a type of its own.
///
///     blk.N.ffn_gate_exps.weight      [experts, rows, columns]
///     blk.N.ffn_gate.E.weight         [rows, columns], for every expert E
///
/// Source: formats/split-experts.md
package enum SplitExperts {
  /// Metadata of an archive with such tensors, a boolean.
  package static let key: ExactString = "ingot.experts.split"

  private static let matrices = ["ffn_gate", "ffn_up", "ffn_down"]

  /// The layer's part and the matrix of a stacked tensor's name; `nil` for any other name.
  private static func stackedParts(_ name: ExactString) -> (layer: Substring, matrix: Substring)? {
    let parts = name.string.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4, parts[0] == "blk", number(parts[1]) != nil, parts[3] == "weight",
      parts[2].hasSuffix("_exps"), matrices.contains(String(parts[2].dropLast(5)))
    else { return nil }
    return (parts[1], parts[2].dropLast(5))
  }

  /// Name of an expert's own matrix; `nil` where the name is not that of stacked experts.
  package static func name(_ stacked: ExactString, expert: Int) -> ExactString? {
    stackedParts(stacked).map { ExactString("blk.\($0.layer).\($0.matrix).\(expert).weight") }
  }

  /// The stack that an expert's own matrix belongs to, and which it is in it.
  package static func stack(of name: ExactString) -> (name: ExactString, expert: Int)? {
    let parts = name.string.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 5, parts[0] == "blk", number(parts[1]) != nil, parts[4] == "weight",
      matrices.contains(String(parts[2])), let expert = number(parts[3])
    else { return nil }
    return (ExactString("blk.\(parts[1]).\(parts[2])_exps.weight"), expert)
  }

  /// The same for any tensor: one that is no expert's is a stack of its own.
  package static func place(of name: ExactString) -> (stack: ExactString, expert: Int) {
    stack(of: name).map { ($0.name, $0.expert) } ?? (name, 0)
  }

  /// Finds the stacks whose experts lie singly.
  ///
  /// - Parameters:
  ///   - tensors: of an archive.
  ///   - expertCount: what its metadata say; `nil` where they say nothing.
  ///   - file: for errors.
  /// - Returns: the experts of each in their order, one at least; stacks as they are met.
  /// - Throws: `FormatError` when experts of a stack are missing, differ in shape, or are there stacked
  ///   as well.
  static func stacks(of tensors: [TensorDescriptor], expertCount: Int?, file: String)
    throws(FormatError) -> [(name: ExactString, experts: [TensorDescriptor])]
  {
    var plain: Set<ExactString> = []
    var found: [ExactString: [Int: TensorDescriptor]] = [:]
    var order: [ExactString] = []
    for tensor in tensors {
      guard let stack = stack(of: tensor.name) else {
        plain.insert(tensor.name)
        continue
      }
      if found[stack.name] == nil { order.append(stack.name) }
      found[stack.name, default: [:]][stack.expert] = tensor
    }
    var result: [(name: ExactString, experts: [TensorDescriptor])] = []
    for stack in order {
      let experts = found[stack] ?? [:]
      let count = max(0, min(expertCount ?? experts.count, experts.count + 1))
      let list = (0..<count).compactMap { experts[$0] }
      guard list.count == count, count == experts.count, let first = list.first else {
        let gap = (0..<count).first { experts[$0] == nil } ?? count
        throw FormatError(
          file: file, field: "tensor \(name(stack, expert: gap) ?? stack)",
          reason: .missing("an expert, of which others are there"))
      }
      if let other = list.first(where: { $0.shape != first.shape }) {
        throw FormatError(
          file: file, field: "tensor \(other.name)",
          reason: .inconsistent("has shape \(other.shape), another expert \(first.shape)"))
      }
      guard !plain.contains(stack) else {
        throw FormatError(
          file: file, field: "tensor \(stack)",
          reason: .duplicate("of experts that are there singly"))
      }
      result.append((stack, list))
    }
    return result
  }

  /// Digits without a leading zero.
  private static func number(_ text: Substring) -> Int? {
    let digits = text.utf8
    guard (1...6).contains(digits.count), digits.count == 1 || digits.first != UInt8(ascii: "0"),
      digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
    else { return nil }
    return Int(text)
  }
}

extension InputModel {
  /// Makes a tensor of every expert's matrix, so that each may have a type of its own.
  ///
  /// - Parameter isAsked: a model without experts is refused.
  /// - Throws: `UsageError` then; `FormatError` for a stack of another size than the model says.
  mutating func splitExperts(isAsked: Bool) throws {
    var result: [Tensor] = []
    for tensor in tensors {
      guard tensor.shape.rank == 3, SplitExperts.name(tensor.name, expert: 0) != nil else {
        result.append(tensor)
        continue
      }
      guard tensor.shape.dimensions[0] == facts.expertCount else {
        throw FormatError(
          file: facts.file, field: "tensor \(tensor.sourceName ?? tensor.name)",
          reason: .inconsistent(
            "has \(tensor.shape.dimensions[0]) experts, the model \(facts.expertCount)"))
      }
      let shape = Shape(Array(tensor.shape.dimensions.dropFirst()))
      for expert in 0..<tensor.shape.dimensions[0] {
        guard let name = SplitExperts.name(tensor.name, expert: expert) else { continue }
        var part = tensor
        part.name = name
        part.shape = shape
        part.expert = (tensor.name, expert)
        part.firstSourceRow = expert * shape.dimensions[0]
        // Blocks of a quantized release are carried over for whole tensors only.
        part.blockType = nil
        result.append(part)
      }
    }
    let hasExperts = result.contains { SplitExperts.stack(of: $0.name) != nil }
    guard hasExperts || !isAsked else {
      throw UsageError("--experts split needs a model with experts")
    }
    tensors = result
  }
}
