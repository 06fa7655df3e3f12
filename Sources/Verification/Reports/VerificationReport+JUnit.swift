import ByteIO

extension VerificationReport {
  /// The result as JUnit XML: each gate and each group of tensors is a test case.
  ///
  /// All cases come from one measurement, so the measurement is a case of its own, which has the
  /// time and the figures.
  ///
  /// Source: formats/verification/junit.xsd.
  package var junit: String {
    var suites = [measurementSuite]
    if !result.gates.isEmpty {
      suites.append(JUnitSuite(name: "gates", cases: result.gates.map(\.testCase)))
    }
    if !result.tensors.isEmpty {
      let cases = TensorGroup.list(result.tensors).map(\.testCase)
      suites.append(JUnitSuite(name: "tensors", cases: cases))
    }
    let counts = suites.reduce(into: (tests: 0, failures: 0)) {
      $0.tests += $1.cases.count
      $0.failures += $1.failureCount
    }
    var lines = ["<?xml version=\"1.0\" encoding=\"UTF-8\"?>"]
    lines.append(
      "<testsuites name=\"ingot verify\" tests=\"\(counts.tests)\" failures=\"\(counts.failures)\""
        + " errors=\"0\" time=\"\(fixed(result.seconds, 3))\">")
    for suite in suites { lines += suite.lines }
    lines.append("</testsuites>")
    return lines.joined(separator: "\n") + "\n"
  }

  private var measurementSuite: JUnitSuite {
    var output = (result.figures + result.settings).map { figure in
      "\(figure.label): \(figure.value)" + (figure.note.isEmpty ? "" : " (\(figure.note))")
    }
    output.append("Verdict: \(result.verdict.rawValue): \(result.verdictReason)")
    let properties = [
      ("ingot", ingotVersion), ("reference", result.reference.path),
      ("candidate", result.candidate?.path ?? ""), ("type", result.candidate?.type ?? ""),
    ]
    return JUnitSuite(
      name: "measurement",
      cases: [
        JUnitCase(
          name: "measurement", suite: "measurement", seconds: result.seconds, output: output,
          warnings: result.warnings)
      ],
      properties: properties.filter { !$0.1.isEmpty })
  }
}

extension GateOutcome {
  fileprivate var testCase: JUnitCase {
    let figures =
      "value \(valueText), bound \(boundText), limit \(relation) \(limitText)"
    return JUnitCase(
      name: name, suite: "gates", output: ["\(title): \(figures)"],
      failure: passed
        ? nil : JUnitCase.Failure(message: "\(title): \(figures)", detail: [advice ?? ""]))
  }
}

extension TensorGroup {
  /// More names than these help nobody in a log.
  private static let findingLimit = 50

  fileprivate var testCase: JUnitCase {
    var output = [
      "\(counted(tensors.count, "tensor")), \(types.joined(separator: ", ")),"
        + " \(fixed(bitsPerWeight, 2)) bits per weight,"
        + " largest relative error \(significant(largestError, 4))"
    ]
    if let worst { output.append("worst: \(worst.displayName): \(worst.figures)") }
    let found = findings
    guard let first = found.first else {
      return JUnitCase(name: role, suite: "tensors", output: output)
    }
    var detail = found.prefix(Self.findingLimit).map {
      "\($0.displayName): \($0.finding ?? "") (\($0.figures))"
    }
    if found.count > Self.findingLimit {
      detail.append("and \(found.count - Self.findingLimit) more")
    }
    let others = found.count > 1 ? " and \(found.count - 1) more" : ""
    return JUnitCase(
      name: role, suite: "tensors", output: output,
      failure: JUnitCase.Failure(
        message: "\(first.displayName): \(first.finding ?? "")" + others, detail: Array(detail)))
  }
}

extension TensorError {
  fileprivate var figures: String {
    "\(type.name), relative error \(significant(relativeRMSError, 4))"
      + (allowedError.map { ", its type explains \(significant($0, 4))" } ?? "")
      + ", cosine \(cosineText), largest difference \(significant(maximumError, 4))"
  }
}

private struct JUnitSuite {
  var name: String
  var cases: [JUnitCase]
  var properties: [(String, String)] = []

  var failureCount: Int { cases.count { $0.failure != nil } }

  var lines: [String] {
    let seconds = cases.reduce(0) { $0 + $1.seconds }
    var lines = [
      "  <testsuite name=\"\(name)\" tests=\"\(cases.count)\" failures=\"\(failureCount)\""
        + " errors=\"0\" skipped=\"0\" time=\"\(fixed(seconds, 3))\">"
    ]
    if !properties.isEmpty {
      lines.append("    <properties>")
      for (name, value) in properties {
        lines.append("      <property name=\"\(name)\" value=\"\(Markup.xml(value))\"/>")
      }
      lines.append("    </properties>")
    }
    for testCase in cases { lines += testCase.lines }
    return lines + ["  </testsuite>"]
  }
}

private struct JUnitCase {
  struct Failure {
    var message: String
    var detail: [String]
  }
  var name: String
  var suite: String
  var seconds = 0.0
  var output: [String]
  var warnings: [String] = []
  var failure: Failure?

  var lines: [String] {
    var lines = [
      "    <testcase classname=\"ingot.verify.\(suite)\" name=\"\(Markup.xml(name, limit: 200))\""
        + " time=\"\(fixed(seconds, 3))\">"
    ]
    if let failure {
      lines.append(
        "      <failure message=\"\(Markup.xml(failure.message))\" type=\"\(suite)\">"
          + Self.text(failure.detail) + "</failure>")
    }
    lines.append("      <system-out>" + Self.text(output) + "</system-out>")
    if !warnings.isEmpty {
      lines.append("      <system-err>" + Self.text(warnings) + "</system-err>")
    }
    return lines + ["    </testcase>"]
  }

  /// Lines of ours, each made safe on its own.
  private static func text(_ lines: [String]) -> String {
    lines.map { Markup.xml($0) }.joined(separator: "\n")
  }
}
