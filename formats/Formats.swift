/// Tables about bytes and names that tests read and the binary embeds.
package enum Formats {
  /// Names of pre-tokenizers by split expression: `tokenizers/pre-tokenizers.tsv`.
  package static var preTokenizers: [UInt8] { PackageResources.pre_tokenizers_tsv }
}
