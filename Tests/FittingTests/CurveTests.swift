import ByteIO
import Fitting
import Ingot
import StrictJSON
import Tensors
import TestSupport
import Testing

private let llama3 = Fixtures.path("models/llama3")
private let imatrix = Fixtures.path("models/imatrix/llama3.gguf")

private func fitter(
  _ checkpoint: String = llama3, importance: String? = imatrix, target: FitTarget? = nil,
  text: (path: String, context: Int, chunks: Int)? = nil, experts: ExpertStorage? = nil,
  measurements: String? = nil
) throws -> Fitter {
  var options = FitOptions(target: target)
  options.text = text?.path
  options.contextLength = text?.context
  options.chunkLimit = text?.chunks
  options.measurementsFile = measurements
  var recipe = Recipe()
  recipe.importanceFile = importance
  recipe.expertStorage = experts
  return try Fitter(
    checkpoint: checkpoint, output: "planned.gguf", recipe: recipe, options, threadCount: 2)
}

/// From the smallest archive to the one that loses nothing; mixes where their plans put them, and
/// never better than what is chosen for their size.
@Test func curveSpansAllSizes() throws {
  let folder = TemporaryFolder()
  let file = folder.file("measurements.json")
  let curve = try fitter(target: .bitsPerWeight(4), measurements: file).curve()
  #expect(curve.points.count == Fitter.curvePointCount && !curve.isMeasured)
  #expect(zip(curve.points, curve.points.dropFirst()).allSatisfy { $0.byteCount < $1.byteCount })
  #expect(
    zip(curve.points, curve.points.dropFirst()).allSatisfy {
      $0.expectedDivergence > $1.expectedDivergence
    })
  // The checkpoint is in BF16, which is allowed.
  #expect(curve.points.last?.expectedDivergence == 0)
  // The header names the target: another one's may end a few bytes earlier, and the weights begin at
  // the multiple of 32 before.
  let first = try #require(curve.points.first)
  #expect(throws: FitTooSmall.self) {
    try fitter(target: .byteCount(first.byteCount - 33), measurements: file)
  }
  #expect(throws: Never.self) {
    try fitter(target: .byteCount(first.byteCount + 32), measurements: file)
  }
  #expect(curve.mixes.count > 20)
  for name in ["Q4_K_M", "IQ2_XS", "Q5_1"] {
    let mix = try #require(curve.mixes.first { $0.name == name })
    var recipe = Recipe()
    recipe.type = name
    recipe.importanceFile = imatrix
    let plan = try Converter(
      checkpoint: llama3, output: "planned.gguf", recipe: recipe, memoryLimit: testMemoryLimit
    ).plan
    #expect(mix.byteCount == plan.totalByteCount && mix.bitsPerWeight == plan.bitsPerWeight)
  }
  for mix in curve.mixes {
    let chosen = try #require(mix.chosenDivergence)
    #expect(chosen <= mix.expectedDivergence * (1 + 1e-9), "\(mix)")
  }
  let budget = try #require(curve.budget)
  let fitted = try fitter(target: .bitsPerWeight(4), measurements: file).run()
  #expect(budget.name == "4.0 bits per weight")
  #expect(budget.expectedDivergence == fitted.fit.expectedDivergence)
  let plan = try Converter(
    checkpoint: llama3, output: "x.gguf", recipe: fitted.recipe, memoryLimit: testMemoryLimit
  ).plan
  #expect(budget.byteCount.distance(to: plan.totalByteCount).magnitude < 256)
}

/// Weights that are stored in F16 stay as they are where there is room: BF16 would lose some.
@Test func halfPrecisionStaysAsItIs() throws {
  let fitted = try fitter(
    Fixtures.path("models/llama2"), importance: nil, target: .bitsPerWeight(16.5)
  ).run()
  #expect(fitted.fit.expectedDivergence == 0)
  #expect(fitted.recipe.types.values.allSatisfy { $0 == .f16 })
}

/// What is measured without writing anything is what `verify` measures of the archive.
@Test func measuredPointsEqualArchives() throws {
  let folder = TemporaryFolder()
  let text = (path: Fixtures.path("text/eval.txt"), context: 64, chunks: 4)
  let file = folder.file("measurements.json")
  let curve = try fitter(text: text, measurements: file).curve(measuring: 2)
  let measured = curve.points.filter { $0.measuredDivergence != nil }
  #expect(measured.count == 2 && curve.isMeasured)
  try expectEqual(measured, llama3, imatrix, text, folder, nil, file)
  #expect(throws: UsageError.self) { try fitter().curve(measuring: 1) }
  #expect(throws: UsageError.self) { try fitter(text: text).curve(measuring: 26) }
}

/// The same with experts, in a type each or one for all.
@Test(arguments: [ExpertStorage.stacked, .split])
func measuredPointsOfExpertsEqualArchives(_ experts: ExpertStorage) throws {
  let checkpoint = try RandomCheckpoint("mixtral")
  let text = (path: Fixtures.path("text/eval.txt"), context: 32, chunks: 3)
  let file = checkpoint.folder.file("measurements")
  let curve = try fitter(
    checkpoint.path, importance: nil, text: text, experts: experts, measurements: file
  ).curve(measuring: 1)
  let measured = curve.points.filter { $0.measuredDivergence != nil }
  #expect(measured.count == 1)
  try expectEqual(
    measured, checkpoint.path, nil, text, checkpoint.folder, experts, file)
}

private func expectEqual(
  _ points: [FitCurve.Point], _ checkpoint: String, _ importance: String?,
  _ text: (path: String, context: Int, chunks: Int), _ folder: TemporaryFolder,
  _ experts: ExpertStorage?, _ measurements: String
) throws {
  for point in points {
    // The recipe's title makes the header longer.
    let fitted = try fitter(
      checkpoint, importance: importance, target: .byteCount(point.byteCount + 32), text: text,
      experts: experts, measurements: measurements
    ).run()
    let path = folder.file("out.gguf")
    _ = try Converter(
      checkpoint: checkpoint, output: path, recipe: fitted.recipe, memoryLimit: testMemoryLimit
    ).run()
    var options = VerificationOptions(reference: checkpoint, candidate: path)
    options.text = text.path
    options.contextLength = text.context
    options.chunkLimit = text.chunks
    let verdict = try Verifier(options, threadCount: 2).run()
    let verified = try #require(verdict.result.distribution?.comparison).meanDivergence
    let found = try #require(point.measuredDivergence)
    #expect(
      found.value > 0 && abs(found.value - verified.value) <= 2e-3 * verified.value,
      "\(found) \(verified)")
    #expect(abs(found.halfError - verified.halfError) <= 0.02 * verified.halfError)
  }
}

extension Estimate {
  fileprivate var halfError: Double { cautiousError }
}

/// The configuration decides over what errors do, so measurements of another one are not taken.
@Test func measurementsDependOnTheConfiguration() throws {
  let checkpoint = try RandomCheckpoint("mixtral")
  let file = checkpoint.folder.file("measurements")
  func run() throws {
    _ = try fitter(
      checkpoint.path, importance: nil, target: .bitsPerWeight(5), measurements: file
    ).run()
  }
  try run()
  try run()
  let bytes = try PositionalFile.readAll(checkpoint.path + "/config.json", limit: 1 << 20)
  checkpoint.folder.write("config.json", bytes + [0x20])
  let error = #expect(throws: FormatError.self) { try run() }
  #expect(error.map { "\($0)".contains("config.json") } == true, "\(error as Any)")
}

/// Types that are slow somewhere are not chosen there.
@Test func slowTypesAreLeftOut() throws {
  var options = FitOptions(target: .bitsPerWeight(3))
  options.fastOn = ["gpu"]
  var recipe = Recipe()
  recipe.importanceFile = imatrix
  let fitted = try Fitter(
    checkpoint: llama3, output: "planned.gguf", recipe: recipe, options, threadCount: 2
  ).run()
  #expect(!fitted.fit.types.values.contains { $0.name.hasPrefix("IQ") })
  options.types = ["IQ4_XS", "IQ2_XS"]
  #expect(throws: UsageError.self) {
    try Fitter(checkpoint: llama3, output: "planned.gguf", recipe: recipe, options)
  }
  options.fastOn = ["cpu"]
  let fast = try Fitter(
    checkpoint: llama3, output: "planned.gguf", recipe: recipe,
    {
      var options = options
      options.target = .bitsPerWeight(5)
      return options
    }(), threadCount: 2
  ).run()
  #expect(Set(fast.fit.types.values) == [.iq4_XS])
  options.fastOn = ["abacus"]
  let error = #expect(throws: UsageError.self) {
    try Fitter(checkpoint: llama3, output: "planned.gguf", recipe: recipe, options)
  }
  #expect(error?.message.contains("--fast-on abacus: takes cpu, gpu, cuda") == true)
}

/// The page has the table that the program has.
@Test func pageListsSlowTypes() throws {
  let table = try MarkdownTable(page: "recipe.md", columns: ["type", "slow on"])
  var found: [String: Set<String>] = [:]
  for row in table.rows {
    for type in (row["type"] ?? "").split(separator: ",") {
      let places = (row["slow on"] ?? "").split(separator: ",")
      found[type.filter { $0 != " " }] = Set(places.map { $0.filter { $0 != " " } })
    }
  }
  var expected: [String: Set<String>] = [:]
  for place in SlowTypes.places where place != "gpu" {
    for type in try SlowTypes.slow(on: place) { expected[type.name, default: []].insert(place) }
  }
  #expect(found == expected && expected.count == 9)
  #expect(
    try SlowTypes.slow(on: "gpu")
      == SlowTypes.slow(on: "metal").union(SlowTypes.slow(on: "cuda")))
}

/// What a plan stores is read again, and shown.
@Test func recipesAreInspected() throws {
  let folder = TemporaryFolder()
  let text = (path: Fixtures.path("text/eval.txt"), context: 64, chunks: 2)
  let fitted = try fitter(
    target: .bitsPerWeight(4), text: text, measurements: folder.file("measurements.json")
  ).run()
  let path = folder.file("recipe.json")
  try fitted.write(path)
  let recipe = try #require(try RecipeInspection(file: path))
  let json = try JSONValue(parsing: Array(recipe.json(showsTensors: true).utf8), file: "json")
  #expect(json["title"]?.string == "fit to 4.0 bits per weight")
  #expect(json["expectedDivergence"]?.double == fitted.recipe.expectedDivergence)
  #expect(json["importance"]?.bool == true)
  #expect((json["bitsPerWeight"]?.double ?? 9) <= 4)
  #expect(json["tensors"]?.object?.members.count == fitted.recipe.types.count)
  let table = recipe.table(showsTensors: true)
  #expect(table.contains("expected mean KL divergence: ") && table.contains("blk.0.attn_q.weight"))
  // Without importance the types do not keep their promise.
  var bare = Recipe()
  try bare.take(file: path)
  let archive = folder.file("out.gguf")
  bare.importanceFile = imatrix
  let plan = try Converter(
    checkpoint: llama3, output: archive, recipe: bare, memoryLimit: testMemoryLimit)
  #expect(!plan.plan.notes.contains { $0.contains("importance matrix") })
  _ = try plan.run()
  // The archive is the same recipe.
  let stored = try RecipeInspection(of: archive)
  let again = try JSONValue(parsing: Array(stored.file.utf8), file: "json")
  #expect(again["expectedDivergence"]?.double == fitted.recipe.expectedDivergence)
  folder.write("again.json", Array(stored.file.utf8))
  var reused = Recipe()
  try reused.take(file: folder.file("again.json"))
  #expect(fitted.recipe.types.allSatisfy { reused.types[$0.key] == $0.value })
  reused.importanceFile = nil
  reused.types = reused.types.mapValues { $0.name.hasPrefix("IQ") ? .q4_K : $0 }
  let notes = try Converter(
    checkpoint: llama3, output: archive, recipe: reused, memoryLimit: testMemoryLimit
  ).plan.notes
  #expect(notes.contains { $0.contains("without --imatrix") }, "\(notes)")
  // Measurements, too.
  let measurements = try #require(
    try MeasurementsInspection(folder.file("measurements.json")))
  let figures = try JSONValue(parsing: Array(measurements.json.utf8), file: "json")
  #expect(figures["tensorCount"]?.int == 44)
  let probed = figures["types"]?.array?.filter { ($0["probed"]?.int ?? 0) > 0 }
  #expect(probed?.compactMap { $0["type"]?.string } == ["Q3_K", "Q8_0"])
  #expect(measurements.table(showsTensors: true).contains("blk.5.ffn_down.weight"))
  // Other files are none.
  #expect(try RecipeInspection(file: llama3 + "/config.json") == nil)
  #expect(try MeasurementsInspection(path) == nil)
  #expect(try RecipeInspection(file: llama3) == nil)
}
