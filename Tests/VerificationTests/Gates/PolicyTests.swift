import ByteIO
import Formats
import Planning
import TestSupport
import Testing
import Verification

private func parse(_ text: String) throws(FormatError) -> VerificationPolicy {
  try VerificationPolicy(parsing: Array(text.utf8), file: "policy.json")
}

@Test func policiesAreRead() throws {
  let policy = try parse(
    """
    {"description": "nightly", "max-mean-kld": 0.05, "max-p99-kld": 1, "max-ppl-ratio": 1.02,
     "min-top1": 0.93, "max-tensor-error": 1.2e-1}
    """)
  #expect(policy.description == "nightly")
  #expect(
    policy.gates
      == Gates(
        maxMeanKLD: 0.05, maxP99KLD: 1, maxPPLRatio: 1.02, minTop1: 0.93, maxTensorError: 0.12))
  #expect(try parse("{\"min-top1\": 1}").gates.all == [.minTop1])
}

@Test(arguments: [
  ("{\"max-kld\": 1}", "found key \"max-kld\", supported: description, max-mean-kld,"),
  ("{\"min-top1\": 99.5}", "policy.min-top1: found 99.5, allowed 0 to 1 (99.5 % is 0.995)"),
  ("{\"min-top1\": \"99.5%\"}", "policy.min-top1: found string, allowed a number"),
  ("{\"max-mean-kld\": -1}", "found -1, allowed 0 to 1000"),
  ("{\"max-mean-kld\": 1e999}", "found 1e999"),
  ("{\"max-mean-kld\": null}", "found null"),
  ("{\"max-mean-kld\": 1, \"max-mean-kld\": 2}", "duplicate key"),
  ("{\"max-mean-kld\": 1} // no", "text after the end"),
  ("{/* no */\"max-mean-kld\": 1}", "expected a key in quotes"),
  ("{\"description\": \"nothing else\"}", "missing a gate"),
  ("{\"description\": 1, \"max-mean-kld\": 1}", "policy.description"),
  ("[]", "allowed an object"), ("", "needs 1 bytes"),
])
func wrongPoliciesAreRefused(_ text: String, _ message: String) {
  let error = #expect(throws: FormatError.self) { try parse(text) }
  #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
}

@Test func policiesAreFoundByFileNameOrType() throws {
  let folder = TemporaryFolder()
  let path = folder.write("Q4_K_M", "{\"max-mean-kld\": 0.5}")
  #expect(try VerificationPolicy.resolve(path, fileType: nil).gates == Gates(maxMeanKLD: 0.5))
  #expect(try VerificationPolicy.resolve("q4_k", fileType: nil).name == "Q4_K_M")
  #expect(try VerificationPolicy.resolve("auto", fileType: 18).name == "Q6_K")
  for fileType in [nil, 999] as [UInt32?] {
    #expect(throws: OptionError.self) { try VerificationPolicy.resolve("auto", fileType: fileType) }
  }
  for (fileType, hasCandidate, says) in [
    (nil, true, "it has no general.file_type; name a policy"),
    (999, true, "the candidate has general.file_type 999, which is of no mix"),
    (nil, false, "there is no candidate; name the archive to judge"),
  ] as [(UInt32?, Bool, String)] {
    let error = #expect(throws: OptionError.self) {
      try VerificationPolicy.resolve("auto", fileType: fileType, hasCandidate: hasCandidate)
    }
    #expect(error?.description.contains(says) == true, "\(error?.description ?? "")")
  }
  let error = #expect(throws: OptionError.self) {
    try VerificationPolicy.resolve("nightly.json", fileType: 15)
  }
  #expect(error?.advice?.hasPrefix("policies are auto, F32, F16") == true)
  // A file that is there but wrong is not passed over.
  #expect(throws: FormatError.self) { try VerificationPolicy.resolve(folder.path, fileType: nil) }
}

@Test func commandLineOverridesPolicy() {
  let policy = Gates(maxMeanKLD: 0.5, minTop1: 0.9)
  let gates = policy.overridden(by: Gates(maxMeanKLD: 0.1, maxPPLRatio: 1.1))
  #expect(gates == Gates(maxMeanKLD: 0.1, maxPPLRatio: 1.1, minTop1: 0.9))
}

@Test func eachMixHasAPolicy() {
  #expect(VerificationPolicy.shipped.map(\.name) == StockMix.all.map(\.name))
  for policy in VerificationPolicy.shipped {
    #expect(policy.isShipped && policy.gates[.maxTensorError] != nil, "\(policy.name)")
  }
}

/// Fewer bits never have stricter limits: each limit of a mix is at least that of the next better
/// one of its family.
@Test func policiesLoosenWithFewerBits() throws {
  for family in [
    ["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "Q2_K_S"],
    ["Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"],
    ["IQ4_XS", "IQ3_M", "IQ3_XXS", "IQ2_M", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"],
  ] {
    let policies = try family.map { try #require(VerificationPolicy.shipped($0)) }
    for (better, worse) in zip(policies, policies.dropFirst()) {
      for gate in Gate.allCases {
        let pair = try (#require(better.gates[gate]), #require(worse.gates[gate]))
        #expect(
          gate.isMinimum ? pair.1 <= pair.0 : pair.1 >= pair.0,
          "\(gate.rawValue) of \(better.name) and \(worse.name)")
      }
    }
  }
}

@Test func savedReferencesDropTheShippedTensorGate() throws {
  let policy = try #require(VerificationPolicy.shipped("Q4_K_M"))
  let (gates, warnings) = policy.gates(measuring: .text)
  #expect(gates.all == [.maxMeanKLD, .maxP99KLD, .maxPPLRatio, .minTop1])
  #expect(warnings.count == 1 && warnings[0].contains("max-tensor-error"))
  #expect(policy.gates(measuring: [.text, .tensors]).gates == policy.gates)
  // A file's author meant what is written there.
  let file = try parse("{\"max-tensor-error\": 0.1}")
  #expect(file.gates(measuring: .text).gates == file.gates)
}

/// Mixes that only models made for them bear have a gate on tensors alone, and say so.
@Test(arguments: ["Q1_0", "Q2_0", "TQ1_0", "TQ2_0"])
func policiesWithoutPredictionsWarn(_ name: String) throws {
  let policy = try #require(VerificationPolicy.shipped(name))
  #expect(policy.gates.all == [.maxTensorError])
  for measured in [[.tensors, .text], .tensors] as [Gates.Measured] {
    let (gates, warnings) = policy.gates(measuring: measured)
    #expect(gates == policy.gates)
    #expect(warnings.count == 1 && warnings[0].contains("not predictions"), "\(warnings)")
    #expect(policy.gates(measuring: measured, besides: Gates(maxMeanKLD: 1)).warnings.isEmpty)
  }
  #expect(policy.gates(measuring: .text).warnings.count == 2)
  let other = try #require(VerificationPolicy.shipped("Q4_K_M"))
  #expect(other.gates(measuring: [.tensors, .text]).warnings.isEmpty)
}

/// The figures behind the limits: `formats/verification/README.md` lists them, and says how a limit
/// follows.
@Test func limitsFollowFromTheFiguresOfThePage() throws {
  let columns = [
    "mix", "mean KLD", "ratio", "top-1", "tensor error", "Llama 3 8B KLD", "ratio of it",
  ]
  let rows = try MarkdownTable(page: "verification/README.md", columns: columns).rows
  let basis = FormatTable(
    Formats.verificationPolicies, name: "verification/policies.tsv",
    columns: ["mix"] + Gate.allCases.map(\.rawValue) + ["basis"]
  ).rows
  #expect(
    rows.compactMap { $0["mix"] }
      == basis.filter { ["small", "large"].contains($0["basis"]) }.map { $0["mix"] })
  for row in rows {
    func number(_ column: String) -> Double? { row[column].flatMap { Double($0) } }
    let name = try #require(row["mix"])
    let gates = try #require(VerificationPolicy.shipped(name)).gates
    let (mean, ratio) = try (#require(number("mean KLD")), #require(number("ratio")))
    let (top, error) = try (#require(number("top-1")), #require(number("tensor error")))
    func expectLimit(_ gate: Gate, _ formula: Double, within tolerance: Double) {
      let limit = gates[gate] ?? .nan
      #expect(abs(limit - formula) <= tolerance, "\(name) \(gate.rawValue): \(limit), \(formula)")
    }
    let divergence = 2 * (number("Llama 3 8B KLD") ?? 2.8 * mean)
    expectLimit(.maxMeanKLD, divergence, within: divergence * 0.1)
    #expect((gates[.maxMeanKLD] ?? 0) >= divergence * 0.999)
    expectLimit(.maxP99KLD, 12 * (gates[.maxMeanKLD] ?? 0), within: 1.2 * divergence)
    let growth = number("ratio of it").map { 2 * max($0 - 1, ratio - 1) } ?? 5.4 * (ratio - 1)
    expectLimit(.maxPPLRatio, 1.005 + growth, within: 0.012)
    expectLimit(.minTop1, 1 - 2 * (1 - top), within: 0.0015)
    expectLimit(.maxTensorError, 1.5 * error, within: 0.15 * error)
  }
}
