import ByteIO
import Checkpoints
import Tensors

/// Plans to write a vision tower alone.
func makePlan(
  checkpoint: String, projector: ProjectorOutput, recipe: Recipe, version: String
) throws -> (plan: ConversionPlan, inputs: PlannedInputs) {
  if case .archive = try InputKind(checkpoint) { throw OpenedCheckpoint.noTower(checkpoint) }
  if try MetaDirectory.folder(of: checkpoint) != nil { throw OpenedCheckpoint.noTower(checkpoint) }
  let opened = try OpenedCheckpoint(checkpoint)
  let tower = try InputProjector(projector, opened, recipe: recipe, version: version)
  var plan = ConversionPlan(
    tensors: [], recipe: tower.type.name, inputs: opened.source.files, notes: opened.notes)
  try tower.add(to: &plan)
  let files = InputFiles(paths: opened.source.files, folder: opened.folder)
  try plan.checkOutputs(against: files)
  return (
    plan,
    PlannedInputs(
      source: opened.source, importance: [:], expertCounts: [:],
      allowsNonFinite: recipe.allowsNonFinite,
      files: files, metadata: tower.metadata, recipe: recipe, projector: projector)
  )
}

extension ConversionPlan {
  /// Refuses to write over an input, or two archives to one place.
  func checkOutputs(against inputs: InputFiles) throws(UsageError) {
    for (index, output) in outputs.enumerated() {
      if inputs.contains(output.path) {
        throw UsageError("the output \(printable(output.path)) is also an input")
      }
      if output.kind == .mmproj,
        outputs[..<index].contains(where: { OutputFile.isSamePlace($0.path, output.path) })
      {
        throw UsageError("--mmproj \(printable(output.path)) is also the archive")
      }
    }
  }
}
