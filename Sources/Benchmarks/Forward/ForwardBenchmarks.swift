import ArgumentParser
import ByteIO
import Quantizers
import ReferenceModel
import Tensors
import Threads

/// Measures layers of a forward pass against the matrix library's own rate.
@main
struct ForwardBenchmarks: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "forward-benchmarks",
    abstract: "Measure layers of a forward pass, in GFLOP/s of their matrix products.",
    discussion: """
      A round runs all layers, with reading and dequantizing, and then the products of one layer's \
      shapes by the library alone, with its own threads and weights in memory. Operations of \
      attention, norms and activations are not counted. Figures are of the median round.
      """)

  @Argument(help: "A checkpoint's folder, or a GGUF file.")
  var model: String

  @Option(help: "Tokens of a group; a multiple of the context.")
  var tokens = 4096

  @Option(help: "Tokens of a chunk.")
  var context = 512

  @Option(help: "Threads of both contenders.")
  var threads = 2

  @Option(help: "Most layers to run in a round.")
  var layers = 2

  @Option(help: "Rounds of which the median counts.")
  var rounds = 5

  func validate() throws {
    guard context > 0, tokens > 0, tokens <= 1 << 20, tokens % context == 0 else {
      throw ValidationError("tokens: a multiple of the context, at most 1048576")
    }
    guard threads > 0, layers > 0, rounds > 0 else {
      throw ValidationError("threads, layers and rounds: at least 1")
    }
  }

  func run() throws {
    let model =
      try self.model.hasSuffix(".gguf")
      ? ReferenceModel(archive: self.model) : ReferenceModel(checkpoint: self.model)
    let before = ProcessMemory.residentByteCount
    let layerCount = min(layers, model.dimensions.layerCount)
    let scratch = ForwardScratch(
      [model], tokenCount: tokens, contextLength: context, threadCount: threads)
    let pass = ForwardPass(
      model, scratch: scratch, kernels: try KernelTable.choice.get(),
      cancellation: CancellationFlag())
    let vocabulary = model.dimensions.vocabularySize
    try pass.embed((0..<tokens).map { Int32($0 * 7919 % vocabulary) })
    try pass.runLayer(0)
    let buffers =
      ForwardPass.byteCount(model, tokenCount: tokens)
      + ForwardScratch.byteCount(
        [model], tokenCount: tokens, contextLength: context, threadCount: threads)
    print(
      "resident: at most \(ProcessMemory.peakResidentByteCount >> 20) MiB, "
        + "of which \(buffers >> 20) MiB buffers; before them \(before >> 20) MiB\n")
    let products = model.layerProducts(0)
    let library = try PlainProducts(products, tokenCount: tokens, threadCount: threads)
    let operations = products.reduce(0.0) {
      $0 + 2 * Double(tokens) * Double($1.rows) * Double($1.columns)
    }

    var ours: [Double] = []
    var plain: [Double] = []
    for _ in 0..<rounds {
      let start = ContinuousClock.now
      for layer in 0..<layerCount { try pass.runLayer(layer) }
      ours.append(
        operations * Double(layerCount) / seconds(ContinuousClock.now - start) * 1e-9)
      plain.append(operations / seconds(library.run()) * 1e-9)
    }
    let (rate, plainRate) = (median(ours), median(plain))
    let type = model.weights[.layer(0, .up)]?.type.name ?? "?"
    print("| type | tokens | context | threads | ours GFLOP/s | library GFLOP/s | ratio |")
    print("|---|---|---|---|---|---|---|")
    print(
      "| \(type) | \(tokens) | \(context) | \(threads) | \(number(rate)) | \(number(plainRate)) "
        + "| \(number(100 * rate / plainRate)) % |")
  }
}

extension ReferenceModel {
  /// Rows and columns of the weight matrices of a layer.
  fileprivate func layerProducts(_ layer: Int) -> [(rows: Int, columns: Int)] {
    LayerWeight.allCases.compactMap { weight in
      guard let tensor = weights[.layer(layer, weight)], tensor.shape.rank == 2 else { return nil }
      return (tensor.rowCount, tensor.columnCount)
    }
  }
}

func seconds(_ duration: Duration) -> Double { duration / .seconds(1) }

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

/// With one decimal.
func number(_ value: Double) -> String {
  guard value.isFinite, value < 1e12 else { return "?" }
  let tenths = Int((value * 10).rounded())
  return "\(tenths / 10).\(tenths % 10)"
}
