import Verification

extension FitCurve {
  /// A picture as a file of its own; where no size loses anything, it says so.
  public var svg: String {
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + picture + "\n"
  }

  private var picture: String { CurvePlot(self)?.svg ?? CurvePlot.sentence(of: self) }

  /// The picture and both tables on one page that loads nothing.
  public var html: String {
    HTMLPage.text(
      title: "ingot plan: \(model)", ingotVersion: ingotVersion, style: "curve",
      sections: [header, card(picture), sizeCard, mixCard, footer])
  }

  private var header: String {
    """
    <header>
    <p class="eyebrow">ingot plan --curve</p>
    <h1>What a size costs: \(Markup.html(model))</h1>
    \(remarks.map { "<p class=\"soft\">\(Markup.html($0))</p>" }.joined(separator: "\n"))
    </header>
    """
  }

  private func card(_ content: String) -> String {
    "<section class=\"card\">\n\(content)\n</section>"
  }

  private var sizeCard: String {
    var table = HTMLTable("Sizes")
    // A column that nothing stands in is none.
    let isAnyMeasured = points.contains { $0.measuredDivergence != nil }
    table.header =
      [.number("bytes"), .number("bits per weight"), .number(figureHeading)]
      + (isAnyMeasured ? [.number("measured, nats")] : []) + [.text("mostly")]
    table.rows = points.map { point in
      [
        .number("\(point.byteCount)"), .number(fixed(point.bitsPerWeight, 2)),
        .number(Self.figure(point.expectedDivergence)),
      ]
        + (isAnyMeasured ? [.number(point.measuredDivergence.map(Self.text) ?? "")] : [])
        + [.text(Self.types(point.types))]
    }
    return card("<h2>Types chosen for sizes</h2>\n" + table.html)
  }

  private var figureHeading: String { isMeasured ? "expected, nats" : "expected harm" }

  private var mixCard: String {
    guard !mixes.isEmpty else { return "" }
    var table = HTMLTable("Stock mixes")
    table.header = [
      .text("mix"), .number("bytes"), .number("bits per weight"), .number(figureHeading),
      .number("of types chosen for as many bytes"), .number("share of the mix's"),
    ]
    table.rows = mixes.map { mix in
      [
        .text(mix.name), .number("\(mix.byteCount)"), .number(fixed(mix.bitsPerWeight, 2)),
        .number(Self.figure(mix.expectedDivergence)),
        .number(mix.chosenDivergence.map(Self.figure) ?? ""), .number(Self.gain(mix)),
      ]
    }
    return card("<h2>Stock mixes</h2>\n" + table.html)
  }

  private var footer: String {
    let budget = budget.map {
      "<p>\(Markup.html($0.name)): \($0.byteCount) bytes, expected "
        + "\(Self.figure($0.expectedDivergence))</p>"
    }
    return
      "<footer class=\"soft small\">\(budget ?? "")<p>ingot \(Markup.html(ingotVersion))</p></footer>"
  }
}
