import Verification

/// The curve as a picture: one SVG that loads nothing and runs nothing.
///
/// Bytes go to the right and divergence up, both in their logarithms. Every number in it is ours and
/// every text goes through `Markup`.
struct CurvePlot {
  static let width = 960.0
  /// Without notes.
  static let height = 640.0
  static let noteHeight = 18.0
  static let frame = LabelPlacement.Box(left: 92, top: 96, right: 936, bottom: 548)
  /// Below so many times less than the largest figure nothing is drawn: differences are no more
  /// than rounding.
  private static let depth = 1e-6

  let curve: FitCurve
  let x: CurveAxis
  let y: CurveAxis
  /// Bytes of the axis' unit.
  private let unit: (byteCount: Double, name: String)
  var elements: [String] = []
  /// What the picture cannot show, in lines below it.
  var notes: [String] = []

  /// - Returns: `nil` where no point has a figure above 0, so that there is nothing to draw.
  init?(_ curve: FitCurve) {
    self.curve = curve
    let figures =
      curve.points.map { ($0.byteCount, $0.expectedDivergence) }
      + curve.mixes.map { ($0.byteCount, $0.expectedDivergence) }
    let most = figures.map(\.1).filter(\.isFinite).max() ?? 0
    guard most > 0 else { return nil }
    let drawn = figures.filter { $0.1.isFinite && $0.1 >= most * Self.depth }
    var values = drawn.map(\.1)
    for estimate in curve.points.compactMap(\.measuredDivergence) where estimate.value.isFinite {
      values += [estimate.value - estimate.halfWidth, estimate.value + estimate.halfWidth]
        .filter { $0 >= most * Self.depth }
    }
    var sizes = drawn.map { Double($0.0) }
    // One that is far away would press everything else together.
    if let limit = curve.budget.map({ Double($0.byteLimit) }), let large = sizes.max(),
      limit <= large * 1.25
    {
      sizes.append(limit)
    }
    guard let least = values.min(), let largest = values.max(), let small = sizes.min(),
      let large = sizes.max()
    else { return nil }
    x = CurveAxis(
      range: small / 1.04...large * 1.04, start: Self.frame.left, end: Self.frame.right)
    y = CurveAxis(
      range: least / 1.25...largest * 1.25, start: Self.frame.bottom, end: Self.frame.top)
    unit =
      [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")].first { large >= $0.0 } ?? (1, "bytes")
    drawAxes()
    drawBudget()
    drawCurve()
    drawMeasured()
    drawMixes()
    drawLegend()
    drawNotes()
  }

  // MARK: Parts

  private mutating func drawAxes() {
    let frame = Self.frame
    text(
      "What a size costs: \(Markup.visible(curve.model, limit: 60))", frame.left, 30, "cv-title",
      "start")
    for value in x.ticks(distance: 46) {
      let place = x.place(value)
      line(place, frame.top, place, frame.bottom, "cv-grid")
      text(typed(value / unit.byteCount), place, frame.bottom + 20, "cv-tick")
    }
    text(
      "size of the archive, \(unit.name)", (frame.left + frame.right) / 2, frame.bottom + 46,
      "cv-axis")
    for value in y.ticks(distance: 26) {
      let place = y.place(value)
      line(frame.left, place, frame.right, place, "cv-grid")
      text(typed(value), frame.left - 10, place + 4, "cv-tick", "end")
    }
    let title =
      curve.isMeasured ? "expected mean KL divergence, nats" : "expected harm, without a text"
    let middle = (frame.top + frame.bottom) / 2
    elements.append(
      "<text class=\"cv-axis\" text-anchor=\"middle\" transform=\"translate(24 \(short(middle))) "
        + "rotate(-90)\">\(Markup.xml(title))</text>")
    drawBits()
    elements.append(
      "<rect class=\"cv-frame\" x=\"\(short(frame.left))\" y=\"\(short(frame.top))\" "
        + "width=\"\(short(frame.right - frame.left))\" height=\"\(short(frame.bottom - frame.top))\"/>"
    )
  }

  /// Bits per weight above the frame: bytes less those of the header, which two points tell.
  private mutating func drawBits() {
    guard let first = curve.points.first, let last = curve.points.last,
      last.bitsPerWeight > first.bitsPerWeight
    else { return }
    let slope =
      Double(last.byteCount - first.byteCount) / (last.bitsPerWeight - first.bitsPerWeight)
    let base = Double(first.byteCount) - slope * first.bitsPerWeight
    var previous = -Double.infinity
    for bits in [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 10, 12, 14, 16, 24, 32] {
      let byteCount = base + slope * bits
      guard byteCount > 0, x.holds(byteCount) else { continue }
      let place = x.place(byteCount)
      guard place - previous >= 30 else { continue }
      previous = place
      line(place, Self.frame.top - 5, place, Self.frame.top, "cv-mark")
      text(typed(bits), place, Self.frame.top - 10, "cv-tick")
    }
    text(
      "bits per weight", (Self.frame.left + Self.frame.right) / 2, Self.frame.top - 30, "cv-axis")
  }

  private mutating func drawBudget() {
    guard let budget = curve.budget else { return }
    let name = Markup.visible(budget.name, limit: 60)
    guard let budgetPlace else {
      notes.append(
        "\(name): an archive could have \(byteText(budget.byteLimit)), more than is drawn")
      return
    }
    line(budgetPlace.x, Self.frame.top, budgetPlace.x, Self.frame.bottom, "cv-budget")
    text(
      name, budgetPlace.name, Self.frame.top + 18, "cv-name", budgetPlace.isLeft ? "start" : "end")
  }

  /// Where the line of what an archive could have is, and its name begins or ends.
  var budgetPlace: (x: Double, name: Double, isLeft: Bool)? {
    guard let limit = curve.budget?.byteLimit, x.holds(Double(limit)) else { return nil }
    let place = x.place(Double(limit))
    let isLeft = place < (Self.frame.left + Self.frame.right) / 2
    return (place, place + (isLeft ? 7 : -7), isLeft)
  }

  var drawnPoints: [FitCurve.Point] {
    curve.points.filter { y.holds($0.expectedDivergence) && x.holds(Double($0.byteCount)) }
  }

  private mutating func drawCurve() {
    let places = drawnPoints.map {
      "\(short(x.place(Double($0.byteCount)))),\(short(y.place($0.expectedDivergence)))"
    }
    elements.append("<polyline class=\"cv-line\" points=\"\(places.joined(separator: " "))\"/>")
    for point in drawnPoints {
      let (px, py) = (x.place(Double(point.byteCount)), y.place(point.expectedDivergence))
      let title =
        "\(byteText(point.byteCount)), \(fixed(point.bitsPerWeight, 2)) bits per weight: expected "
        + "\(FitCurve.figure(point.expectedDivergence)); mostly \(FitCurve.types(point.types))"
      elements.append(
        "<circle class=\"cv-dot\" cx=\"\(short(px))\" cy=\"\(short(py))\" r=\"3.5\">"
          + "<title>\(Markup.xml(title))</title></circle>")
    }
  }

  /// A bar over the interval, and a ring.
  private mutating func drawMeasured() {
    for point in curve.points {
      guard let estimate = point.measuredDivergence, let ends = barEnds(of: point) else { continue }
      let px = x.place(Double(point.byteCount))
      line(px, ends.bottom, px, ends.top, "cv-bar")
      for end in [ends.bottom, ends.top] { line(px - 5, end, px + 5, end, "cv-bar") }
      elements.append(
        "<circle class=\"cv-ring\" cx=\"\(short(px))\" cy=\"\(short(y.place(estimate.value)))\" "
          + "r=\"6\"><title>\(Markup.xml("\(byteText(point.byteCount)): measured \(FitCurve.text(estimate))"))"
          + "</title></circle>")
    }
  }

  private mutating func drawLegend() {
    var place = Self.frame.left
    let y = Self.height - 14
    let missing = curve.points.count - drawnPoints.count
    if let first = curve.points.first(where: { point in
      !drawnPoints.contains { $0.byteCount == point.byteCount }
    }) {
      notes.append(
        "\(missing) of \(curve.points.count) sizes, from \(byteText(first.byteCount)) on, cannot be "
          + "drawn: they lose nothing, or too little beside the largest figure")
    }
    func advance(_ name: String) { place += 26 + Double(name.count) * 6.9 }
    let chosen = "types chosen for the size"
    elements.append(
      "<circle class=\"cv-dot\" cx=\"\(short(place + 6))\" cy=\"\(short(y - 4))\" r=\"3.5\"/>")
    text(chosen, place + 18, y, "cv-tick", "start")
    advance(chosen)
    if !curve.mixes.isEmpty {
      let name = "stock mixes, by the same measurements"
      elements.append(
        "<path class=\"cv-mix\" transform=\"translate(\(short(place + 6)) \(short(y - 4)))\" "
          + "d=\"M0-5 5 0 0 5-5 0Z\"/>")
      text(name, place + 18, y, "cv-tick", "start")
      advance(name)
    }
    if curve.points.contains(where: { $0.measuredDivergence != nil }) {
      elements.append(
        "<circle class=\"cv-ring\" cx=\"\(short(place + 6))\" cy=\"\(short(y - 4))\" r=\"6\"/>")
      text("measured on the text, ± 95 %", place + 18, y, "cv-tick", "start")
    }
  }

  private mutating func drawNotes() {
    for (index, note) in notes.enumerated() {
      text(
        note, Self.frame.left, Self.height + Self.noteHeight * Double(index) + 6, "cv-tick", "start"
      )
    }
  }

  // MARK: Elements

  mutating func line(
    _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: String
  ) {
    elements.append(
      "<line class=\"\(style)\" x1=\"\(short(x1))\" y1=\"\(short(y1))\" x2=\"\(short(x2))\" "
        + "y2=\"\(short(y2))\"/>")
  }

  mutating func text(
    _ text: String, _ x: Double, _ y: Double, _ style: String, _ anchor: String = "middle"
  ) {
    elements.append(
      "<text class=\"\(style)\" x=\"\(short(x))\" y=\"\(short(y))\" text-anchor=\"\(anchor)\">"
        + "\(Markup.xml(text))</text>")
  }

  func short(_ value: Double) -> String { typed((value * 10).rounded() / 10) }
}
