import Verification

extension CurvePlot {
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
      "Nothing is drawn: no figure of \(curve.points.count) sizes and \(curve.mixes.count) stock mixes "
      + "is above 0."
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
