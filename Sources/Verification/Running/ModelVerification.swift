import ByteIO
import ForwardRuns
import Planning
import Quantizers
import ReferenceModel
import Tensors
import Threads
import Tokenizers

/// A verification, opened and planned: everything but the numbers.
package struct ModelVerification: Sendable {
  private let options: VerificationOptions
  /// `nil` with a saved reference.
  private let reference: OpenedModel?
  private let saved: SavedReference?
  private let candidate: OpenedModel?
  /// `nil` when only tensors are compared.
  private let text: ChunkedText?
  private let textChecksum: UInt32
  /// Opened first, so that what cannot be written is known before anything is computed.
  private let savedOutput: OutputFile?
  private let memoryLimit: UInt64
  private let threadCount: Int
  private let kernels: KernelTable
  private var warnings: [String] = []

  /// Opens both models, compares their facts and cuts the text.
  ///
  /// - Throws: `FormatError` about an input, or when the models cannot be compared; `OptionError`.
  package init(
    _ options: VerificationOptions, kernels: KernelTable, memoryLimit: UInt64, threadCount: Int
  ) throws {
    self.options = options
    self.kernels = kernels
    self.memoryLimit = memoryLimit
    self.threadCount = threadCount
    let isSaved = try SavedReference.isOne(options.reference)
    try Self.check(options, isSaved: isSaved)
    saved = isSaved ? try SavedReference(options.reference) : nil
    reference = isSaved ? nil : try OpenedModel(options.reference)
    if let path = options.candidate, try SavedReference.isOne(path) {
      throw OptionError(
        option: "CANDIDATE", found: path, problem: "is a saved reference",
        advice: "name it first: it takes the place of the original")
    }
    candidate = try options.candidate.map { try OpenedModel($0) }
    if let reference, let candidate {
      if reference.metadata != nil, candidate.metadata == nil {
        throw OptionError(
          option: "CANDIDATE", found: candidate.path,
          problem: "is a checkpoint, and REFERENCE an archive",
          advice: "swap them: the original comes first")
      }
      try ConfigurationComparison.checkComparable(reference, candidate)
      try VocabularyComparison.check(reference, candidate)
    }
    if let saved, let candidate { try Self.check(saved, candidate) }
    var checksum: UInt32?
    if let saved {
      text = saved.text
    } else if let path = options.text, let reference {
      let bytes = try TextFile(path, memoryLimit: memoryLimit)
      checksum = bytes.checksum
      text = try Self.cut(bytes, options, reference, candidate, &warnings)
    } else {
      text = nil
    }
    textChecksum = checksum ?? 0
    if let saved, let path = options.text {
      guard try TextFile(path, memoryLimit: memoryLimit).checksum == saved.textChecksum else {
        throw FormatError(
          file: path, field: "text",
          reason: .inconsistent("is not the text of the saved reference"),
          advice: "leave out --text: the saved reference has it")
      }
    }
    savedOutput = try options.savedReference.map { try OutputFile($0) }
  }

  /// Refuses options that ask for nothing, or for what cannot be.
  private static func check(_ options: VerificationOptions, isSaved: Bool) throws(OptionError) {
    if isSaved, options.candidate == nil {
      throw OptionError(
        option: "CANDIDATE", found: "", problem: "a saved reference needs one to compare with")
    }
    if let path = options.savedReference {
      if isSaved {
        throw OptionError(
          option: "--save-reference", found: path, problem: "the reference is a saved one already")
      }
      if options.text == nil {
        throw OptionError(
          option: "--save-reference", found: path,
          problem: "stores what the reference predicts, and there is no text",
          advice: "add --text FILE")
      }
    }
    if options.candidate == nil, options.text == nil {
      throw OptionError(
        option: "--text", found: "", problem: "is needed where there is no candidate to compare",
        advice: "add --text FILE, or name a candidate")
    }
    try checkEffects(options, isSaved: isSaved)
    try ChunkedText.check(contextLength: options.contextLength, chunkLimit: options.chunkLimit)
  }

  /// Refuses options that would change nothing: who gave them expects something else.
  private static func checkEffects(
    _ options: VerificationOptions, isSaved: Bool
  ) throws(OptionError) {
    let cuts = [("--context", options.contextLength), ("--chunks", options.chunkLimit)]
    for (option, value) in cuts {
      guard let value, isSaved || options.text == nil else { continue }
      throw OptionError(
        option: option, found: "\(value)",
        problem: isSaved
          ? "has no effect: the saved reference says how its text is cut"
          : "has no effect: there is no text to cut",
        advice: isSaved ? "leave it out" : "add --text FILE, or leave it out")
    }
    guard let compares = options.comparesTensors else { return }
    let option = compares ? "--tensors" : "--no-tensors"
    if isSaved || options.candidate == nil {
      throw OptionError(
        option: option, found: "",
        problem: isSaved
          ? "has no effect: a saved reference has no tensors"
          : "has no effect: there is no candidate to compare",
        advice: "leave it out")
    }
    if !compares, options.text == nil {
      throw OptionError(
        option: option, found: "", problem: "leaves nothing to compare, as there is no text",
        advice: "add --text FILE, or leave it out")
    }
  }

  /// What a run will measure.
  package var measured: Gates.Measured {
    var measured: Gates.Measured = []
    guard candidate != nil else { return measured }
    if text != nil { measured.insert(.text) }
    if reference != nil, comparesTensors { measured.insert(.tensors) }
    return measured
  }

  private var comparesTensors: Bool { options.comparesTensors ?? true }

  /// Why tensors, or everything but the reference's perplexity, are not measured where they are not.
  package var missing: Gates.Missing {
    candidate == nil ? .candidate : reference == nil ? .original : .tensors
  }

  /// Everything that is read, so that nothing of it is written over.
  package var inputs: [InputFiles] {
    let opened = [reference, candidate].compactMap { $0 }
    return opened.map { model in
      InputFiles(
        paths: model.model.source.files,
        folder: model.folder)
    } + [InputFiles(paths: [options.text, saved?.file.path].compactMap { $0 }, folder: nil)]
  }

  /// `general.file_type` of the candidate.
  package var candidateFileType: UInt32? { candidate?.fileType }

  /// What is known of a candidate whose types were chosen; `nil` for any other.
  ///
  /// - Throws: `FormatError` about its metadata.
  package func candidateChosenTypes() throws(FormatError) -> ChosenTypes? {
    guard let candidate, let metadata = candidate.metadata else { return nil }
    return try ChosenTypes(
      metadata, tensors: candidate.model.source.tensors, file: candidate.path)
  }

  private static func cut(
    _ text: TextFile, _ options: VerificationOptions, _ reference: OpenedModel,
    _ candidate: OpenedModel?, _ warnings: inout [String]
  ) throws -> ChunkedText {
    let tokens = text.tokens(reference.encoder)
    if let candidate,
      let warning = VocabularyComparison.warning(
        reference: tokens, candidate: text.tokens(candidate.encoder))
    {
      warnings.append(warning)
    }
    let contextLength = options.contextLength ?? VerificationOptions.defaultContextLength
    if let warning = ChunkedText.warning(contextLength: contextLength, model: reference) {
      warnings.append(warning)
    }
    return try ChunkedText(
      text, tokens: tokens, encoder: reference.encoder, contextLength: contextLength,
      chunkLimit: options.chunkLimit)
  }

  private static func check(_ saved: SavedReference, _ candidate: OpenedModel) throws {
    let size = candidate.model.dimensions.vocabularySize
    guard size == saved.vocabularySize else {
      throw FormatError(
        file: candidate.path, field: "vocabulary",
        reason: .inconsistent("is \(size), the saved reference's \(saved.vocabularySize)"),
        advice: "these are two different models")
    }
    guard VocabularyComparison.checksum(candidate.encoder) == saved.vocabularyChecksum else {
      throw FormatError(
        file: candidate.path, field: "tokenizer",
        reason: .inconsistent("its tokens are not those of the saved reference"),
        advice: "save the reference again, or look at the archive's tokenizer")
    }
  }

  // MARK: Running

  private var models: [ReferenceModel] { [reference, candidate].compactMap { $0?.model } }

  /// What is kept per position; `nil` when no reference is saved.
  private var keptCounts: SavedReference.KeptCounts? {
    guard options.savedReference != nil else { return nil }
    return SavedReference.KeptCounts(vocabularySize: models[0].dimensions.vocabularySize)
  }

  /// What the forward pass will take; `nil` without a text.
  ///
  /// - Throws: `ForwardBudget.TooSmall`.
  package func budget() throws -> ForwardBudget? {
    guard let text else { return nil }
    return try ForwardBudget(
      models: models, text: text, limit: memoryLimit, used: ProcessMemory.residentByteCount,
      threadCount: threadCount, keptCounts: keptCounts,
      lookupCount: saved?.header.keptCounts.total ?? 0)
  }

  /// One line on what the run will read, for the user to know beforehand.
  package func cost(_ budget: ForwardBudget) -> String {
    budget.cost(
      models, chunkCount: text?.chunkCount ?? 0, contextLength: text?.contextLength ?? 0)
  }

  /// Compares configurations, tensors and predictions.
  package func run(
    budget: ForwardBudget?, cancellation: CancellationFlag,
    progress: (@Sendable (RunProgress) -> Void)?
  ) throws -> VerificationResult {
    let start = ContinuousClock.now
    guard let side = saved?.side ?? reference?.side else { preconditionFailure("no reference") }
    var result = VerificationResult(reference: side, candidate: candidate?.side)
    result.warnings = warnings
    if saved != nil {
      result.reference.kind = .savedReference
      result.warnings.append(
        "the reference was saved in part: divergences of single positions are estimates")
    }
    if let saved, let candidate {
      result.gates = ConfigurationComparison.differences(
        adds: saved.text.beginningOfText != nil, saved.text.beginningOfText, candidate.encoder)
    }
    if let reference, let candidate {
      result.gates = ConfigurationComparison.differences(reference, candidate)
      if comparesTensors {
        result.tensors = try compareTensors(reference, candidate, cancellation, progress)
        let compared = Set(result.tensors.map(\.name))
        result.uncomparedTensors = candidate.model.source.tensors.map(\.name.string)
          .filter { !compared.contains($0) }
      }
    }
    if let text, let budget {
      var run = ForwardRun(
        text: text, models: models, saved: saved, budget: budget, kernels: kernels,
        threadCount: threadCount, writer: try writer(text), keptCounts: keptCounts,
        cancellation: cancellation, progress: progress)
      try run.run()
      result.protocolSettings = text.settings
      result.distribution = DistributionDrift(
        run.scores, chunkCount: text.chunkCount, hasCandidate: candidate != nil,
        isFromSavedReference: saved != nil)
      result.layers = DriftOrigin.marked(run.meter.layers, tensors: result.tensors)
      if let encoder = candidate?.encoder {
        result.worstTokens = WorstToken.list(run.scores, text: text, encoder: encoder)
      }
    }
    for model in models { try model.source.checkUnchanged() }
    try saved?.file.checkUnchanged()
    result.elapsed = ContinuousClock.now - start
    result.peakResidentByteCount = ProcessMemory.peakResidentByteCount
    return result
  }

  private func compareTensors(
    _ reference: OpenedModel, _ candidate: OpenedModel, _ cancellation: CancellationFlag,
    _ progress: (@Sendable (RunProgress) -> Void)?
  ) throws -> [TensorError] {
    let comparison = try TensorComparison(
      reference: reference.model, candidate: candidate.model, kernels: kernels,
      threadCount: threadCount, memoryLimit: memoryLimit)
    let total = Double(max(1, comparison.byteCount))
    return try comparison.run(cancellation: cancellation) { done in
      progress?(
        RunProgress(
          step: .tensors, fraction: Double(done) / total, detail: "comparing tensors",
          tokensPerSecond: 0))
    }
  }

  private func writer(_ text: ChunkedText) throws -> SavedReferenceWriter? {
    guard let savedOutput, let keptCounts, let reference else { return nil }
    return try SavedReferenceWriter(
      savedOutput,
      SavedReferenceHeader(
        text: text, vocabularySize: reference.model.dimensions.vocabularySize,
        keptCounts: keptCounts,
        vocabularyChecksum: VocabularyComparison.checksum(reference.encoder),
        textChecksum: textChecksum, side: reference.side))
  }
}
