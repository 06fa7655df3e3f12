/// Tables about bytes and names that tests read and the binary embeds.
package enum Formats {}

extension Formats {
  /// What `ingot check` expects of an archive: `checks/README.md` explains the two tables.
  package enum Checks {
    package static var keys: [UInt8] { PackageResources.archive_keys_tsv }
    package static var tensors: [UInt8] { PackageResources.archive_tensors_tsv }
  }
}
