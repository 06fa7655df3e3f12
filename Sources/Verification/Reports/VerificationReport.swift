/// A verification's result in every form in which people and machines want it.
///
/// Each form is a pure function of the result: same result, same bytes.
/// Source: formats/verification/README.md.
package struct VerificationReport: Sendable {
  package let result: VerificationResult
  /// Of the command that made the result.
  package let ingotVersion: String

  package init(_ result: VerificationResult, ingotVersion: String) {
    self.result = result
    self.ingotVersion = ingotVersion
  }

  /// How many tensors are listed one by one where all would be too many; findings come first.
  static let listedTensorLimit = 20
  /// The order of tables of tensors, in words.
  static let tensorOrder =
    "findings first, then by error as a part of what the type allows"
  /// How many positions are shown in context.
  static let listedTokenLimit = 20
}
