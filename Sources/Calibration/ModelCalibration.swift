import ByteIO
import ForwardRuns
import GGUF
import Planning
import Quantizers
import ReferenceModel
import Tensors
import Threads

/// A calibration, opened and planned: everything but the sums.
package struct ModelCalibration: Sendable {
  private let options: CalibrationOptions
  private let opened: (model: OpenedModel, text: ChunkedText)?
  private let merged: [ImportanceSums]
  /// Opened first, so that what cannot be written is known before anything is computed.
  private let output: OutputFile
  /// Everything that the sums depend on.
  private let run: [String]
  private let state: CalibrationState?
  /// Chunks whose sums are in the state beside the output.
  private let keptChunks: Guarded<Int>
  private let kernels: KernelTable
  private let memoryLimit: UInt64
  private let threadCount: Int
  /// One-line remarks.
  package private(set) var warnings: [String] = []

  /// Opens the model and the files to merge, and cuts the text.
  ///
  /// - Parameters:
  ///   - options: what to do.
  ///   - version: of this program; sums of another one are not continued.
  ///   - kernels: dequantize.
  ///   - memoryLimit: most resident bytes.
  ///   - threadCount: workers.
  /// - Throws: `FormatError` about an input, `OptionError`, `OutputError`.
  package init(
    _ options: CalibrationOptions, version: String, kernels: KernelTable, memoryLimit: UInt64,
    threadCount: Int
  ) throws {
    try options.check()
    self.options = options
    self.kernels = kernels
    self.memoryLimit = memoryLimit
    self.threadCount = threadCount
    var run: [String] = []
    if let checkpoint = options.checkpoint, let path = options.text {
      let model = try OpenedModel(checkpoint)
      let file = try TextFile(path, memoryLimit: memoryLimit)
      let contextLength = options.contextLength ?? CalibrationOptions.defaultContextLength
      if let warning = ChunkedText.warning(contextLength: contextLength, model: model) {
        warnings.append(warning)
      }
      let text = try ChunkedText(
        file, tokens: file.tokens(model.encoder, parsesSpecial: options.parsesSpecial),
        encoder: model.encoder, contextLength: contextLength, chunkLimit: options.chunkLimit)
      if options.processesOutput, model.model.weights[.output] == nil {
        warnings.append(
          "the model's output is its embedding, which has no importance: "
            + "--process-output changes nothing")
      }
      opened = (model, text)
      run = try Self.describe(model, file, text, options, version: version)
    } else {
      opened = nil
    }
    self.run = run
    try Self.checkRoom(for: options.merged, memoryLimit: memoryLimit)
    merged = try options.merged.map { path throws(FormatError) in try ImportanceSums(path) }
    try Self.check(merged, fit: opened?.model.model)
    let statePath = CalibrationState.path(output: options.output)
    if options.resumes, let text = opened?.text {
      state = try CalibrationState(statePath, run: run, totalChunkCount: text.chunkCount)
      warnings.append(
        state.map { "going on after \($0.chunkCount) of \(text.chunkCount) chunks" }
          ?? "nothing to resume: there is no \(printable(statePath))")
    } else {
      state = nil
      if opened != nil, (try? PositionalFile(statePath)) != nil {
        warnings.append(
          "\(printable(statePath)) of an interrupted calibration is replaced: --resume goes on from it"
        )
      }
    }
    keptChunks = Guarded(state?.chunkCount ?? 0)
    output = try OutputFile(options.output)
  }

  /// What must not change between a run and the one that goes on from it.
  private static func describe(
    _ model: OpenedModel, _ file: TextFile, _ text: ChunkedText, _ options: CalibrationOptions,
    version: String
  ) throws(FormatError) -> [String] {
    var lines = [
      "ingot \(version)",
      "text of \(file.bytes.count) bytes, CRC-32 \(String(file.checksum, radix: 16))",
      "\(text.chunkCount) chunks", "context \(text.contextLength)",
      "process-output \(options.processesOutput)", "parse-special \(options.parsesSpecial)",
    ]
    for path in model.model.source.files {
      let identity = try PositionalFile(path).identity
      lines.append(
        "\(OutputFile.name(of: path)) of \(identity.byteCount) bytes, changed "
          + "\(identity.modifiedSeconds).\(identity.modifiedNanoseconds)")
    }
    return lines
  }

  /// Refuses files that are too large to be held together with their sum.
  private static func checkRoom(for paths: [String], memoryLimit: UInt64) throws {
    let byteCount = try paths.reduce(0) { $0 + (try PositionalFile($1).byteCount) }
    guard byteCount > memoryLimit / 2 else { return }
    throw OptionError(
      option: "--memory-limit", found: byteText(memoryLimit),
      problem: "is too small to merge \(byteText(byteCount)) of importance data",
      advice: "raise it to \(byteText(2 * byteCount)), or merge fewer files at a time")
  }

  /// Refuses data of another model before hours of work go into a sum with them.
  private static func check(_ merged: [ImportanceSums], fit model: ReferenceModel?)
    throws(FormatError)
  {
    guard let model else { return }
    var matrices: [ExactString: Int] = [:]
    for (role, length) in model.inputLengths {
      matrices[ExactString(role.archiveName)] = length
    }
    for part in merged {
      if let last = part.lastLayer, last != model.dimensions.layerCount - 1 {
        throw FormatError(
          file: part.file, field: "imatrix",
          reason: .inconsistent(
            "has layers up to \(last), the model up to \(model.dimensions.layerCount - 1)"),
          advice: "the importance data belong to another model")
      }
      for (name, entry) in part.entries.sorted(by: { $0.key < $1.key }) {
        let needed = matrices[name]
        if needed == entry.sums.count || name == "token_embd.weight" { continue }
        throw FormatError(
          file: part.file, field: "imatrix[\(name)]",
          reason: .inconsistent(
            needed.map { "has \(entry.sums.count) sums, the model's tensor needs \($0)" }
              ?? "the model has no such tensor"),
          advice: "the importance data belong to another model")
      }
    }
  }

  /// Everything that is read, so that nothing of it is written over.
  package var inputs: [InputFiles] {
    let model = opened.map {
      InputFiles(paths: $0.model.model.source.files, folder: $0.model.folder)
    }
    let others = InputFiles(paths: options.merged + [options.text].compactMap { $0 })
    return [model, others].compactMap { $0 }
  }

  /// What is written: the output, and beside it the state of an interrupted run.
  package var outputs: [String] {
    opened == nil
      ? [options.output] : [options.output, CalibrationState.path(output: options.output)]
  }

  // MARK: Running

  /// Chunks that a run with `--resume` need not read again, and all chunks.
  package var kept: (chunkCount: Int, totalChunkCount: Int) {
    (keptChunks.withLock { $0 }, opened?.text.chunkCount ?? 0)
  }

  /// Chunks that are not done yet.
  private var chunksLeft: Range<Int> {
    (state?.chunkCount ?? 0)..<(opened?.text.chunkCount ?? 0)
  }

  /// What the forward pass will take; `nil` when files are only merged.
  ///
  /// - Throws: `ForwardBudget.TooSmall`.
  package func budget() throws(ForwardBudget.TooSmall) -> ForwardBudget? {
    guard let (opened, text) = opened else { return nil }
    // In double precision while they grow, in single precision when they are written.
    let sums = opened.model.inputLengths.values.reduce(0) { $0 + UInt64($1) } * 12
    return try ForwardBudget(
      chunkCount: chunksLeft.count, limit: memoryLimit,
      used: ProcessMemory.residentByteCount + sums, threadCount: threadCount,
      earlierGroup: state?.groupChunkCount
    ) { chunks in
      ForwardBudget.passByteCount(
        [opened.model], chunks: chunks, contextLength: text.contextLength, threadCount: threadCount)
    }
  }

  /// One line on what the run will read, for the user to know beforehand.
  package func cost(_ budget: ForwardBudget) -> String {
    budget.cost(
      [opened].compactMap { $0?.model.model }, chunkCount: chunksLeft.count,
      contextLength: opened?.text.contextLength ?? 0)
  }

  /// Sums up, merges and writes.
  ///
  /// - Throws: `FormatError`, `OutputError`; `ForwardCancelled`, after which the state beside the
  ///   output holds all groups of chunks that were done.
  package func run(
    budget: ForwardBudget?, cancellation: CancellationFlag,
    progress: (@Sendable (RunProgress) -> Void)?
  ) throws -> CalibrationResult {
    let start = ContinuousClock.now
    var parts = merged
    if let (opened, text) = opened, let budget {
      let collector = InputCollector(state?.inputs ?? [])
      try collect(collector, opened.model, text, budget, cancellation, progress)
      let own = try Self.sums(collector, text, model: opened.path)
      // Named last, as by the tool.
      parts.append(own)
    }
    var sums = try ImportanceSums.merged(
      parts, chunkSize: opened?.text.contextLength ?? options.contextLength)
    // As they were reached, not as they are estimated.
    let expertUses = ImportanceStatistics(sums).expertUses
    let estimates = options.estimatesMissing ? sums.estimateMissing() : []
    let byteCount = try sums.write(to: output)
    try output.commit()
    // Its run is complete, or it is the left-over of one that nobody went on with.
    if opened != nil { OutputFile.remove(CalibrationState.path(output: options.output)) }
    var result = CalibrationResult(
      output: options.output, byteCount: byteCount, matrixCount: sums.entries.count,
      tokenCount: chunksLeft.count * (opened?.text.contextLength ?? 0),
      chunkCount: sums.chunkCount, chunkSize: sums.chunkSize ?? 0,
      resumedChunkCount: state?.chunkCount ?? 0,
      expertUses: expertUses)
    result.estimatedExpertCount = estimates.reduce(0) { $0 + $1.experts.count }
    result.elapsed = ContinuousClock.now - start
    result.peakResidentByteCount = ProcessMemory.peakResidentByteCount
    return result
  }

  private func collect(
    _ collector: InputCollector, _ model: ReferenceModel, _ text: ChunkedText,
    _ budget: ForwardBudget, _ cancellation: CancellationFlag,
    _ progress: (@Sendable (RunProgress) -> Void)?
  ) throws {
    let scratch = ForwardScratch(
      [model], tokenCount: budget.chunksPerGroup * text.contextLength,
      contextLength: text.contextLength, threadCount: threadCount)
    let pass = ForwardPass(
      model, scratch: scratch, kernels: kernels, cancellation: cancellation, observer: collector)
    let groups = budget.groups(chunkCount: chunksLeft.count)
    let layerCount = model.dimensions.layerCount
    let meter = ForwardMeter(
      groupCount: groups.count, layerCount: layerCount,
      tokenCount: chunksLeft.count * text.contextLength, report: progress)
    let statePath = CalibrationState.path(output: options.output)
    for (number, group) in groups.enumerated() {
      let chunks =
        group.lowerBound + chunksLeft.lowerBound..<group.upperBound + chunksLeft.lowerBound
      let tokens = text.input(ofChunks: chunks)
      try pass.embed(tokens)
      for layer in 0..<layerCount {
        meter.begin(group: number, layer: layer)
        try pass.runLayer(layer)
      }
      if options.processesOutput {
        meter.begin(group: number, layer: layerCount)
        try pass.beginOutput(positions: Array(tokens.indices))
        try pass.observeOutput()
      }
      if let name = collector.misfittingInput {
        throw FormatError(
          file: statePath, field: name,
          reason: .inconsistent("its sums do not have the size of the model's tensor"),
          advice: "leave out --resume to begin anew")
      }
      // Sums of a model that changed on the way belong to no model.
      try model.source.checkUnchanged()
      if number + 1 < groups.count {
        try CalibrationState(
          run: run, chunkCount: chunks.upperBound, groupChunkCount: budget.chunksPerGroup,
          inputs: collector.sortedInputs
        ).write(statePath)
        _ = keptChunks.exchange(chunks.upperBound)
      }
    }
  }

  /// The sums in single precision, for every matrix by its name.
  private static func sums(_ collector: InputCollector, _ text: ChunkedText, model: String)
    throws(FormatError) -> ImportanceSums
  {
    var result = ImportanceSums(
      entries: [:], datasets: [text.path], chunkCount: text.chunkCount,
      chunkSize: text.contextLength, file: model)
    for input in collector.sortedInputs {
      let sums = input.allSums.map { Float($0) }
      if let index = sums.firstIndex(where: { !$0.isFinite }) {
        throw FormatError(
          file: model, field: input.matrices[0],
          reason: .outOfRange(
            found: "inputs too large to sum up, column \(index % input.columnCount)",
            allowed: "squares whose sum single precision holds"),
          advice: "the weights are damaged, or made for higher precision")
      }
      let entry = ImportanceSums.Entry(sums: sums, counts: input.allCounts.map { Float($0) })
      for name in input.matrices { result.entries[ExactString(name)] = entry }
    }
    return result
  }
}
