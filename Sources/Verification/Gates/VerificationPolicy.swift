import ByteIO
import Formats
import Planning
import StrictJSON

/// A named set of gates, from a file or shipped for a stock mix.
///
/// Source: formats/verification/README.md and policies.tsv.
package struct VerificationPolicy: Hashable, Sendable {
  /// The path, or the mix that it is shipped for.
  package var name: String
  package var description: String?
  package var gates: Gates
  package var isShipped: Bool

  /// What `--policy` means: `auto`, a file, or the name of a stock mix.
  ///
  /// - Parameters:
  ///   - argument: a file that exists wins over a mix of that name; `./auto` is a file.
  ///   - fileType: `general.file_type` of the candidate, which `auto` goes by; `nil` without one.
  ///   - chosen: of a candidate whose types were chosen one by one, which `auto` goes by then.
  ///   - hasCandidate: whether there is a candidate at all.
  /// - Returns: the policy; its gates still have to fit what the run measures.
  /// - Throws: `OptionError` when nothing is meant by it, `FormatError` when the file is wrong.
  package static func resolve(
    _ argument: String, fileType: UInt32?, chosen: ChosenTypes? = nil, hasCandidate: Bool = true
  ) throws -> VerificationPolicy {
    if argument == "auto" {
      guard hasCandidate else {
        throw OptionError(
          option: "--policy", found: argument,
          problem: "is the policy of the candidate's mix, and there is no candidate",
          advice: "name the archive to judge")
      }
      if let policy = chosen.flatMap(VerificationPolicy.init) { return policy }
      return try shipped(fileType: fileType)
    }
    do throws(FormatError) {
      return try VerificationPolicy(file: argument)
    } catch {
      guard error.reason == .fileNotFound else { throw error }
    }
    if let policy = shipped(argument) { return policy }
    throw OptionError(
      option: "--policy", found: argument, problem: "no such file, and no policy of that name",
      advice: "policies are auto, \(shippedNames.joined(separator: ", "))")
  }

  // MARK: Files

  /// A larger file is no policy.
  private static let byteLimit: UInt64 = 1 << 16

  /// Reads a policy file.
  package init(file path: String) throws(FormatError) {
    try self.init(parsing: PositionalFile.readAll(path, limit: Self.byteLimit), file: path)
  }

  /// Reads a JSON object whose keys are names of gates and, if wanted, `description`.
  package init(parsing bytes: [UInt8], file: String) throws(FormatError) {
    var json = JSONReader(bytes, file: file)
    var gates = Gates()
    var description: String?
    try json.beginObject("policy")
    while let key = try json.nextKey("policy") {
      let field = "policy.\(key)"
      if key == "description" {
        description = try json.readString(field)
      } else if let gate = Gate(rawValue: key) {
        _ = try json.peek(field)
        let start = json.position
        let limit = try json.readNumber(field)
        guard gate.allowedLimits.contains(limit.double) else {
          throw json.error(
            field, .outOfRange(found: limit.text, allowed: gate.allowedText), at: start)
        }
        gates[gate] = limit.double
      } else {
        throw json.error(
          "policy",
          .unsupported(
            found: "key \"\(key)\"",
            allowed: (["description"] + Gate.allCases.map(\.rawValue)).joined(separator: ", ")))
      }
    }
    try json.finish("policy")
    guard !gates.isEmpty else {
      throw json.error(
        "policy",
        .missing("a gate: one of " + Gate.allCases.map(\.rawValue).joined(separator: ", ")),
        at: 0)
    }
    self.init(name: file, description: description, gates: gates, isShipped: false)
  }

  init(name: String, description: String?, gates: Gates, isShipped: Bool) {
    self.name = name
    self.description = description
    self.gates = gates
    self.isShipped = isShipped
  }

  // MARK: Shipped policies

  /// One for each stock mix, in the order of the table.
  package static let shipped: [VerificationPolicy] = FormatTable(
    Formats.verificationPolicies, name: "verification/policies.tsv",
    columns: ["mix"] + Gate.allCases.map(\.rawValue) + ["basis"]
  ).rows.map { row in
    var gates = Gates()
    for gate in Gate.allCases where !row[gate.rawValue].isEmpty {
      guard let limit = Double(row[gate.rawValue]), gate.allowedLimits.contains(limit) else {
        preconditionFailure("formats/verification/policies.tsv: line \(row.line)")
      }
      gates[gate] = limit
    }
    return VerificationPolicy(
      name: row["mix"], description: nil, gates: gates, isShipped: true)
  }

  private static var shippedNames: [String] { shipped.map(\.name) }

  /// The policy for a mix, by the mix's name or alias in any case.
  package static func shipped(_ name: String) -> VerificationPolicy? {
    guard let mix = StockMix(name: name) else { return nil }
    return shipped.first { $0.name == mix.name }
  }

  private static func shipped(fileType: UInt32?) throws(OptionError) -> VerificationPolicy {
    let mix = StockMix.all.first { $0.fileType == fileType }
    guard let mix, let policy = shipped(mix.name) else {
      throw OptionError(
        option: "--policy", found: "auto",
        problem: fileType.map { "the candidate has general.file_type \($0), which is of no mix" }
          ?? "the candidate does not say which mix it is: it has no general.file_type",
        advice: "name a policy, for example --policy Q4_K_M")
    }
    return policy
  }

  // MARK: What applies

  /// The gates of this policy that a run can measure.
  ///
  /// A saved reference has no tensors to compare with, so a shipped policy goes without its tensor
  /// gate there. A policy file says what its author wants and keeps all of its gates.
  ///
  /// - Parameters:
  ///   - measured: by the run.
  ///   - own: gates that were set besides.
  /// - Returns: the gates, and a warning for the user for each gate that is left out, and where no
  ///   gate judges predictions.
  package func gates(
    measuring measured: Gates.Measured, besides own: Gates = Gates()
  ) -> (gates: Gates, warnings: [String]) {
    guard isShipped else { return (gates, []) }
    var kept = gates
    var warnings: [String] = []
    if !measured.contains(.tensors), let limit = gates[.maxTensorError] {
      kept[.maxTensorError] = nil
      warnings.append(
        "policy \(name): its gate \(Gate.maxTensorError.rawValue) \(typed(limit)) is left out:"
          + " without the original's tensors nothing measures it")
    }
    if !kept.overridden(by: own).all.contains(where: \.needsText) {
      warnings.append(
        "policy \(name) judges tensors only, not predictions: no model made for this mix was"
          + " measured; set --max-mean-kld or another gate to judge them")
    }
    return (kept, warnings)
  }
}
