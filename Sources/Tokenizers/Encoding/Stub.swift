import Tensors
package struct TokenEncoder: Sendable {
  package init(checkpoint directory: String, vocabularySize: Int?) throws { fatalError() }
  package init(archive metadata: Metadata, file: String) throws { fatalError() }
  package func encode(_ text: [UInt8], addsSpecial: Bool, parsesSpecial: Bool) throws -> [Int32] { [] }
  package var beginningOfText: Int32? { nil }
  package var addsBeginningOfText: Bool { false }
  package var tokenCount: Int { 0 }
  package func bytes(of token: Int32) -> [UInt8] { [] }
}
