import Verification

/// The curve as a picture: one SVG that loads nothing and runs nothing.
///
/// Bytes go to the right and divergence up, both in their logarithms. Every number in it is ours and
/// every text goes through `Markup`.
struct CurvePlot {
  private static let width = 960.0
  /// Without notes.
  private static let height = 640.0
  private static let noteHeight = 18.0
  private static let frame = LabelPlacement.Box(left: 92, top: 96, right: 936, bottom: 548)
  /// Below so many times less than the largest figure nothing is drawn: differences are no more
  /// than rounding.
  private static let depth = 1e-6

  private let curve: FitCurve
  private let x: CurveAxis
  private let y: CurveAxis
  /// Bytes of the axis' unit.
  private let unit: (byteCount: Double, name: String)
  private var elements: [String] = []
  /// What the picture cannot show, in lines below it.
  private var notes: [String] = []

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
  private var budgetPlace: (x: Double, name: Double, isLeft: Bool)? {
    guard let limit = curve.budget?.byteLimit, x.holds(Double(limit)) else { return nil }
    let place = x.place(Double(limit))
    let isLeft = place < (Self.frame.left + Self.frame.right) / 2
    return (place, place + (isLeft ? 7 : -7), isLeft)
  }

  /// Names of other things, and marks, that no name of a mix may cover.
  private var covered: [LabelPlacement.Box] {
    var boxes = curve.points.compactMap { point -> LabelPlacement.Box? in
      guard let value = point.measuredDivergence?.value, y.holds(value) else { return nil }
      let (px, py) = (x.place(Double(point.byteCount)), y.place(value))
      return LabelPlacement.Box(left: px - 7, top: py - 7, right: px + 7, bottom: py + 7)
    }
    if let budgetPlace, let name = curve.budget?.name {
      boxes.append(
        LabelPlacement.box(
          of: Markup.visible(name, limit: 60), x: budgetPlace.name, y: Self.frame.top + 18,
          endsThere: !budgetPlace.isLeft))
    }
    return boxes
  }

  private var drawnPoints: [FitCurve.Point] {
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
      guard let estimate = point.measuredDivergence, y.holds(estimate.value) else { continue }
      let px = x.place(Double(point.byteCount))
      let ends = [estimate.value - estimate.halfWidth, estimate.value + estimate.halfWidth].map {
        y.place(max(y.range.lowerBound, min(y.range.upperBound, $0)))
      }
      line(px, ends[0], px, ends[1], "cv-bar")
      for end in ends { line(px - 5, end, px + 5, end, "cv-bar") }
      elements.append(
        "<circle class=\"cv-ring\" cx=\"\(short(px))\" cy=\"\(short(y.place(estimate.value)))\" "
          + "r=\"6\"><title>\(Markup.xml("\(byteText(point.byteCount)): measured \(FitCurve.text(estimate))"))"
          + "</title></circle>")
    }
  }

  private mutating func drawMixes() {
    let drawn = curve.mixes.filter {
      y.holds($0.expectedDivergence) && x.holds(Double($0.byteCount))
    }
    func place(_ byteCount: UInt64, _ figure: Double) -> (x: Double, y: Double) {
      (x.place(Double(byteCount)), y.place(figure))
    }
    let points = drawnPoints.map { place($0.byteCount, $0.expectedDivergence) }
    var lines = zip(points, points.dropFirst()).flatMap {
      LabelPlacement.boxes(from: $0, to: $1)
    }
    if let place = budgetPlace?.x {
      lines.append(
        LabelPlacement.Box(
          left: place - 2, top: Self.frame.top, right: place + 2, bottom: Self.frame.bottom))
    }
    let mixPlaces = drawn.map { place($0.byteCount, $0.expectedDivergence) }
    var labels = LabelPlacement(
      frame: Self.frame, points: points + mixPlaces, others: covered, lines: lines)
    var unnamed: [String] = []
    // Right to left: there is room to the right of the largest.
    for (mix, at) in zip(drawn, mixPlaces).reversed() {
      let label = labels.place(mix.name, near: at)
      if let leader = label?.leader { line(at.x, at.y, leader.x, leader.y, "cv-leader") }
      let title =
        "\(mix.name): \(byteText(mix.byteCount)), \(fixed(mix.bitsPerWeight, 2)) bits per weight, "
        + "expected \(FitCurve.figure(mix.expectedDivergence))"
      elements.append(
        "<path class=\"cv-mix\" transform=\"translate(\(short(at.x)) \(short(at.y)))\" "
          + "d=\"M0-5 5 0 0 5-5 0Z\"><title>\(Markup.xml(title))</title></path>")
      if let label {
        text(mix.name, label.x, label.y, "cv-name", "start")
      } else {
        unnamed.append(mix.name)
      }
    }
    if !unnamed.isEmpty {
      notes.append("no room for the names of \(Self.list(unnamed.reversed()))")
    }
    let missing = curve.mixes.map(\.name).filter { name in !drawn.contains { $0.name == name } }
    if !missing.isEmpty {
      notes.append("mixes with figures that cannot be drawn: \(Self.list(missing))")
    }
  }

  /// As many names as a line holds.
  private static func list(_ names: [String]) -> String {
    let limit = 14
    let shown = names.prefix(limit).joined(separator: ", ")
    return names.count <= limit ? shown : "\(shown) and \(names.count - limit) more"
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
        note, Self.frame.left, Self.height + Self.noteHeight * Double(index) + 6, "cv-tick", "start")
    }
  }

  // MARK: Elements

  private mutating func line(
    _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ style: String
  ) {
    elements.append(
      "<line class=\"\(style)\" x1=\"\(short(x1))\" y1=\"\(short(y1))\" x2=\"\(short(x2))\" "
        + "y2=\"\(short(y2))\"/>")
  }

  private mutating func text(
    _ text: String, _ x: Double, _ y: Double, _ style: String, _ anchor: String = "middle"
  ) {
    elements.append(
      "<text class=\"\(style)\" x=\"\(short(x))\" y=\"\(short(y))\" text-anchor=\"\(anchor)\">"
        + "\(Markup.xml(text))</text>")
  }

  private func short(_ value: Double) -> String { typed((value * 10).rounded() / 10) }

  // MARK: The picture

  private static let style = """
    .cv-paper { fill: #ffffff; }
    .cv-frame { fill: none; stroke: #8a949b; stroke-width: 1; }
    .cv-grid { stroke: #e4e2dc; stroke-width: 1; }
    .cv-mark, .cv-leader { stroke: #8a949b; stroke-width: 0.8; }
    .cv-line { fill: none; stroke: #2f6690; stroke-width: 2; }
    .cv-dot { fill: #2f6690; }
    .cv-bar, .cv-ring { fill: none; stroke: #17683f; stroke-width: 1.6; }
    .cv-mix { fill: #b5542b; }
    .cv-budget { stroke: #1b2227; stroke-width: 1.4; stroke-dasharray: 6 4; }
    .cv-title, .cv-axis, .cv-tick, .cv-name { font-family: system-ui, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; fill: #1b2227; }
    .cv-title { font-size: 19px; font-weight: 600; }
    .cv-axis { font-size: 14px; }
    .cv-tick { font-size: 12px; fill: #566069; }
    .cv-name { font-size: 12px; }
    @media (prefers-color-scheme: dark) {
      .cv-paper { fill: #1a2126; }
      .cv-grid { stroke: #303a41; }
      .cv-line { stroke: #86b8dc; }
      .cv-dot { fill: #86b8dc; }
      .cv-bar, .cv-ring { stroke: #74cf9f; }
      .cv-mix { fill: #f0a27e; }
      .cv-budget { stroke: #e5e9eb; }
      .cv-title, .cv-axis, .cv-name { fill: #e5e9eb; }
      .cv-tick { fill: #9eabb4; }
    }
    """

  var svg: String {
    let drawn = drawnPoints
    let label =
      "\(curve.figureTitle) of \(curve.model) by size: \(drawn.count) sizes from "
      + "\(byteText(drawn.first?.byteCount ?? 0)) to \(byteText(drawn.last?.byteCount ?? 0)), "
      + "and \(curve.mixes.count) stock mixes"
    let height = Self.height + Self.noteHeight * Double(notes.count)
    return Self.picture(label: label, height: height, elements)
  }

  /// Instead of a picture where no size has a figure above 0.
  static func sentence(of curve: FitCurve) -> String {
    let title = "What a size costs: \(Markup.visible(curve.model, limit: 60))"
    let sentence =
      "Nothing is drawn: none of \(curve.points.count) sizes and \(curve.mixes.count) stock mixes "
      + "loses anything."
    return picture(
      label: sentence, height: 110,
      [("cv-title", 30.0, title), ("cv-axis", 70, sentence)].map { style, y, text in
        "<text class=\"\(style)\" x=\"\(typed(frame.left))\" y=\"\(typed(y))\">"
          + "\(Markup.xml(text))</text>"
      })
  }

  private static func picture(label: String, height: Double, _ elements: [String]) -> String {
    let (width, height) = (typed(width), typed(height))
    return """
      <svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="\(Markup.xml(label))" \
      viewBox="0 0 \(width) \(height)" width="\(width)" height="\(height)" \
      style="max-width: none">
      <style>
      \(style)
      </style>
      <rect class="cv-paper" width="\(width)" height="\(height)"/>
      \(elements.joined(separator: "\n"))
      </svg>
      """
  }
}
