import ByteIO

/// An inline SVG picture with axes; its text says what it shows to those who cannot see it.
///
/// Coordinates are those of the drawing, 0,0 at the upper left. Every number in it is ours and
/// every text goes through `Markup.html`.
struct HTMLChart {
  static let width = 520.0
  static let height = 260.0
  /// Where data is drawn, between the axes' labels.
  static let plot = (left: 52.0, right: 512.0, top: 44.0, bottom: 218.0)

  private(set) var elements: [String] = []

  static func x(_ fraction: Double) -> Double {
    plot.left + (plot.right - plot.left) * min(1, max(0, fraction))
  }

  static func y(_ fraction: Double) -> Double {
    plot.bottom - (plot.bottom - plot.top) * min(1, max(0, fraction))
  }

  mutating func line(
    _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, style: String = "axis"
  ) {
    elements.append(
      "<line class=\"\(style)\" x1=\"\(short(x1))\" y1=\"\(short(y1))\" x2=\"\(short(x2))\" y2=\"\(short(y2))\"/>"
    )
  }

  mutating func text(
    _ text: String, _ x: Double, _ y: Double, anchor: String = "middle", style: String? = nil
  ) {
    let style = style.map { " class=\"\($0)\"" } ?? ""
    elements.append(
      "<text\(style) x=\"\(short(x))\" y=\"\(short(y))\" text-anchor=\"\(anchor)\">\(Markup.html(text))</text>"
    )
  }

  mutating func bar(
    _ x: Double, _ width: Double, fraction: Double, style: String = "bar", title: String
  ) {
    let top = Self.y(fraction)
    elements.append(
      "<rect class=\"\(style)\" x=\"\(short(x))\" y=\"\(short(top))\" width=\"\(short(width))\""
        + " height=\"\(short(Self.plot.bottom - top))\"><title>\(Markup.html(title))</title></rect>"
    )
  }

  mutating func dot(_ x: Double, _ y: Double, radius: Double, title: String) {
    elements.append(
      "<circle class=\"dot\" cx=\"\(short(x))\" cy=\"\(short(y))\" r=\"\(short(radius))\">"
        + "<title>\(Markup.html(title))</title></circle>")
  }

  /// A cross, so that what is wrong is told from dots without colours.
  mutating func cross(_ x: Double, _ y: Double, title: String) {
    let (x, y) = (short(x), short(y))
    elements.append(
      "<g transform=\"translate(\(x) \(y))\"><title>\(Markup.html(title))</title>"
        + "<path class=\"found\" d=\"M-5-5 5 5M5-5-5 5\"/><circle class=\"hit\" r=\"8\"/></g>")
  }

  /// Horizontal lines with their values to the left.
  mutating func rules(_ rules: [(fraction: Double, label: String)]) {
    for rule in rules {
      let y = Self.y(rule.fraction)
      line(Self.plot.left, y, Self.plot.right, y)
      text(rule.label, Self.plot.left - 6, y + 4, anchor: "end")
    }
  }

  func svg(label: String) -> String {
    "<svg role=\"img\" aria-label=\"\(Markup.html(label, limit: 1000))\""
      + " viewBox=\"-8 -8 \(short(Self.width + 16)) \(short(Self.height + 8))\">\(elements.joined())</svg>"
  }

  private func short(_ value: Double) -> String { typed((value * 10).rounded() / 10) }
}

/// The next round number that is not below `value`: 1, 2, 2.5 or 5 times a power of ten.
func roundedUp(_ value: Double) -> Double {
  guard value.isFinite, value > 0 else { return 1 }
  var power = 1.0
  let exponent = decimalExponent(value)
  for _ in 0..<abs(exponent) { power *= 10 }
  let unit = exponent < 0 ? 1 / power : power
  for step in [1, 2, 2.5, 5] where step * unit >= value * 0.999_999 { return step * unit }
  return 10 * unit
}

/// `10⁻³` for −3.
package func powerOfTen(_ exponent: Int) -> String {
  let digits: [Character: Character] = [
    "-": "⁻", "0": "⁰", "1": "¹", "2": "²", "3": "³", "4": "⁴", "5": "⁵", "6": "⁶", "7": "⁷",
    "8": "⁸", "9": "⁹",
  ]
  return "10" + String("\(exponent)".compactMap { digits[$0] })
}
