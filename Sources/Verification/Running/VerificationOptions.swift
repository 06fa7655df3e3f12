/// What a verification is asked to do.
public struct VerificationOptions: Sendable {
  /// Checkpoint, archive, or saved reference.
  public var reference: String
  /// The archive in question; `nil` measures the reference alone.
  public var candidate: String?
  /// Without a text only configurations and tensors are compared; a saved reference has its own.
  public var text: String?
  /// Tokens of a chunk; `nil` is 512, or what a saved reference has.
  public var contextLength: Int?
  public static let defaultContextLength = 512
  /// Most chunks of the text; `nil` takes all.
  public var chunkLimit: Int?
  /// Where to store what later runs need of the reference.
  public var savedReference: String?
  /// Whether tensors are compared with their sources; `nil` compares them where there are any, which
  /// is also where the question may be answered.
  public var comparesTensors: Bool?

  public init(reference: String, candidate: String?) {
    self.reference = reference
    self.candidate = candidate
  }
}
