import ByteIO
import Fitting
import Ingot
import StrictJSON
import Tensors
import TestSupport
import Testing

private let llama3 = Fixtures.path("models/llama3")
private let imatrix = Fixtures.path("models/imatrix/llama3.gguf")

private func fit(
  _ target: FitTarget, checkpoint: String = llama3, importance: String? = imatrix,
  _ change: (inout FitOptions, inout Recipe) -> Void = { _, _ in }
) throws -> FittedRecipe {
  var options = FitOptions(target: target)
  var recipe = Recipe()
  recipe.importanceFile = importance
  change(&options, &recipe)
  return try Fitter(
    checkpoint: checkpoint, output: "planned.gguf", recipe: recipe, options, threadCount: 2
  ).run()
}

/// The file has the bytes that were promised: never more than the target, hardly less.
@Test(arguments: [2_200_000, 3_000_001, 4_444_444] as [UInt64])
func archiveHasTheSize(_ target: UInt64) throws {
  let fitted = try fit(.byteCount(target))
  let folder = TemporaryFolder()
  let summary = try Converter(
    checkpoint: llama3, output: folder.file("out.gguf"), recipe: fitted.recipe,
    memoryLimit: testMemoryLimit
  ).run()
  #expect(summary.byteCount == fitted.fit.byteCount)
  // As near as 44 matrices of few sizes allow.
  #expect(summary.byteCount <= target && summary.byteCount > target - target / 500)
}

@Test func bitsPerWeightAreKept() throws {
  let fitted = try fit(.bitsPerWeight(3.75))
  let plan = try Converter(
    checkpoint: llama3, output: "x.gguf", recipe: fitted.recipe, memoryLimit: testMemoryLimit
  ).plan
  #expect(plan.bitsPerWeight <= 3.75 && plan.bitsPerWeight > 3.746)
}

/// More bytes never do more harm, and allowed types are the only ones.
@Test func harmFallsWithBytes() throws {
  let harms = try [3.0, 4, 5, 6, 8].map {
    try fit(.bitsPerWeight($0)) { options, _ in
      options.types = ["q2_k", "Q4_K", "Q6_K", "Q8_0"]
    }.fit
  }
  #expect(
    zip(harms, harms.dropFirst()).allSatisfy { $0.expectedDivergence > $1.expectedDivergence })
  #expect(
    harms.allSatisfy { Set($0.types.values).isSubset(of: [.q2_K, .q4_K, .q6_K, .q8_0]) })
  let limited = try fit(.bitsPerWeight(5)) { options, _ in
    options.minimumType = "Q4_K"
    options.maximumType = "Q5_K"
  }
  #expect(limited.fit.types.values.allSatisfy { (4.5...5.5).contains($0.bitsPerWeight) })
}

@Test func keptTensorsKeepTheirType() throws {
  let fitted = try fit(.bitsPerWeight(4)) { _, recipe in
    recipe.tensorTypes = ["ffn_down=Q6_K"]
    recipe.outputTensorType = "Q8_0"
  }
  let plan = try Converter(
    checkpoint: llama3, output: "x.gguf", recipe: fitted.recipe, memoryLimit: testMemoryLimit
  ).plan
  for tensor in plan.tensors {
    if tensor.name.string.contains("ffn_down") { #expect(tensor.type == .q6_K) }
    if tensor.name == "output.weight" { #expect(tensor.type == .q8_0) }
  }
  #expect(plan.bitsPerWeight <= 4 && plan.bitsPerWeight > 3.99)
}

/// Too few bytes: what the smallest would be, which then fits.
@Test func smallestIsNamed() throws {
  let error = #expect(throws: FitTooSmall.self) { try fit(.byteCount(1_000_000)) }
  let smallest = try #require(error?.smallest)
  #expect(throws: FitTooSmall.self) { try fit(.byteCount(smallest - 1)) }
  let fitted = try fit(.byteCount(smallest))
  #expect(fitted.fit.byteCount <= smallest)
}

/// Without importance no type is chosen that needs it.
@Test func importanceIsNotAssumed() throws {
  let fitted = try fit(.bitsPerWeight(2.8), importance: nil)
  let needy: Set<TensorType> = [.iq1_S, .iq1_M, .iq2_XXS, .iq2_XS, .iq2_S]
  #expect(needy.isDisjoint(with: fitted.fit.types.values))
}

/// At equal bytes the model changes less than with the stock mix, on a text that was not measured on.
@Test func beatsTheStockMix() throws {
  let folder = TemporaryFolder()
  func divergence(_ recipe: Recipe, _ name: String) throws -> (Double, UInt64) {
    let path = folder.file(name)
    let summary = try Converter(
      checkpoint: llama3, output: path, recipe: recipe, memoryLimit: testMemoryLimit
    ).run()
    var options = VerificationOptions(reference: llama3, candidate: path)
    options.text = Fixtures.path("text/eval.txt")
    options.contextLength = 128
    options.chunkLimit = 16
    let result = try Verifier(options, threadCount: 2).run().result
    return (try #require(result.distribution?.comparison).meanDivergence.value, summary.byteCount)
  }
  var stock = Recipe()
  stock.type = "Q3_K_M"
  stock.importanceFile = imatrix
  let (stockDivergence, byteCount) = try divergence(stock, "stock.gguf")
  let text = folder.file("calibration.txt")
  // The end of the text that is compared on the beginning of.
  let eval = try PositionalFile.readAll(Fixtures.path("text/eval.txt"), limit: 1 << 20)
  folder.write("calibration.txt", Array(eval.suffix(20_000)))
  let fitted = try fit(.byteCount(byteCount)) { options, _ in
    options.text = text
    options.contextLength = 128
    options.chunkLimit = 8
  }
  let (divergence, size) = try divergence(fitted.recipe, "fit.gguf")
  #expect(size <= byteCount)
  #expect(divergence < 0.75 * stockDivergence, "\(divergence) \(stockDivergence)")
}

/// Measurements are kept, used again, and refused where they are of another run.
@Test func measurementsAreKept() throws {
  let folder = TemporaryFolder()
  let file = folder.file("measurements.json")
  func run(_ bits: Double, sample text: String = "text/eval.txt") throws -> FittedRecipe {
    try fit(.bitsPerWeight(bits)) { options, _ in
      options.text = Fixtures.path(text)
      options.contextLength = 64
      options.chunkLimit = 2
      options.measurementsFile = file
    }
  }
  let first = try run(4)
  let bytes = try PositionalFile.readAll(file, limit: 1 << 22)
  let second = try run(4)
  #expect(first.recipe.types == second.recipe.types)
  #expect(first.fit.expectedDivergence == second.fit.expectedDivergence)
  _ = try run(3)
  #expect(try PositionalFile.readAll(file, limit: 1 << 22) == bytes)
  let damaged = String(decoding: bytes, as: UTF8.self)
  folder.write("measurements.json", Array(damaged.replacing("\"signals\"", with: "\"x\"").utf8))
  #expect(throws: FormatError.self) { try run(4) }
  folder.write("measurements.json", Array(damaged.replacing("2 chunks", with: "3 chunks").utf8))
  let error = #expect(throws: FormatError.self) { try run(4) }
  #expect(error.map { "\($0)".contains("another run") } == true, "\(error as Any)")
}

private func device(_ megabytes: Int, _ count: Int = 1, context: Int = 1024) throws -> FitTarget {
  .memory(
    try MemoryTarget(
      hardware: nil, byteCount: UInt64(megabytes) << 20, deviceCount: count, context: context))
}

/// What is chosen for a memory fits it, and uses what is there.
@Test(arguments: [1, 2]) func memoryIsFilled(_ deviceCount: Int) throws {
  let roomy = try #require(try fit(device(4096, deviceCount)).memory)
  let most = roomy.estimate.limited.map(\.weights).max() ?? 0
  // Whatever the run takes besides, and a little more than half of the weights.
  let others = roomy.estimate.limited.map { $0.total - $0.weights }.max() ?? 0
  let megabytes = (others + most / 2) >> 20
  let fitted = try fit(device(megabytes, deviceCount))
  let report = try #require(fitted.memory)
  let totals = report.estimate.limited.map(\.total)
  #expect(report.fits && totals.allSatisfy { $0 <= megabytes << 20 })
  #expect(fitted.fit.byteCount <= fitted.fit.byteLimit)
  // As near as 43 matrices of few sizes allow.
  #expect(fitted.fit.byteCount > fitted.fit.byteLimit - fitted.fit.byteLimit / 200)
  if deviceCount == 1 {
    // What padding may take was kept free.
    #expect(megabytes << 20 - totals[0] < 64 << 10)
  }
  let plan = try Converter(
    checkpoint: llama3, output: "x.gguf", recipe: fitted.recipe, memoryLimit: testMemoryLimit
  ).plan
  let metadata = try #require(plan.outputs.first)
  #expect(metadata.byteCount > 0)
}

/// Too little memory: what would fit, which then does.
@Test func nearestThatFitsIsNamed() throws {
  do {
    _ = try fit(device(1036, context: 2048))
    Issue.record("fits")
  } catch let error as FitTooSmall {
    let words = error.advice.split { !$0.isNumber }
    let context = try #require(words.first.flatMap { Int($0) }, "\(error.advice)")
    #expect(context < 2048)
    #expect(try fit(device(1036, context: context)).memory?.fits == true)
  }
}

/// Nothing that is read is written over, and a plan says so before it measures.
@Test func inputsAreNotOutputs() throws {
  let folder = TemporaryFolder()
  let imatrixCopy = folder.file("imatrix.gguf")
  folder.write("imatrix.gguf", try PositionalFile.readAll(imatrix, limit: 1 << 20))
  folder.write("text.txt", Array("some text".utf8))
  func attempt(_ change: (inout FitOptions) -> Void, output: String = "x.gguf") {
    var options = FitOptions(target: .bitsPerWeight(4))
    change(&options)
    var recipe = Recipe()
    recipe.importanceFile = imatrixCopy
    #expect(throws: UsageError.self) {
      try Fitter(checkpoint: llama3, output: output, recipe: recipe, options)
    }
  }
  attempt { $0.recipeFile = imatrixCopy }
  attempt { $0.measurementsFile = imatrixCopy }
  attempt { $0.recipeFile = llama3 + "/config.json" }
  attempt { $0.recipeFile = llama3 + "/model-00001-of-00002.safetensors" }
  attempt {
    $0.recipeFile = folder.file("both")
    $0.measurementsFile = folder.file("both")
  }
  attempt(
    {
      $0.text = folder.file("text.txt")
      $0.recipeFile = folder.file("text.txt")
    })
  attempt({ $0.text = folder.file("text.txt") }, output: folder.file("text.txt"))
}

/// Damaged weights are named, not measured; types named twice count once.
@Test func oddInputsAreRefused() throws {
  let checkpoint = try RandomCheckpoint("mixtral") { tensors in
    let index = tensors.firstIndex { $0.name.hasSuffix("q_proj.weight") } ?? 0
    tensors[index].bytes.replaceSubrange(2..<4, with: [0x80, 0x7F])
  }
  let error = #expect(throws: FormatError.self) {
    try fit(.bitsPerWeight(6), checkpoint: checkpoint.path, importance: nil)
  }
  #expect(error.map { "\($0)".contains("q_proj") } == true, "\(error as Any)")
  let twice = try fit(.bitsPerWeight(5)) { options, _ in options.types = ["Q4_K", "q4_k", "Q8_0"] }
  #expect(twice.fit.unitCount == 44)
  #expect(throws: UsageError.self) {
    try fit(.bitsPerWeight(5)) { options, _ in
      options.text = Fixtures.path("text/eval.txt")
      options.contextLength = 0
    }
  }
}

/// Of a stack whose first expert has its type from an option, the others keep their own figures.
@Test func oneExpertMayBeKept() throws {
  let checkpoint = try RandomCheckpoint("mixtral")
  func harms(_ kept: [String]) throws -> [ExactString: TensorType] {
    try fit(.bitsPerWeight(5), checkpoint: checkpoint.path, importance: nil) { _, recipe in
      recipe.expertStorage = .split
      recipe.tensorTypes = kept
    }.recipe.types
  }
  let types = try harms([#"blk\.0\.ffn_gate\.0\.=Q8_0"#])
  #expect(types["blk.0.ffn_gate.0.weight"] == .q8_0)
  #expect(types.count == (try harms([])).count)
}
