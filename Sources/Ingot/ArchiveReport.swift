import Quantizers
import StrictJSON
import Verification

/// What `ingot check` found in one archive.
public struct ArchiveReport: Sendable {
  private let report: CheckReport

  /// Reads the whole archive, block by block.
  ///
  /// - Parameters:
  ///   - path: the archive, or its first part.
  ///   - manifest: path of a manifest to compare it with.
  ///   - threadCount: of what is read at a time.
  /// - Throws: `FormatError` when the file cannot be read as an archive at all (with a manifest that
  ///   is a finding), or when the manifest is none.
  public init(
    checking path: String, against manifest: String? = nil,
    threadCount: Int = Converter.defaultThreadCount
  ) throws {
    let kernels = try Converter.statingUsage { try KernelTable.choice.get() }
    let rules = ArchiveCheck.BlockRules(
      canValidate: { kernels.canValidate($0) },
      firstInvalidBlock: { kernels.firstInvalidBlock($0, blocks: $1, blockCount: $2) })
    let check = ArchiveCheck(rules: rules, threadCount: threadCount)
    if let manifest {
      report = try check.run(path, against: ArchiveManifest(manifest))
    } else {
      report = try check.run(path)
    }
  }

  /// Whether nothing is wrong; warnings may be there.
  public var passed: Bool { report.passed }

  /// A line for each finding and a verdict.
  public var text: String {
    var lines = report.findings.map(\.description)
    if report.omittedFindingCount > 0 {
      lines.append("… and \(report.omittedFindingCount) more")
    }
    let size =
      "\(report.tensorCount) tensors, \(report.keyCount) keys, \(report.tensorByteCount) bytes of tensors"
    lines.append("\(printable(report.files.first ?? "")): \(passed ? "ok" : "FAILED"): \(size)")
    return lines.joined(separator: "\n")
  }

  /// Stable JSON.
  public var json: String {
    var writer = JSONWriter()
    writer.object { json in
      json.key("passed")
      json.value(passed)
      json.key("files")
      json.array { json in for file in report.files { json.value(file) } }
      json.key("architecture")
      json.value(report.architecture)
      json.key("keys")
      json.value(report.keyCount)
      json.key("tensors")
      json.value(report.tensorCount)
      json.key("tensorBytes")
      json.value(report.tensorByteCount)
      json.key("omittedFindings")
      json.value(report.omittedFindingCount)
      json.key("findings")
      json.array { json in for finding in report.findings { finding.write(to: &json) } }
    }
    return writer.text
  }
}

extension CheckReport.Finding {
  fileprivate func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("severity")
      json.value(severity.rawValue)
      json.key("subject")
      json.value(subject)
      json.key("file")
      json.value(file)
      if let fileOffset {
        json.key("offset")
        json.value(fileOffset)
      }
      json.key("problem")
      json.value(problem)
      json.key("allowed")
      json.value(allowed)
    }
  }
}
