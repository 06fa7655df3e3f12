import Fitting
import StrictJSON

/// A recipe with the types that were chosen.
public struct FittedRecipe: Sendable {
  public var recipe: Recipe
  package var fit: Fit
  /// With any types: names, shapes and what was not to be chosen.
  package var plan: ConversionPlan
  /// Whether a text was read.
  public var isMeasured: Bool
  /// Where it was fitted to a memory.
  package var memory: MemoryReport?

  /// What `--recipe` reads.
  public var json: String {
    var file = RecipeFile(
      title: recipe.title ?? "", experts: recipe.expertStorage ?? .stacked, types: recipe.types)
    file.expectedDivergence = recipe.expectedDivergence
    file.hasImportance = recipe.typesHaveImportance
    file.totals = totals
    return file.json
  }

  /// Writes the recipe; a file that was there is replaced when the new one is whole.
  public func write(_ path: String) throws(OutputError) {
    try OutputFile.write(Array((json + "\n").utf8), to: path)
  }

  /// One line for people.
  public var text: String {
    let share = Double(fit.byteCount) / Double(max(1, fit.byteLimit)) * 100
    let how =
      isMeasured
      ? "expected mean KL divergence \(significant(fit.expectedDivergence, 3)) nats" + givenPart
      : "chosen by errors of weights and a table of what usually matters"
    return "\(recipe.title ?? ""): types chosen for \(fit.unitCount) tensors, \(fit.byteCount) of "
      + "\(fit.byteLimit) bytes (\(fixed(share, 2)) %), \(how)"
      + (fit.gap > 0 ? ", at most \(fixed(fit.gap * 100, 3)) % above the best" : "")
  }

  /// What a run on the hardware takes, where the types were chosen for one.
  public var memoryLines: [String] {
    (memory?.table.split(separator: "\n").map(String.init) ?? []) + [slowLine].compactMap { $0 }
  }

  /// Types that are slow on the hardware that was named.
  private var slowLine: String? {
    guard let memory else { return nil }
    let kind = memory.hardware.kind
    let slow = SlowTypes.slow(on: kind)
    let names = Set(recipe.types.values).filter(slow.contains).map(\.name).sorted()
    guard !names.isEmpty else { return nil }
    return
      "\(names.joined(separator: ", ")): slow on \(kind.rawValue) beside others of their size; "
      + "--fast-on \(kind.rawValue) leaves such types out"
  }

  /// What options cost, which no choice could help.
  private var givenPart: String {
    fit.givenDivergence > 0
      ? ", \(significant(fit.givenDivergence, 3)) of it by types that options gave" : ""
  }

  private var totals: [TypeTotal] {
    TypeTotal.list(
      plan.tensors.map { tensor in
        let type = recipe.types[tensor.name] ?? tensor.type
        return (
          type, UInt64(tensor.elementCount),
          UInt64(type.byteCount(weightCount: tensor.elementCount) ?? 0)
        )
      })
  }

  /// The line, and a table of types.
  public var report: String {
    ([text] + TypeTotal.table(totals) + memoryLines).joined(separator: "\n")
  }

  /// The same as stable JSON, with every tensor's type.
  public var reportJSON: String {
    var writer = JSONWriter()
    writer.object { json in
      json.key("recipe")
      json.value(recipe.title)
      json.key("bytes")
      json.value(fit.byteCount)
      json.key("byteLimit")
      json.value(fit.byteLimit)
      json.key("expectedDivergence")
      if isMeasured { json.value(fit.expectedDivergence) } else { json.null() }
      json.key("gap")
      json.value(fit.gap)
      json.key("experts")
      json.value((recipe.expertStorage ?? .stacked).rawValue)
      json.key("types")
      TypeTotal.write(totals, to: &json)
      if let memory {
        json.key("memory")
        memory.write(to: &json)
      }
      json.key("tensors")
      json.array { json in
        for tensor in plan.tensors {
          let type = recipe.types[tensor.name] ?? tensor.type
          json.object { json in
            json.key("name")
            json.value(tensor.name.string)
            json.key("type")
            json.value(type.name)
            json.key("bytes")
            json.value(type.byteCount(weightCount: tensor.elementCount) ?? 0)
            json.key("chosen")
            json.value(recipe.types[tensor.name] != nil)
          }
        }
      }
    }
    return writer.text
  }
}
