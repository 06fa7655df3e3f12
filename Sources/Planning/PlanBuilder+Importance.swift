import ByteIO
import GGUF
import Tensors

extension PlanBuilder {
  /// One line for all tensors that the importance matrix does not cover.
  func noteMissingImportance(_ tensors: [ConversionPlan.Tensor], _ notes: inout [String]) {
    guard options.hasImportance else { return }
    let names = tensors.filter {
      $0.type.isBlockType && !$0.isPlainCopy && $0.importance == nil
    }.map { printable($0.name.string) }
    // Hardly any matrix covers embedding and output: that is no sign of the wrong one.
    let usual: Set = ["token_embd.weight", "output.weight"]
    guard names.contains(where: { !usual.contains($0) }) else { return }
    let quantizedCount = tensors.count { $0.type.isBlockType && !$0.isPlainCopy }
    let shown = names.prefix(4).joined(separator: ", ") + (names.count > 4 ? ", …" : "")
    notes.append(
      "\(names.count) of \(quantizedCount) quantized tensors have no importance (\(shown)): "
        + "does the matrix belong to this model?")
  }

  /// Name of the importance entry for a tensor, checked against its shape.
  func importanceEntry(
    _ tensor: InputModel.Tensor, _ assignment: TypeAssignment, notes: inout [String]
  ) throws -> ExactString? {
    let isQuantized = assignment.type.isBlockType && tensor.storedType != assignment.type
    guard isQuantized || recipe.isDraft && assignment.isQuantizable else { return nil }
    guard let importance, options.hasImportance else {
      if recipe.isDraft { return nil }
      switch need(assignment) {
      case .never: break
      case .advised:
        notes.append(
          "\(assignment.type.name) (tensor \(tensor.name)) is much worse without --imatrix FILE")
      case .always, .inMix:
        throw UsageError(type: assignment.type, needsImportanceFor: tensor.name)
      }
      return nil
    }
    let name = tensor.expert?.stack ?? tensor.name
    guard let values = importance.entries[name] else {
      guard need(assignment) == .never else {
        throw FormatError(
          file: importance.file, field: tensor.name.string,
          reason: .missing("an entry, and \(assignment.type.name) needs one"),
          advice: "choose another type for it with --tensor-type or --embedding-type")
      }
      return nil
    }
    let expertCount = tensor.shape.dimensions.dropLast(2).reduce(1, *)
    let columns = tensor.shape.columnCount
    let needed = columns * expertCount
    // An expert's own matrix takes its part of the stack's.
    let fits =
      tensor.expert.map {
        values.count == columns * model.facts.expertCount && $0.index < model.facts.expertCount
      } ?? (values.count == needed)
    guard fits else {
      // llama-imatrix counts look-ups of the embedding, not columns; the reference skips it too.
      if tensor.name == "token_embd.weight", need(assignment) == .never { return nil }
      throw FormatError(
        file: importance.file, field: tensor.name.string,
        reason: .inconsistent("has \(values.count) values, the tensor needs \(needed)"),
        advice: "the importance matrix belongs to another model")
    }
    return name
  }

  /// Whether a tensor's type needs importance: because the quantizer is not defined without, or
  /// because the reference refuses to make it.
  private func need(_ assignment: TypeAssignment) -> OutputType.ImportanceNeed {
    let need = OutputType(assignment.type)?.importanceNeed ?? .never
    return need == .always || assignment.requiresImportance ? need : .never
  }
}

extension UsageError {
  /// About a type that is not made without importance.
  package init(type: TensorType, needsImportanceFor tensor: ExactString) {
    self.init(
      "\(type.name) (tensor \(tensor)) needs an importance matrix; "
        + "make one with 'ingot calibrate' and pass --imatrix FILE")
  }
}

extension ImportanceMatrix {
  /// The one that a recipe names, without what it leaves out; `nil` where it names none.
  init?(of recipe: Recipe) throws {
    guard let path = recipe.importanceFile else { return nil }
    self = try ImportanceMatrix(path)
      .filtered(including: recipe.includedWeights, excluding: recipe.excludedWeights)
  }
}
