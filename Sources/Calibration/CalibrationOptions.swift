import ByteIO
import ForwardRuns
import Planning

/// What a calibration is asked to do.
public struct CalibrationOptions: Sendable {
  /// Checkpoint or archive; `nil` only merges files.
  public var checkpoint: String?
  /// What the model reads.
  public var text: String?
  /// The importance file to write.
  public var output: String
  /// Tokens of a chunk; `nil` is 512, or what merged files have.
  public var contextLength: Int?
  public static let defaultContextLength = 512
  /// Most chunks of the text; `nil` takes all.
  public var chunkLimit: Int?
  /// Whether the output matrix gets importance too.
  public var processesOutput = false
  /// Whether texts of special tokens in the text become those tokens.
  public var parsesSpecial = false
  /// Importance files whose sums are added.
  public var merged: [String] = []
  /// Gives experts that no token reached the average of the others.
  public var estimatesMissing = false
  /// Goes on from what an interrupted run left beside the output.
  public var resumes = false

  public init(checkpoint: String?, output: String) {
    self.checkpoint = checkpoint
    self.output = output
  }

  /// Refuses options that ask for nothing, or for what cannot be.
  func check() throws(OptionError) {
    if checkpoint != nil, text == nil {
      throw OptionError(
        option: "--text", found: "", problem: "is needed: the text that the model reads")
    }
    if checkpoint == nil {
      if merged.isEmpty {
        throw OptionError(
          option: "CHECKPOINT", found: "", problem: "is missing, and so are files to --merge")
      }
      let others = [
        ("--text", text != nil), ("--chunks", chunkLimit != nil),
        ("--process-output", processesOutput), ("--parse-special", parsesSpecial),
        ("--resume", resumes),
      ]
      if let (option, _) = others.first(where: { $0.1 }) {
        throw OptionError(option: option, found: "", problem: "needs a CHECKPOINT")
      }
    }
    try ChunkedText.check(contextLength: contextLength, chunkLimit: chunkLimit)
  }
}

/// What a calibration found and wrote.
public struct CalibrationResult: Sendable {
  public var output: String
  public var byteCount: UInt64
  /// Matrices that have importance.
  public var matrixCount: Int
  /// Of the model, this run; 0 when files were only merged.
  public var tokenCount: Int
  /// Of the written file, merged files included.
  public var chunkCount: Int
  public var chunkSize: Int
  /// Chunks that an interrupted run had done.
  public var resumedChunkCount = 0
  /// Of the written file; empty for a dense model.
  public var expertUses: [ExpertUse]
  /// Experts that no token reached, and whose importance is an estimate.
  public var estimatedExpertCount = 0
  public var elapsed: Duration = .zero
  public var peakResidentByteCount: UInt64 = 0
}
