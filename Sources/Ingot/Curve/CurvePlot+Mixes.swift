import Verification

extension CurvePlot {
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

  func barEnds(of point: FitCurve.Point) -> (top: Double, bottom: Double)? {
    guard let estimate = point.measuredDivergence, y.holds(estimate.value) else { return nil }
    func place(_ value: Double) -> Double {
      y.place(max(y.range.lowerBound, min(y.range.upperBound, value)))
    }
    return (
      place(estimate.value + estimate.halfWidth), place(estimate.value - estimate.halfWidth)
    )
  }

  mutating func drawMixes() {
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
    // Bars of what was measured.
    for point in curve.points {
      guard let ends = barEnds(of: point) else { continue }
      let px = x.place(Double(point.byteCount))
      lines.append(
        LabelPlacement.Box(left: px - 5, top: ends.top, right: px + 5, bottom: ends.bottom))
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
      notes.append(Self.list(unnamed.reversed(), behind: "no room for the names of "))
    }
    let missing = curve.mixes.map(\.name).filter { name in !drawn.contains { $0.name == name } }
    if !missing.isEmpty {
      notes.append(Self.list(missing, behind: "mixes with figures that cannot be drawn: "))
    }
  }

  /// As many names as a line holds.
  static func list(_ names: [String], behind start: String) -> String {
    let room = Int((frame.right - frame.left) / LabelPlacement.letterWidth)
    func line(_ count: Int) -> String {
      let rest = names.count - count
      return start + names.prefix(count).joined(separator: ", ")
        + (rest == 0 ? "" : " and \(rest) more")
    }
    let count = (0...names.count).last { line($0).count <= room } ?? 0
    return count == 0 ? "\(start)\(names.count) mixes" : line(count)
  }
}
