import ByteIO
import Ingot
import Planning
import StrictJSON
import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A curve of six sizes, with everything that reports can show.
private func curve(model: String = "example", isMeasured: Bool = true) -> FitCurve {
  func types(_ type: TensorType) -> [TypeTotal] {
    [TypeTotal(type: type, tensorCount: 3, weightCount: 1_000_000, byteCount: 500_000)]
  }
  func point(_ megabytes: Double, _ divergence: Double, _ type: TensorType) -> FitCurve.Point {
    FitCurve.Point(
      byteCount: UInt64(megabytes * 1e6), bitsPerWeight: megabytes - 0.1,
      expectedDivergence: divergence, types: types(type))
  }
  var points = [
    point(2, 0.9, .q2_K), point(3, 0.2, .q3_K), point(4, 0.04, .q4_K), point(6, 0.004, .q6_K),
    point(9, 0.0003, .q8_0), point(16, 0, .bf16),
  ]
  if isMeasured {
    points[2].measuredDivergence = Estimate(
      value: 0.05, standardError: 0.004, chunkStandardError: 0.005)
  }
  return FitCurve(
    model: model, points: points,
    mixes: [
      FitCurve.Mix(
        name: "Q3_K_S", byteCount: 3_500_000, bitsPerWeight: 3.4, expectedDivergence: 0.25,
        chosenDivergence: 0.1),
      FitCurve.Mix(
        name: "Q4_K_M", byteCount: 4_900_000, bitsPerWeight: 4.8, expectedDivergence: 0.03,
        chosenDivergence: 0.015),
      FitCurve.Mix(
        name: "Q4_K_S", byteCount: 4_800_000, bitsPerWeight: 4.7, expectedDivergence: 0.032,
        chosenDivergence: 0.016),
      FitCurve.Mix(
        name: "IQ1_S", byteCount: 1_900_000, bitsPerWeight: 1.8, expectedDivergence: 1.5,
        chosenDivergence: nil),
    ],
    budget: FitCurve.Budget(
      name: "h100-80gb, 1024 tokens", byteCount: 7_000_000, byteLimit: 7_200_000,
      expectedDivergence: 0.002),
    isMeasured: isMeasured)
}

@Test func curveTableShowsFigures() {
  let expected = """
    example: expected mean KL divergence by size
      expected: the sum of what every tensor's type alone does, in nats
      measured: with all types of a size together, on the text that the choice rests on; ± 95 %
       bytes  bits/weight  expected  measured         mostly
     2000000         1.90     0.900                   Q2_K
     3000000         2.90     0.200                   Q3_K
     4000000         3.90    0.0400  0.0500 ± 0.0098  Q4_K
     6000000         5.90   0.00400                   Q6_K
     9000000         8.90  0.000300                   Q8_0
    16000000        15.90         0                   BF16

    stock mixes, and types chosen for as many bytes:
    mix       bytes  bits/weight  expected  chosen      of it
    Q3_K_S  3500000         3.40     0.250   0.100       40 %
    Q4_K_M  4900000         4.80    0.0300  0.0150       50 %
    Q4_K_S  4800000         4.70    0.0320  0.0160       50 %
    IQ1_S   1900000         1.80      1.50          too small

    h100-80gb, 1024 tokens: 7000000 bytes, expected 0.00200
    """
  #expect(curve().table == expected, "\(curve().table)")
}

/// Columns that nothing stands in are left out, headings say what figures are.
@Test func curvePageHasNoEmptyColumns() {
  let measured = curve().html
  #expect(measured.contains(">measured, nats</th>") && measured.contains(">expected, nats</th>"))
  let relative = curve(isMeasured: false).html
  #expect(!relative.contains("measured, nats") && relative.contains(">expected harm</th>"))
  let sizes = relative.split(separator: "<h2>Stock mixes</h2>")[0]
  #expect(sizes.contains("<td class=\"number\">0.900</td>"))
  #expect(!sizes.contains("<td class=\"number\"></td>"))
  for page in [measured, relative] {
    #expect(page.contains("<h1>What a size costs: example</h1>"))
    #expect(
      page.contains(">share of the mix&#39;s</th>") || page.contains(">share of the mix's</th>"))
  }
  #expect(relative.contains("aria-label=\"expected harm of example by size"))
}

@Test func curveJSONHasFigures() throws {
  let json = try JSONValue(parsing: Array(curve().json.utf8), file: "json")
  #expect(json["unit"]?.string == "nats" && json["points"]?.array?.count == 6)
  let point = try #require(json["points"]?.array?[2])
  #expect(point["measuredDivergence"]?["chunkStandardError"]?.double == 0.005)
  #expect(json["mixes"]?.array?[3]["chosenDivergence"]?.double == nil)
  #expect(json["budget"]?["bytes"]?.int == 7_000_000)
  #expect(json["budget"]?["byteLimit"]?.int == 7_200_000)
  let relative = try JSONValue(
    parsing: Array(curve(isMeasured: false).json.utf8), file: "json")
  #expect(relative["unit"]?.string == nil)
  // What is no divergence has another name.
  for part in [relative["points"]?.array?[1], relative["mixes"]?.array?[1], relative["budget"]] {
    #expect(part?["expectedHarm"]?.double != nil && part?["expectedDivergence"] == nil)
  }
  #expect(relative["mixes"]?.array?[1]["chosenHarm"]?.double == 0.015)
}

/// One picture, the same everywhere; RECORD_GOLDENS=1 rewrites it and fails.
@Test func curvePictureIsTheGolden() throws {
  let svg = curve().svg
  let golden = Fixtures.path("golden/curve/example.svg")
  if getenv("RECORD_GOLDENS") != nil {
    try OutputFile.write(Array(svg.utf8), to: golden)
    Issue.record("recorded \(golden)")
    return
  }
  #expect(
    svg == String(decoding: try PositionalFile.readAll(golden, limit: 1 << 20), as: UTF8.self))
}

/// Well-formed, nothing loaded, nothing run, and a model's name is text whatever it holds.
@Test func picturesAndPagesAreInert() throws {
  let name = "a</text><script>alert('x')</script>\" onload=\"b & ]]>\u{202E}c"
  let hostile = curve(model: name)
  let svg = hostile.svg
  let elements = try XMLChecker(svg).elements()
  let known: Set = ["svg", "style", "rect", "text", "line", "polyline", "circle", "path", "title"]
  #expect(Set(elements.map(\.name)).isSubset(of: known))
  let allowed: Set = [
    "xmlns", "role", "aria-label", "viewBox", "width", "height", "style", "class", "x", "y", "x1",
    "y1", "x2", "y2", "cx", "cy", "r", "d", "points", "transform", "text-anchor",
  ]
  for element in elements { #expect(Set(element.attributes.keys).isSubset(of: allowed)) }
  #expect(!svg.contains("\u{202E}") && svg.contains("\\u{202e}"))
  // Every mix that can be drawn has its name.
  for mix in ["Q3_K_S", "Q4_K_M", "Q4_K_S", "IQ1_S"] { #expect(svg.contains(">\(mix)</text>")) }
  #expect(svg.contains("h100-80gb, 1024 tokens</text>"))
  let html = hostile.html
  let page = try XMLChecker(html, voidElements: ["meta", "!doctype"]).elements()
  #expect(!page.contains { ["script", "img", "link", "iframe", "object"].contains($0.name) })
  #expect(page.allSatisfy { $0.attributes["src"] == nil && $0.attributes["href"] == nil })
  #expect(html.contains("default-src 'none'") && html.contains("0.0500 ± 0.0098"))
}

/// What cannot be drawn is said.
@Test func picturesSayWhatIsMissing() {
  // Too many names for the room, sizes that lose nothing, and a memory far beyond the model.
  var crowded = curve()
  crowded.mixes = (0..<60).map { number in
    var mix = crowded.mixes[1]
    mix.name = "MIX_NUMBER_\(number)"
    mix.byteCount += UInt64(number)
    return mix
  }
  crowded.mixes[59].expectedDivergence = .infinity
  crowded.budget?.byteLimit = 1 << 40
  let svg = crowded.svg
  #expect(svg.contains(">no room for the names of MIX_NUMBER_"))
  #expect(svg.contains(">mixes with figures that cannot be drawn: MIX_NUMBER_59<"))
  #expect(svg.contains("1 of 6 sizes, from 16.00 MB on, cannot be drawn"))
  #expect(svg.contains("by size: 5 sizes from 2.00 MB to 9.00 MB"))
  #expect(svg.contains("h100-80gb, 1024 tokens: an archive could have 1.10 TB, more than is drawn"))
  #expect(!svg.contains("class=\"cv-budget\""))
  // Whatever has no name in the picture is among those that are listed, or behind them.
  let named = (0..<59).filter { svg.contains(">MIX_NUMBER_\($0)</text>") }
  let note = svg.split(separator: ">").first { $0.hasPrefix("no room for") }?.dropLast(6) ?? ""
  let listed = note.split(separator: "MIX_NUMBER_").count - 1
  #expect(!named.isEmpty && listed > 3, "\(note)")
  #expect(note.hasSuffix(" and \(59 - named.count - listed) more"), "\(note)")
  // A line of the page holds it.
  #expect(note.count <= 122)
  #expect(!curve().svg.contains("no room"))
}

/// A line to the middle of a name ends below or above it.
@Test func leadersEndAtNames() throws {
  let frame = LabelPlacement.Box(left: 0, top: 0, right: 400, bottom: 400)
  // Only straight above there is room.
  let others = [
    LabelPlacement.Box(left: 230, top: 0, right: 400, bottom: 400),
    LabelPlacement.Box(left: 0, top: 0, right: 170, bottom: 400),
    LabelPlacement.Box(left: 180, top: 206, right: 220, bottom: 400),
  ]
  var labels = LabelPlacement(frame: frame, points: [(200, 200)], others: others, lines: [])
  let found = labels.place("Q4_K_M", near: (200, 200))
  let place = try #require(found)
  let leader = try #require(place.leader)
  // The baseline is 4 below the middle of a line of 13.
  #expect(leader.x == 200 && leader.y == place.y - 4 + 6.5 && leader.y < 200)
}

/// Where nothing is lost a sentence stands in the picture's place, and one size is drawn too.
@Test func oddCurvesAreDrawn() throws {
  var flat = curve()
  flat.points = [flat.points[5]]
  flat.mixes = []
  flat.budget = nil
  #expect(flat.svg.contains("Nothing is drawn: no figure of 1 sizes and 0 stock mixes is above 0."))
  #expect(try XMLChecker(flat.svg).elements().count > 3 && flat.html.contains("16000000"))
  var single = curve()
  single.points = [single.points[1]]
  single.mixes = []
  single.budget = nil
  #expect(try XMLChecker(single.svg).elements().count > 5)
  var infinite = curve()
  infinite.mixes[0].expectedDivergence = .infinity
  infinite.points[0].expectedDivergence = 1e200
  #expect(!infinite.svg.contains("nan"))
}
