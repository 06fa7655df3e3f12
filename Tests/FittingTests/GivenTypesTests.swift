import ByteIO
import Fitting
import ForwardRuns
import Ingot
import Tensors
import TestSupport
import Testing

private let llama3 = Fixtures.path("models/llama3")
private let imatrix = Fixtures.path("models/imatrix/llama3.gguf")

private func fitter(
  _ target: FitTarget?, checkpoint: String = llama3, importance: String? = imatrix,
  text: (context: Int, chunks: Int)? = nil,
  _ change: (inout FitOptions, inout Recipe) -> Void = { _, _ in }
) throws -> Fitter {
  var options = FitOptions(target: target)
  var recipe = Recipe()
  recipe.importanceFile = importance
  if let text {
    options.text = Fixtures.path("text/eval.txt")
    options.contextLength = text.context
    options.chunkLimit = text.chunks
  }
  change(&options, &recipe)
  return try Fitter(
    checkpoint: checkpoint, output: "planned.gguf", recipe: recipe, options, threadCount: 2)
}

/// What an archive of the recipe diverges by, and whether it passes.
private func verified(
  _ recipe: Recipe, checkpoint: String, context: Int, chunks: Int, in folder: TemporaryFolder
) throws -> (divergence: Double, passed: Bool) {
  let path = folder.file("out.gguf")
  _ = try Converter(
    checkpoint: checkpoint, output: path, recipe: recipe, memoryLimit: testMemoryLimit
  ).run()
  var options = VerificationOptions(reference: checkpoint, candidate: path)
  options.text = Fixtures.path("text/eval.txt")
  options.contextLength = context
  options.chunkLimit = chunks
  let verdict = try Verifier(options, policy: "auto", threadCount: 2).run()
  let comparison = try #require(verdict.result.distribution?.comparison)
  return (comparison.meanDivergence.value, verdict.passed)
}

/// What a type costs that an option gave is part of what is expected, so that a sound archive is
/// held to what it can keep.
@Test func givenTypesAreExpected() throws {
  let fitted = try fitter(.bitsPerWeight(5), text: (128, 8)) { _, recipe in
    recipe.tensorTypes = ["ffn_down=Q2_K"]
  }.run()
  let expected = try #require(fitted.recipe.expectedDivergence)
  #expect(fitted.fit.unitCount == 38 && fitted.text.contains("of it by types that options gave"))
  #expect(fitted.fit.givenDivergence > 0.5 * expected)
  let (measured, passed) = try verified(
    fitted.recipe, checkpoint: llama3, context: 128, chunks: 8, in: TemporaryFolder())
  #expect(abs(expected - measured) < 0.15 * measured, "\(expected) \(measured)")
  #expect(passed)
}

/// The same where a matrix holds experts.
@Test(arguments: ["mixtral", "llama4-16-experts"])
func givenTypesOfExpertsAreExpected(_ name: String) throws {
  let checkpoint = try RandomCheckpoint(name)
  let fitted = try fitter(
    .bitsPerWeight(14), checkpoint: checkpoint.path, importance: nil, text: (64, 8)
  ) { _, recipe in recipe.tensorTypes = ["ffn_down_exps=Q8_0"] }.run()
  let expected = try #require(fitted.recipe.expectedDivergence)
  #expect(fitted.fit.givenDivergence > 0.5 * expected)
  let (measured, _) = try verified(
    fitted.recipe, checkpoint: checkpoint.path, context: 64, chunks: 8, in: checkpoint.folder)
  // Which experts a token reaches depends on all types together, so harms add up less well.
  #expect(abs(expected - measured) < 0.3 * measured, "\(expected) \(measured)")
}

/// Of one expert its part of what is tried with all of them counts: the more experts, the more.
@Test func aGivenExpertCounts() throws {
  let checkpoint = try RandomCheckpoint("mixtral")
  func given(_ types: [String]) throws -> Double {
    try fitter(
      .bitsPerWeight(9), checkpoint: checkpoint.path, importance: nil, text: (32, 2)
    ) { _, recipe in
      recipe.expertStorage = .split
      recipe.tensorTypes = types
    }.run().fit.givenDivergence
  }
  let one = try given([#"blk\.0\.ffn_down\.0\.=Q4_0"#])
  let two = try given([#"blk\.0\.ffn_down\.[01]\.=Q4_0"#])
  #expect(one > 0 && two > one)
  // All of them are tried in the very type, and cost more than some.
  let all = try given([#"blk\.0\.ffn_down\.[0-9]+\.=Q4_0"#])
  #expect(all > two)
}

/// A type that holds everything costs nothing, one that nearly does next to nothing.
@Test func losslessTypesAddNothing() throws {
  func given(_ type: String) throws -> Fit {
    try fitter(.bitsPerWeight(32), text: (64, 2)) { options, recipe in
      options.types = ["BF16"]
      recipe.outputTensorType = type
    }.run().fit
  }
  // The checkpoint is in BF16.
  #expect(try given("BF16").expectedDivergence == 0)
  #expect(try given("F32").expectedDivergence == 0)
  let (half, byte) = (try given("F16"), try given("Q8_0"))
  #expect(half.expectedDivergence < 1e-6)
  #expect(byte.expectedDivergence > 1e-6 && byte.expectedDivergence == byte.givenDivergence)
  #expect(byte.unitCount == 43 && byte.gap == 0)
}

/// Without any given type figures are those that were always there; they depend on no machine.
@Test func figuresWithoutGivenTypesAreKept() throws {
  let fit = try fitter(.bitsPerWeight(4)).run().fit
  #expect(abs(fit.expectedDivergence / 0.752088639240486 - 1) < 1e-9)
  #expect(fit.givenDivergence == 0 && fit.unitCount == 44)
}

/// A type that cannot be made is refused before anything is measured.
@Test func givenTypesMayNeedImportance() {
  let error = #expect(throws: UsageError.self) {
    try fitter(.bitsPerWeight(4), importance: nil) { _, recipe in
      recipe.tensorTypes = ["ffn_down=IQ2_XS"]
    }
  }
  #expect(error?.message.contains("IQ2_XS (tensor blk.0.ffn_down.weight) needs") == true)
}

/// Every size and every mix has the given types, and what they cost.
@Test(arguments: [nil, ExpertStorage.split])
func curvesCountGivenTypes(_ experts: ExpertStorage?) throws {
  let checkpoint = try RandomCheckpoint("mixtral")
  func curve(_ types: [String]) throws -> FitCurve {
    try fitter(nil, checkpoint: checkpoint.path, importance: nil) { _, recipe in
      recipe.expertStorage = experts
      recipe.tensorTypes = types
    }.curve()
  }
  let (free, given) = (try curve([]), try curve(["attn_q=Q4_0", "output.weight=BF16"]))
  let last = try #require(given.points.last)
  #expect(free.points.last?.expectedDivergence == 0 && last.expectedDivergence > 0)
  #expect(given.points.allSatisfy { $0.expectedDivergence >= last.expectedDivergence })
  for mix in given.mixes {
    #expect(mix.expectedDivergence >= last.expectedDivergence * (1 - 1e-9), "\(mix)")
    if let chosen = mix.chosenDivergence {
      #expect(chosen <= mix.expectedDivergence * (1 + 1e-9), "\(mix)")
    }
  }
  // Q4_0 gives the same types to attn_q and others to the output.
  func mix(_ curve: FitCurve) throws -> Double {
    try #require(curve.mixes.first { $0.name == "Q4_0" }).expectedDivergence
  }
  #expect(try mix(given) < mix(free))
}

/// Sizes that are measured have the given types, too: they do what is expected of all types together.
@Test func measuredSizesHaveGivenTypes() throws {
  let curve = try fitter(nil, text: (64, 4)) { _, recipe in
    recipe.tensorTypes = ["ffn_down=Q2_K"]
  }.curve(measuring: 2)
  let measured = curve.points.filter { $0.measuredDivergence != nil }
  #expect(measured.count == 2)
  for point in measured {
    let value = try #require(point.measuredDivergence).value
    #expect(abs(point.expectedDivergence - value) < 0.3 * value, "\(point)")
  }
}

/// A type that cannot hold the weights is the option's fault, not the checkpoint's.
@Test(arguments: [nil, (context: 32, chunks: 2)])
func givenTypesMustHoldTheWeights(_ text: (context: Int, chunks: Int)?) throws {
  let checkpoint = try RandomCheckpoint("mixtral") { tensors in
    let index = tensors.firstIndex { $0.name.hasSuffix("q_proj.weight") } ?? 0
    // 98304 in BF16.
    tensors[index].bytes.replaceSubrange(0..<2, with: [0xC0, 0x47])
  }
  let error = #expect(throws: UsageError.self) {
    try fitter(.bitsPerWeight(9), checkpoint: checkpoint.path, importance: nil, text: text) {
      _, recipe in recipe.tensorTypes = ["attn_q=F16"]
    }.run()
  }
  #expect(
    error?.message.contains("F16 cannot hold the weights of tensor blk.0.attn_q.weight") == true,
    "\(error as Any)")
}

/// Where an embedding doubles as the output, it has the output's type.
@Test func tiedEmbeddingsHaveTheOutputsType() throws {
  let checkpoint = try RandomCheckpoint("mixtral", changes: ["tie_word_embeddings": .bool(true)]) {
    tensors in tensors.removeAll { $0.name == "lm_head.weight" }
  }
  let fitted = try fitter(.bitsPerWeight(9), checkpoint: checkpoint.path, importance: nil) {
    _, recipe in recipe.outputTensorType = "Q5_1"
  }.run()
  #expect(fitted.recipe.types["token_embd.weight"] == .q5_1)
  #expect(fitted.fit.givenDivergence > 0)
}

/// A stack whose experts all have their types from options is measured for mixes that give it others.
@Test(arguments: [nil, (context: 32, chunks: 2)])
func mixesStayWhereExpertsAreGiven(_ text: (context: Int, chunks: Int)?) throws {
  let checkpoint = try RandomCheckpoint("mixtral")
  let curve = try fitter(nil, checkpoint: checkpoint.path, importance: nil, text: text) {
    _, recipe in
    recipe.expertStorage = .split
    recipe.tensorTypes = [#"ffn_down\.[0-9]+\.=BF16"#]
  }.curve()
  #expect(curve.mixes.contains { $0.name == "Q8_0" }, "\(curve.mixes)")
  #expect(curve.mixes.allSatisfy { $0.expectedDivergence > 0 })
}

/// A size of a curve is an archive's, given types or not.
@Test func sizesOfCurvesAreThoseOfArchives() throws {
  let folder = TemporaryFolder()
  func keep(_ options: inout FitOptions, _ recipe: inout Recipe) {
    recipe.tensorTypes = ["ffn_down=Q6_K"]
    options.measurementsFile = folder.file("measurements.json")
  }
  let curve = try fitter(nil, text: (64, 2), keep).curve()
  let point = curve.points[curve.points.count / 2]
  // The title makes the header longer, by no more than this.
  let fitted = try fitter(.byteCount(point.byteCount + 32), text: (64, 2), keep).run()
  #expect(fitted.recipe.expectedDivergence != nil)
  let plan = try Converter(
    checkpoint: llama3, output: "planned.gguf", recipe: fitted.recipe, memoryLimit: testMemoryLimit
  ).plan
  #expect(plan.totalByteCount == fitted.fit.byteCount)
  // Mostly the same types: those of a few more bytes.
  let difference = Int(plan.totalByteCount) - Int(point.byteCount)
  #expect((0...64).contains(difference), "\(difference)")
}

/// Experts of an archive that lie singly, with a gap.
@Test func missingExpertsAreRefused() throws {
  let checkpoint = try RandomCheckpoint("mixtral")
  let path = checkpoint.folder.file("split.gguf")
  var recipe = Recipe()
  recipe.type = "BF16"
  recipe.expertStorage = .split
  _ = try Converter(
    checkpoint: checkpoint.path, output: path, recipe: recipe, memoryLimit: testMemoryLimit
  ).run()
  let bytes = try PositionalFile.readAll(path, limit: 64 << 20)
  let name = Array("blk.0.ffn_down.1.weight".utf8)
  let places = bytes.indices.filter { bytes[$0...].starts(with: name) }
  #expect(places.count == 1)
  var damaged = bytes
  damaged[try #require(places.first) + 15] = UInt8(ascii: "9")
  checkpoint.folder.write("damaged.gguf", damaged)
  for storage in [ExpertStorage.split, .stacked] {
    let error = #expect(throws: FormatError.self) {
      try fitter(
        .bitsPerWeight(9), checkpoint: checkpoint.folder.file("damaged.gguf"), importance: nil
      ) { _, recipe in recipe.expertStorage = storage }
    }
    #expect(error?.field == "tensor blk.0.ffn_down.1.weight", "\(error as Any)")
  }
}

/// What was measured for one choice stays known when another one needs more, in either order.
@Test func measurementsDependOnNoOrder() throws {
  let folder = TemporaryFolder()
  func run(_ file: String, _ types: [String], _ probe: String) throws -> FittedRecipe {
    try fitter(.bitsPerWeight(5), text: (64, 2)) { options, _ in
      options.types = types
      options.probeTypes = [probe]
      options.measurementsFile = folder.file(file)
    }.run()
  }
  let (few, many) = (["Q4_K", "Q8_0"], ["Q3_K", "Q5_K", "Q6_K"])
  let first = try run("a", few, "Q3_K")
  let second = try run("a", many, "Q8_0")
  let (other, another) = (try run("b", many, "Q8_0"), try run("b", few, "Q3_K"))
  // The last digits of a forward pass differ from run to run, those of errors do not.
  for (one, two) in [(first, another), (second, other)] {
    let ratio = one.fit.expectedDivergence / two.fit.expectedDivergence
    #expect(abs(ratio - 1) < 5e-3, "\(ratio)")
  }
  let (a, _) = try FitMeasurements.read(folder.file("a"))
  let (b, _) = try FitMeasurements.read(folder.file("b"))
  #expect(a.errors == b.errors && a.errors["output.weight"]?.errors.count == 5)
  #expect(a.divergences.mapValues { Set($0.keys) } == b.divergences.mapValues { Set($0.keys) })
}

// MARK: Memory

private func device(_ megabytes: Int, context: Int = 1024) throws -> FitTarget {
  .memory(try MemoryTarget(hardware: nil, byteCount: UInt64(megabytes) << 20, context: context))
}

/// The embedding lies with the processor: it loses nothing where nothing is lost, and adds hardly
/// anything where types are small.
@Test func hostedTensorsCount() throws {
  let roomy = try fitter(device(4096)).run()
  #expect(roomy.fit.expectedDivergence == 0 && roomy.fit.unitCount == 44)
  #expect(roomy.recipe.types["token_embd.weight"] == .bf16)
  for megabytes in [1036, 1037, 1038] {
    let fitted = try fitter(device(megabytes)).run()
    // The same with an embedding that loses nothing.
    let others = try fitter(device(megabytes)) { _, recipe in recipe.embeddingType = "BF16" }.run()
    #expect(others.fit.unitCount == 43 && fitted.fit.byteCount == others.fit.byteCount)
    let share = fitted.fit.expectedDivergence / others.fit.expectedDivergence
    #expect(share >= 1 && share <= 1.01, "\(share)")
    // Where others lose much, the embedding takes less of the processor's memory.
    let type = try #require(fitted.recipe.types["token_embd.weight"])
    #expect((type == .bf16) == (share == 1) && (megabytes == 1038 || type != .bf16), "\(type)")
  }
}

/// What an option gives the embedding counts, too.
@Test func givenEmbeddingsCount() throws {
  let fitted = try fitter(device(4096)) { _, recipe in recipe.embeddingType = "Q4_K" }.run()
  #expect(fitted.fit.expectedDivergence > 0)
  #expect(fitted.fit.expectedDivergence == fitted.fit.givenDivergence)
}

// MARK: Words

/// Advice names what stands against smaller types, and nothing else.
@Test func adviceNamesTheCause() throws {
  func words(
    _ target: FitTarget, importance: String? = imatrix,
    _ change: (inout FitOptions, inout Recipe) -> Void = { _, _ in }
  ) throws -> String {
    let error = #expect(throws: FitTooSmall.self) {
      try fitter(target, importance: importance, change)
    }
    return try #require(error?.description)
  }
  let tiny = FitTarget.byteCount(1_000_000)
  #expect(try words(tiny).hasSuffix(" bytes; allow more bytes"))
  #expect(try words(tiny).contains("the smallest file has"))
  #expect(try words(tiny, importance: nil).contains("; give --imatrix FILE"))
  #expect(try words(tiny) { options, _ in options.fastOn = ["gpu"] }.contains("(--fast-on)"))
  #expect(try words(tiny) { options, _ in options.minimumType = "Q4_K" }.contains("(--min-type)"))
  let types = try words(tiny) { options, _ in
    options.types = ["Q8_0", "Q4_K"]
    options.fastOn = ["gpu"]
  }
  #expect(types.contains("(--types)"), "\(types)")
  let kept = try words(.bitsPerWeight(1.6)) { _, recipe in recipe.tensorTypes = ["ffn=Q8_0"] }
  #expect(kept.contains("(--keep)") && kept.contains(" bits each"), "\(kept)")
  let output = try words(tiny) { _, recipe in recipe.outputTensorType = "Q8_0" }
  #expect(output.contains("(--output-tensor-type)"), "\(output)")
  // Nothing is left when the reserve has its part: smaller types would not help.
  let reserve = try words(device(1000))
  #expect(reserve.contains("1024 MiB are in reserve"), "\(reserve)")
  #expect(reserve.hasSuffix("take more memory"), "\(reserve)")
}

/// What an interruption leaves is what the message says.
@Test func interruptionsSayWhatIsKept() throws {
  let folder = TemporaryFolder()
  let file = folder.file("measurements.json")
  func message(_ count: Int) throws -> String {
    let flag = CancellationFlag()
    let error = #expect(throws: FitInterrupted.self) {
      _ = try fitter(nil, text: (64, 2)) { options, _ in options.measurementsFile = file }
        .curve(measuring: count, cancellation: flag) { if $0.step == .forward { flag.cancel() } }
    }
    return try #require(error?.description)
  }
  let running = try message(0)
  #expect(running.contains("the one that was running is lost"), "\(running)")
  #expect(folder.list() == ["measurements.json"])
  _ = try fitter(nil, text: (64, 2)) { options, _ in options.measurementsFile = file }.curve()
  let points = try message(2)
  #expect(points.contains("measured sizes are not kept"), "\(points)")
}

/// Measurements that an option is missing for say which.
@Test func forgottenOptionsAreNamed() throws {
  let folder = TemporaryFolder()
  let file = folder.file("measurements.json")
  func run(text: (Int, Int)? = (64, 2), importance: String? = imatrix) throws {
    _ = try fitter(.bitsPerWeight(5), importance: importance, text: text) { options, _ in
      options.measurementsFile = file
    }.run()
  }
  func message(_ body: () throws -> Void) throws -> String {
    let error = #expect(throws: FormatError.self) { try body() }
    return "\(try #require(error))"
  }
  try run()
  #expect(try message { try run(text: nil) }.contains("it was made with --text ("))
  #expect(try message { try run(importance: nil) }.contains("it was made with --imatrix ("))
  #expect(try message { try run(text: (64, 3)) }.contains("3 chunks of 64"))
}
