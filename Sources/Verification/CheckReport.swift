import ByteIO

/// What is wrong with an archive that can be read.
package struct CheckReport: Hashable, Sendable, Codable {
  /// One thing that is not as it has to be.
  package struct Finding: Hashable, Sendable, Codable, CustomStringConvertible {
    package enum Severity: String, Sendable, Codable {
      /// The archive is broken: it does not load, or gives wrong results.
      case error
      /// Worth knowing; the archive passes.
      case warning
    }
    package var severity: Severity
    /// Tensor or key.
    package var subject: String
    package var file: String
    /// Absolute position in `file`; `nil` where no single byte is meant.
    package var fileOffset: UInt64?
    /// What was found.
    package var problem: String
    /// What would be right.
    package var allowed: String?

    package var description: String {
      var text = "\(severity): \(printable(subject)): \(printable(problem))"
      if let allowed { text += ", allowed: \(printable(allowed))" }
      if let fileOffset { text += " (\(printable(file)): byte \(fileOffset))" }
      return text
    }
  }

  /// Paths of all parts of the archive.
  package var files: [String]
  package var architecture: String?
  package var keyCount: Int
  package var tensorCount: Int
  /// Of tensor data, all of which was decoded unless a warning says otherwise.
  package var tensorByteCount: UInt64
  /// At most `findingLimit`, in the order of the checks.
  package private(set) var findings: [Finding] = []
  /// Findings beyond the limit.
  package private(set) var omittedFindingCount = 0
  private var errorCount = 0

  /// A file may be wrong in a million places; these many are listed.
  package static let findingLimit = 1000

  package init(
    files: [String], architecture: String?, keyCount: Int, tensorCount: Int, tensorByteCount: UInt64
  ) {
    self.files = files
    self.architecture = architecture
    self.keyCount = keyCount
    self.tensorCount = tensorCount
    self.tensorByteCount = tensorByteCount
  }

  /// Whether there is no error; warnings may be there.
  package var passed: Bool { errorCount == 0 }

  /// Adds an error; beyond the limit its text is not even made.
  mutating func error(
    _ subject: String, _ problem: @autoclosure () -> String,
    allowed: @autoclosure () -> String? = nil, file: String? = nil, fileOffset: UInt64? = nil
  ) {
    errorCount += 1
    guard hasRoom() else { return }
    findings.append(
      Finding(
        severity: .error, subject: subject, file: file ?? files.first ?? "",
        fileOffset: fileOffset, problem: problem(), allowed: allowed()))
  }

  /// Adds a warning; beyond the limit its text is not even made.
  mutating func warning(
    _ subject: String, _ problem: @autoclosure () -> String, file: String? = nil,
    fileOffset: UInt64? = nil
  ) {
    guard hasRoom() else { return }
    findings.append(
      Finding(
        severity: .warning, subject: subject, file: file ?? files.first ?? "",
        fileOffset: fileOffset, problem: problem(), allowed: nil))
  }

  /// Whether another finding is listed; counts it if not.
  private mutating func hasRoom() -> Bool {
    if findings.count < Self.findingLimit { return true }
    omittedFindingCount += 1
    return false
  }
}
