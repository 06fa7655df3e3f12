import ByteIO
import GGUF

/// Opens the input and plans the conversion, from headers alone.
///
/// - Parameters:
///   - checkpoint: directory or file.
///   - output: path of the archive; `nil` writes none.
///   - projector: what to write of a vision tower; `nil` for nothing.
///   - recipe: what the user asks for.
///   - memoryLimit: files that planning has to hold are refused when they alone exceed it.
///   - version: stored in the archive.
/// - Returns: the plan, and what carrying it out needs besides.
/// - Throws: `FormatError` about the input, `UsageError` about the recipe.
package func makePlan(
  checkpoint: String, output: String?, projector: ProjectorOutput? = nil, recipe: Recipe,
  memoryLimit: UInt64, version: String
) throws -> (plan: ConversionPlan, inputs: PlannedInputs) {
  guard let output else {
    guard let projector else { throw UsageError("nothing to write: give -o FILE") }
    return try makePlan(
      checkpoint: checkpoint, projector: projector, recipe: recipe, version: version)
  }
  try checkHeldFiles(checkpoint: checkpoint, recipe: recipe, memoryLimit: memoryLimit)
  var builder = try PlanBuilder(
    model: try InputModel(checkpoint, projector: projector, recipe: recipe, version: version),
    recipe: recipe, importance: try ImportanceMatrix(of: recipe), output: output, version: version)
  let (plan, metadata) = try builder.build()
  return (
    plan,
    PlannedInputs(
      source: builder.model.source, importance: builder.importance?.entries ?? [:],
      expertCounts: builder.importance?.expertCounts ?? [:],
      allowsNonFinite: recipe.allowsNonFinite, files: builder.inputFiles, metadata: metadata,
      recipe: recipe, projector: projector)
  )
}

/// Plans the conversion of one input in several mixes, all else as a recipe says.
///
/// - Parameters:
///   - checkpoint: directory or file; opened once.
///   - output: as of `makePlan`.
///   - recipe: what the user asks for besides.
///   - mixes: names of stock mixes.
///   - memoryLimit: as of `makePlan`.
///   - version: stored in the archive.
/// - Returns: in the order of `mixes`; `nil` for one that cannot be made, for want of importance.
/// - Throws: `FormatError` about the input.
package func makePlans(
  checkpoint: String, output: String, recipe: Recipe, mixes: [String], memoryLimit: UInt64,
  version: String
) throws -> [ConversionPlan?] {
  try checkHeldFiles(checkpoint: checkpoint, recipe: recipe, memoryLimit: memoryLimit)
  let model = try InputModel(checkpoint, projector: nil, recipe: recipe, version: version)
  let importance = try ImportanceMatrix(of: recipe)
  return try mixes.map { name in
    var recipe = recipe
    recipe.type = name
    recipe.title = nil
    do {
      var builder = try PlanBuilder(
        model: model, recipe: recipe, importance: importance, output: output, version: version)
      return try builder.build().plan
    } catch is UsageError {
      return nil
    } catch let error as FormatError where error.file == importance?.file {
      return nil
    }
  }
}

extension InputModel {
  /// Opens an input of any kind.
  fileprivate init(
    _ path: String, projector: ProjectorOutput?, recipe: Recipe, version: String
  ) throws {
    switch try InputKind(path) {
    case .archive where projector != nil: throw OpenedCheckpoint.noTower(path)
    case .archive: try self.init(archive: path, recipe: recipe)
    case .directory, .safetensors, .pytorch:
      try self.init(checkpoint: path, projector: projector, recipe: recipe, version: version)
    }
  }
}

/// Refuses files that are read whole and do not fit the memory limit, before reading them.
private func checkHeldFiles(checkpoint: String, recipe: Recipe, memoryLimit: UInt64) throws {
  let tokenizers = ["tokenizer.json", "tokenizer.model"].map { checkpoint + "/" + $0 }
  for path in tokenizers + [recipe.importanceFile].compactMap({ $0 }) {
    // What is not there, or no file, is reported by whoever needs it.
    guard let file = try? PositionalFile(path), file.byteCount > memoryLimit / 2 else { continue }
    throw UsageError(
      "--memory-limit \(memoryLimit) bytes is too small to read \(printable(path)), "
        + "which has \(file.byteCount) bytes")
  }
}
