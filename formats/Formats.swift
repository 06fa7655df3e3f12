/// Tables about bytes and names that tests read and the binary embeds.
package enum Formats {}

extension Formats {
  /// `architectures/architectures.tsv`: model classes and what they mean.
  package static var architectures: [UInt8] { PackageResources.architectures_tsv }

  /// `architectures/NAME.tsv`: tensor names of one architecture; `nil` when there is no such table.
  package static func tensorNames(_ name: String) -> [UInt8]? {
    switch name {
    case "llama": PackageResources.llama_tsv
    default: nil
    }
  }
}
