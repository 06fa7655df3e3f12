import ByteIO
import StrictJSON
import TestSupport
import Testing
import Verification

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

private func report(_ result: VerificationResult) -> VerificationReport {
  VerificationReport(result, ingotVersion: "1.2.3")
}

/// Writes every sample in every form, for tools outside: a schema check, a browser.
@Test(.enabled(if: getenv("INGOT_REPORT_SAMPLES") != nil))
func samplesAreWritten() throws {
  let folder = try #require(getenv("INGOT_REPORT_SAMPLES").map { String(cString: $0) })
  for (name, result) in SampleResults.all {
    let report = report(result)
    let forms = [
      ("html", report.html), ("xml", report.junit), ("json", report.json), ("md", report.markdown),
      ("txt", report.text(colour: false, width: 100)),
    ]
    for (form, text) in forms {
      let file = try #require(fopen("\(folder)/\(name).\(form)", "w"))
      fputs(text, file)
      fclose(file)
    }
  }
}

// MARK: JSON

@Test(arguments: SampleResults.all.map(\.name))
func jsonRoundTrips(_ name: String) throws {
  let result = try #require(SampleResults.all.first { $0.name == name }?.result)
  let json = try JSONValue(parsing: Array(report(result).json.utf8), file: name)
  #expect(json["version"]?.int == 1)
  #expect(json["ingot"]?.string == "1.2.3")
  #expect(
    json["verdict"]?.string == (name == "reference-only" ? "measured" : nil)
      ?? json["verdict"]?.string)
  #expect(json["tensors"]?.array?.count == result.tensors.count)
  #expect(json["reference"]?["path"]?.string == result.reference.path)
  #expect(json["gates"]?.array?.map { $0["passed"]?.bool } == result.gates.map(\.passed))
  let tensorErrors = json["tensors"]?.array?.map { $0["relativeRMSError"]?.double }
  #expect(
    tensorErrors == result.tensors.map { $0.relativeRMSError.isFinite ? $0.relativeRMSError : nil })
  let token = json["worstTokens"]?.array?.first?["token"]?.string
  #expect(token == result.worstTokens.first?.token)
}

@Test func verdictsAreNamed() throws {
  for (name, verdict) in [
    ("passed", "passed"), ("failed", "failed"), ("reference-only", "measured"), ("large", "failed"),
    ("without-text", "passed"),
  ] {
    let result = try #require(SampleResults.all.first { $0.name == name }?.result)
    let json = try JSONValue(parsing: Array(report(result).json.utf8), file: name)
    #expect(json["verdict"]?.string == verdict)
  }
}

/// The page has a row for every member that is written, and none besides.
@Test func jsonMembersAreThoseOfThePage() throws {
  var written: Set<String> = []
  func collect(_ value: JSONValue, _ path: String) {
    for (key, member) in value.object?.members ?? [] {
      let name = path.isEmpty ? key : path + "." + key
      written.insert(name)
      collect(member, name)
    }
    for element in value.array ?? [] { collect(element, path + "[]") }
  }
  collect(try JSONValue(parsing: Array(report(SampleResults.failed).json.utf8), file: ""), "")
  let rows = try MarkdownTable(page: "verification/README.md", columns: ["member", "meaning"]).rows
  let named = rows.compactMap { $0["member"]?.filter { $0 != "`" } }
  #expect(Set(named) == written)
  #expect(named.count == written.count)
}

// MARK: XML

@Test(arguments: SampleResults.all.map(\.name))
func junitIsWellFormed(_ name: String) throws {
  let result = try #require(SampleResults.all.first { $0.name == name }?.result)
  let xml = report(result).junit
  let elements = try XMLChecker(xml).elements()
  let cases = elements.filter { $0.name == "testcase" }
  let failures = elements.filter { $0.name == "failure" }
  let roles = Set(result.tensors.map { TensorGroup.role(of: $0.name) })
  #expect(cases.count == 1 + result.gates.count + roles.count)
  #expect(elements.first?.attributes["tests"] == "\(cases.count)")
  #expect(elements.first?.attributes["failures"] == "\(failures.count)")
  let failedRoles = Set(
    result.tensors.filter { $0.finding != nil }.map { TensorGroup.role(of: $0.name) })
  #expect(failures.count == result.gates.count { !$0.passed } + failedRoles.count)
}

@Test func junitFailureSaysWhat() {
  let xml = report(SampleResults.failed).junit
  #expect(
    xml.contains(
      """
          <testcase classname="ingot.verify.gates" name="max-mean-kld" time="0.000">
            <failure message="Mean KL divergence: value 0.4120, bound 0.4370, limit at most 0.063" type="gates">
      """.trimmingEnd))
  #expect(xml.contains("the drift begins at layer 0; worst tensor: blk.0.attn_q.weight"))
  #expect(
    xml.contains("<failure message=\"blk.0.attn_q.weight: error 1.41 where Q4_K explains 0.1:"))
  #expect(xml.contains("classname=\"ingot.verify.tensors\" name=\"attn_norm\""))
}

@Test func tensorsAreGroupedByRole() {
  for (name, role) in [
    ("blk.3.attn_q.weight", "attn_q"), ("blk.12.ffn_down.17.weight", "ffn_down"),
    ("blk.3.attn_q.bias", "attn_q.bias"), ("token_embd.weight", "token_embd"),
    ("output.weight", "output"), ("blk.0.ffn_down_exps.weight", "ffn_down_exps"),
    ("rope_freqs.weight", "rope_freqs"), ("weight", "weight"), ("", ""), ("blk.x.y", "blk.x.y"),
  ] { #expect(TensorGroup.role(of: name) == role) }
}

// MARK: HTML and Markdown

@Test(arguments: SampleResults.all.map(\.name))
func htmlLoadsAndRunsNothing(_ name: String) throws {
  let result = try #require(SampleResults.all.first { $0.name == name }?.result)
  let html = report(result).html
  for forbidden in [
    "<script", "http:", "https:", "url(", "@import", "javascript:", " src=", "<link", " on",
  ] {
    // ` on` alone is a word; as an attribute it is followed by a name and `=`.
    if forbidden == " on" {
      #expect(html.firstMatch(of: /<[^>]*\son[a-z]+=/) == nil)
    } else {
      #expect(!html.contains(forbidden), "\(forbidden)")
    }
  }
  #expect(html.contains("default-src 'none'; style-src 'unsafe-inline'"))
  #expect(html.utf8.count < 200_000)
  #expect(html.unicodeScalars.allSatisfy { $0 == "\n" || $0.value >= 0x20 && $0 != "\u{202E}" })
  // Elements are closed in the order in which they were opened.
  _ = try XMLChecker(html, voidElements: ["meta", "br", "!doctype"]).elements()
}

@Test func hostileTextStaysText() {
  let report = report(SampleResults.hostile)
  #expect(
    report.html.contains("&lt;script&gt;alert(1)&lt;/script&gt;\\u{202e}\\u{0}\\u{1b}[31m&quot;"))
  for text in [report.markdown, report.text(colour: false, width: 80)] {
    #expect(text.unicodeScalars.allSatisfy { $0 == "\n" || $0.value >= 0x20 && $0.value != 0x7F })
    #expect(!text.unicodeScalars.contains("\u{202E}") && !text.unicodeScalars.contains("\u{FFFE}"))
  }
  let markdown = report.markdown
  for forbidden in ["<script", "@everyone", "**b**", "[a](b)", "`x`", "-->", "</td>"] {
    #expect(!markdown.contains(forbidden), "\(forbidden)")
  }
  // No cell of a table is split by a text.
  for line in markdown.split(separator: "\n") where line.hasPrefix("| **") {
    #expect(line.count { $0 == "|" } == 6)
  }
}

@Test func pagesOfLargeModelsStaySmall() {
  let report = report(SampleResults.large)
  #expect(report.result.tensors.count == 3000)
  #expect(report.html.utf8.count < 120_000)
  #expect(report.markdown.utf8.count < 60_000, "GitHub refuses comments above 65,536 characters")
  #expect(report.text(colour: false, width: 100).utf8.count < 8000)
}

// MARK: Text

@Test func textOfAPassedVerification() {
  #expect(report(SampleResults.passed).text(colour: false, width: 100) == SampleTexts.passed)
}

/// White space is what some of the worst tokens are: nothing of it is lost, not even at the ends.
@Test func pagesKeepWhiteSpaceOfTokens() {
  let page = report(SampleResults.passed).html
  #expect(page.contains("<mark><bdi class=\"text\">  _buffer</bdi></mark>"))
  #expect(page.contains("(self, size=-1):↵    &quot;"))
  #expect(page.contains(".text { white-space: pre-wrap;"))
  #expect(page.firstMatch(of: /\.text[^{}]*\{ font-family: ui-monospace/) != nil)
}

/// The tensor whose error is not compared has its place in every form.
@Test func uncomparedTensorsAreNamed() {
  let report = report(SampleResults.passed)
  for text in [report.text(), report.markdown, report.html] {
    #expect(text.contains("48 of 49 tensors are compared one by one"))
  }
  var whole = SampleResults.passed
  whole.uncomparedTensors = []
  #expect(!VerificationReport(whole, ingotVersion: "1").text().contains("one by one"))
}

/// Gates on tensors alone are not taken for a verdict on predictions.
@Test func verdictSaysWhenNoPredictionIsJudged() {
  var result = SampleResults.passed
  #expect(!report(result).text().contains("predictions were not judged"))
  result.gates = [
    GateOutcome(name: "max-tensor-error", limit: 1, value: 0.08, bound: 0.08, passed: true)
  ]
  #expect(report(result).text().hasPrefix("PASSED  1 gate kept; predictions were not judged; 48"))
  result.distribution = nil
  #expect(!report(result).text().contains("predictions were not judged"))
}

@Test func limitsAreWrittenAsTyped() {
  for (limit, text) in [(0.05, "0.05"), (0.00126, "0.00126"), (1e-6, "1e-6"), (1000, "1000")] {
    var result = SampleResults.passed
    result.gates = [
      GateOutcome(name: "max-mean-kld", limit: limit, value: 0, bound: 0, passed: true)
    ]
    #expect(report(result).markdown.contains("| at most \(text) |"), "\(text)")
  }
}

@Test func coloursOnlyDecorate() {
  let report = report(SampleResults.failed)
  let coloured = report.text(colour: true, width: 100)
  #expect(coloured.contains("\u{1B}[1;31mFAILED"))
  let plain = coloured.replacing(/\u{1B}\[[0-9;]*m/, with: "")
  #expect(plain == report.text(colour: false, width: 100))
}

extension String {
  fileprivate var trimmingEnd: String {
    var text = self[...]
    while text.last?.isWhitespace == true { text.removeLast() }
    return String(text)
  }
}
