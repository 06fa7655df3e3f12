import ArgumentParser
import Quantizers
import Tensors

/// Measures every kernel against ggml, or against the scalar kernels.
@main
struct KernelBenchmarks: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "kernel-benchmarks",
    abstract: "Measure the kernels of every block type, in million weights per second and core.",
    discussion: """
      Each row of the table runs its contenders in turn, several rounds; a figure is the median \
      round, by the thread's CPU time, so that other load disturbs little. Ratios are to the first \
      contender.
      """)

  @Option(help: "A built libggml-base to compare with; may be repeated, the first gives ratios.")
  var reference: [String] = []

  @Option(help: "Types to measure, separated by commas; all when not given.")
  var types: String?

  @Option(help: "Rows of weights; 32 × 4096 fit the second level cache.")
  var rows = 32

  @Option(help: "Columns of a row, a multiple of 256.")
  var columns = 4096

  @Option(help: "Rounds of which the median counts.")
  var rounds = 7

  @Flag(help: "Print JSON instead of a table.")
  var json = false

  @Flag(help: "Fail when a kernel set gains less over scalar than it has to; no ggml needed.")
  var check = false

  func validate() throws {
    guard rows > 0, rows <= 1 << 16, columns > 0, columns <= 1 << 16, columns % 256 == 0 else {
      throw ValidationError("rows and columns: from 1 to 65536, columns a multiple of 256")
    }
    guard rounds > 0 else { throw ValidationError("rounds: at least 1") }
  }

  func run() throws {
    if check {
      guard RegressionCheck(rounds: rounds).passes() else { throw ExitCode.failure }
      return
    }
    let references = try reference.enumerated().map { index, path in
      try GGMLReference(path: path, name: index == 0 ? "ggml" : "ggml-\(index + 1)")
    }
    let rows = Workload(rowCount: rows, columnCount: columns)
    var results: [Result] = []
    for type in try chosenTypes() {
      for task in KernelTask.allCases where task.applies(to: type) {
        let result = measure(type, task, on: rows, references: references)
        results.append(result)
        if !json { print(result.line(isFirst: results.count == 1)) }
      }
    }
    if json { print(Result.json(results)) }
  }

  private func chosenTypes() throws -> [TensorType] {
    guard let types else {
      return TensorType.allCases.filter { $0 != .f32 && KernelTable.scalar.canQuantize($0) }
    }
    return try types.split(separator: ",").map { name in
      guard let type = TensorType(name: String(name)), type != .f32,
        KernelTable.scalar.canQuantize(type)
      else { throw ValidationError("no kernels for a type \(name)") }
      return type
    }
  }

  private func measure(
    _ type: TensorType, _ task: KernelTask, on workload: Workload, references: [GGMLReference]
  ) -> Result {
    let blocks = workload.blocks(type)
    var contenders = references.compactMap { $0.contender(type, task, workload, blocks) }
    for kernels in KernelTable.runnableHere {
      contenders.append(kernels.contender(type, task, workload, blocks))
    }
    let speeds = measureInTurn(contenders, weightCount: workload.weightCount, rounds: rounds)
    return Result(
      type: type.name, task: task.rawValue,
      figures: zip(contenders, speeds).map { Figure(name: $0.name, speed: $1) })
  }
}
