/// Tables about bytes and names that tests read and the binary embeds.
package enum Formats {
  /// Chat formats for Modelfiles: `formats/modelfile/README.md`.
  package static var chatFamilies: [UInt8] { PackageResources.chat_families_tsv }
}

extension Formats {
  /// Stock mixes: `formats/mixes/README.md` explains these five tables.
  package enum Mixes {
    package static var mixes: [UInt8] { PackageResources.mixes_tsv }
    package static var rules: [UInt8] { PackageResources.mix_rules_tsv }
    package static var roles: [UInt8] { PackageResources.tensor_roles_tsv }
    package static var classes: [UInt8] { PackageResources.model_classes_tsv }
    package static var outputTypes: [UInt8] { PackageResources.output_types_tsv }
  }
}
