import Planning
import Tensors
import TestSupport
import Testing

@Test func mixesAreFoundByNameAndAlias() {
  #expect(StockMix(name: "q4_k_m")?.name == "Q4_K_M")
  for (alias, name) in [("Q3_K", "Q3_K_M"), ("Q4_K", "Q4_K_M"), ("q5_k", "Q5_K_M")] {
    #expect(StockMix(name: alias)?.name == name)
  }
  #expect(StockMix(name: "F32")?.fileType == 0)
  #expect(StockMix(name: "IQ2_S")?.defaultType == .iq2_XS)
  for unknown in ["", "Q4", "Q4_K_XL", "Q8_K", "MXFP4", "copy", "Q4_K_M "] {
    #expect(StockMix(name: unknown) == nil)
  }
}

@Test func unknownMixIsReportedWithTheKnownOnes() {
  let error = #expect(throws: OptionError.self) { try StockMix.named("Q4_K_XL\u{1B}", pure: true) }
  #expect(error?.description.hasPrefix("--type Q4_K_XL\\u{1b}: no such mix; mixes are F32") == true)
}

@Test func mixNumbersAndNamesAreUnique() {
  #expect(Set(StockMix.all.map(\.fileType)).count == StockMix.all.count)
  let names = StockMix.all.flatMap { [$0.name] + $0.aliases }
  #expect(Set(names).count == names.count)
  #expect(StockMix.all.count == 35)
}

/// Of the mixes, those that the reference refuses on a Llama without a matrix.
@Test func someMixesRequireImportance() {
  #expect(
    StockMix.all.filter(\.requiresImportance).map(\.name) == [
      "Q2_K_S", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS",
    ])
}

/// Each block type has a mix of its own number, or is written by no stock mix alone.
@Test func fileTypesOfTypesAreThoseOfMixes() {
  for row in OutputType.all where row.type != .nvfp4 {
    let mix = StockMix.all.first { $0.fileType == row.fileType }
    // IQ2_S is the one mix that is called as a type but has another default.
    #expect(mix?.defaultType == (row.type == .iq2_S ? .iq2_XS : row.type), "\(row.type)")
  }
}

@Test func fallbacksHaveBlocksOf32() {
  for row in OutputType.all {
    if let fallback = row.fallback {
      #expect(fallback.weightsPerBlock == 32 && row.type.weightsPerBlock > 32, "\(row.type)")
    }
  }
}

@Test func fileTypeIsThatOfMostBytes() {
  #expect(fileType(holdingMostOf: [.q4_K: 100, .q6_K: 90, .f32: 20]) == 15)
  #expect(fileType(holdingMostOf: [.q4_K: 100, .q6_K: 190, .f32: 20]) == 18)
  #expect(fileType(holdingMostOf: [.nvfp4: 1]) == 39)
  #expect(fileType(holdingMostOf: [:]) == 0)
}

@Test func spansDivideIntegers() {
  func indices(_ span: RuleCondition.Span, _ count: Int) -> [Int] {
    (0..<count).filter { span.contains($0, of: count) }
  }
  #expect(indices(.firstEighth, 7) == [])
  #expect(indices(.firstEighth, 17) == [0, 1])
  #expect(indices(.firstSixteenth, 32) == [0, 1])
  #expect(indices(.first4, 16) == [0, 1, 2, 3])
  #expect(indices(.middle, 10) == [1, 2, 3, 4, 5, 6, 7])
  #expect(indices(.sensitive, 6) == [2, 5])
  #expect(!RuleCondition.Span.sensitive.contains(.max / 2, of: .max))
  for count in 0..<40 {
    #expect(indices(.middle, count) == Array(count / 8..<7 * count / 8), "\(count)")
  }
  #expect(indices(.sensitive, 16) == [0, 1, 4, 7, 10, 13, 14, 15])
}

@Test func unknownConditionsAreRefused() {
  for word in ["", "experts", "experts=x", "experts>4", "turn=first-3", "class=13b", "color=red"] {
    #expect(RuleCondition(word) == nil, "\(word)")
  }
  #expect(RuleCondition("!experts>=4") != nil)
}

/// Every role and mix that a rule names can reach it: no earlier rule takes all its tensors.
@Test func rulesCanBeReached() {
  for (index, rule) in MixRule.all.enumerated() {
    let earlier = MixRule.all[..<index].filter {
      Set($0.conditions).isSubset(of: rule.conditions)
    }
    func isReached(_ role: TensorRole, _ mix: String) -> Bool {
      earlier.allSatisfy { $0.roles?.contains(role) == false || $0.mixes?.contains(mix) == false }
    }
    let roles = rule.roles ?? Set(TensorRole.allCases)
    let mixes = rule.mixes ?? Set(StockMix.all.map(\.name))
    for role in rule.roles ?? [] { #expect(mixes.contains { isReached(role, $0) }, "\(rule)") }
    for mix in rule.mixes ?? [] { #expect(roles.contains { isReached($0, mix) }, "\(rule)") }
  }
}

/// The page explains every word that the tables use.
@Test func pageNamesEveryWord() throws {
  let page = String(
    decoding: try Fixtures.bytes("../formats/mixes/README.md"), as: UTF8.self)
  for span in RuleCondition.Span.allCases { #expect(page.contains("`\(span.rawValue)`")) }
  let rules = String(
    decoding: try Fixtures.bytes("../formats/mixes/mix-rules.tsv"), as: UTF8.self)
  let words = rules.split(separator: "\n").filter { !$0.hasPrefix("#") }.dropFirst()
    .flatMap { $0.split(separator: "\t")[2].split(separator: " ") }
    .map { $0.drop { $0 == "!" } }.filter { $0 != "-" }
  for word in Set(words) {
    let name = word.prefix { $0 != "=" }
    #expect(page.contains("`\(name)"), "\(word)")
  }
}
