#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A logarithmic axis between two positive numbers.
struct CurveAxis {
  let range: ClosedRange<Double>
  /// Where its ends are drawn.
  let start: Double
  let end: Double

  func place(_ value: Double) -> Double {
    let span = log(range.upperBound / range.lowerBound)
    return start + (end - start) * (span > 0 ? log(value / range.lowerBound) / span : 0.5)
  }

  func holds(_ value: Double) -> Bool {
    value >= range.lowerBound * (1 - 1e-9) && value <= range.upperBound * (1 + 1e-9)
  }

  /// Round numbers at least so far apart; coarse ones first, so that these stay.
  func ticks(distance: Double) -> [Double] {
    let steps: [[Double]] = [[1], [2, 5], [3], [1.5, 4, 7], [6, 8], [2.5]]
    let exponents =
      Int(log10(range.lowerBound).rounded(.down))...Int(log10(range.upperBound).rounded(.up))
    var ticks: [Double] = []
    for round in steps {
      for exponent in exponents {
        for step in round {
          let value = step * pow(10, Double(exponent))
          let isFree = ticks.allSatisfy { abs(place($0) - place(value)) >= distance }
          if holds(value), isFree { ticks.append(value) }
        }
      }
    }
    return ticks.sorted()
  }
}

/// Finds room for names beside points, where they cover neither each other nor a point.
package struct LabelPlacement {
  package struct Box: Hashable {
    package var left: Double
    package var top: Double
    package var right: Double
    package var bottom: Double

    package init(left: Double, top: Double, right: Double, bottom: Double) {
      self.left = left
      self.top = top
      self.right = right
      self.bottom = bottom
    }

    func meets(_ other: Box) -> Bool {
      left < other.right && other.left < right && top < other.bottom && other.top < bottom
    }
  }

  package struct Place: Hashable {
    /// Of the text's baseline, at its left end.
    package var x: Double
    package var y: Double
    /// Where a thin line from the point ends; `nil` for a name right beside it.
    package var leader: (x: Double, y: Double)?

    package static func == (a: Place, b: Place) -> Bool { a.x == b.x && a.y == b.y }
    package func hash(into hasher: inout Hasher) {
      hasher.combine(x)
      hasher.combine(y)
    }
  }

  let frame: Box
  /// Points and names, which nothing covers.
  private var taken: [Box]
  /// Lines, which other lines may cross, but no name.
  private var lines: [Box]

  /// - Parameters:
  ///   - frame: that names stay in.
  ///   - points: of the plot.
  ///   - others: texts and marks that are there.
  ///   - lines: boxes along the plot's lines.
  package init(frame: Box, points: [(x: Double, y: Double)], others: [Box] = [], lines: [Box]) {
    self.frame = frame
    self.lines = lines
    taken = others
    taken += points.map { Box(left: $0.x - 5, top: $0.y - 5, right: $0.x + 5, bottom: $0.y + 5) }
  }

  /// Room that a text takes from its left or right end on, with its baseline at `y`.
  static func box(of text: String, x: Double, y: Double, endsThere: Bool) -> Box {
    let width = Double(text.count) * letterWidth
    let left = endsThere ? x - width : x
    return Box(left: left, top: y - lineHeight + 2, right: left + width, bottom: y + 4)
  }

  /// Width of a letter, and height of a line, of the names.
  static let letterWidth = 6.9
  private static let lineHeight = 13.0
  /// Directions in which room is looked for, best first: right and up, where the curve is not.
  private static let directions: [(x: Double, y: Double)] = [
    (1, 0), (0.8, -0.6), (0.5, -0.87), (0, -1), (0.8, 0.6), (-0.5, -0.87), (-0.8, 0.6), (-1, 0),
    (-0.5, 0.87), (-0.8, -0.6), (0, 1), (0.5, 0.87),
  ]

  /// Parts of the line from a point to its name, beginning outside of the point.
  static func boxes(from start: (x: Double, y: Double), to end: (x: Double, y: Double))
    -> [Box]
  {
    let (dx, dy) = (end.x - start.x, end.y - start.y)
    let length = (dx * dx + dy * dy).squareRoot()
    return stride(from: 8.0, to: length, by: 3).map { distance in
      let (x, y) = (start.x + dx * distance / length, start.y + dy * distance / length)
      return Box(left: x - 0.5, top: y - 0.5, right: x + 0.5, bottom: y + 0.5)
    }
  }

  /// - Returns: `nil` where there is no room.
  package mutating func place(_ text: String, near point: (x: Double, y: Double)) -> Place? {
    let width = Double(text.count) * Self.letterWidth
    for distance in [9.0, 20, 30, 42, 56, 72, 90, 110, 134] {
      for direction in Self.directions {
        let (x, y) = (point.x + distance * direction.x, point.y + distance * direction.y)
        // The end of the text that is nearest to the point lies there.
        let left = direction.x > 0.3 ? x : direction.x < -0.3 ? x - width : x - width / 2
        let box = Box(
          left: left - 1, top: y - Self.lineHeight / 2, right: left + width + 1,
          bottom: y + Self.lineHeight / 2)
        let isInside =
          box.left >= frame.left && box.right <= frame.right && box.top >= frame.top
          && box.bottom <= frame.bottom
        guard isInside, !(taken + lines).contains(where: box.meets) else { continue }
        // A line to the middle of a name ends at its edge, and not in its letters.
        let isBeside = abs(direction.x) > 0.3
        let end = (x: x, y: isBeside ? y : direction.y < 0 ? box.bottom : box.top)
        let leader = Self.boxes(from: point, to: end)
        guard !leader.contains(where: { part in taken.contains(where: part.meets) }) else {
          continue
        }
        taken.append(box)
        lines += leader
        return Place(x: left, y: y + 4, leader: distance > 10 ? end : nil)
      }
    }
    return nil
  }
}
