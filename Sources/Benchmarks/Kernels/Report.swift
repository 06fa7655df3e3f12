/// One contender's speed.
struct Figure {
  var name: String
  /// Million weights per second of one core.
  var speed: Double
}

/// One task of one type.
struct Result {
  var type: String
  var task: String
  var figures: [Figure]

  /// A row of a Markdown table, below the head when it is the first.
  func line(isFirst: Bool) -> String {
    let cells = figures.enumerated().map { index, figure in
      index == 0 ? number(figure.speed) : "\(number(figure.speed)) (\(ratio(figure)) ×)"
    }
    let row = "| \(type) | \(task) | " + cells.joined(separator: " | ") + " |"
    guard isFirst else { return row }
    let names = figures.map(\.name).joined(separator: " | ")
    let rule = String(repeating: "---|", count: figures.count + 2)
    return "| type | task | \(names) |\n|\(rule)\n\(row)"
  }

  /// An array of objects, one per result.
  static func json(_ results: [Result]) -> String {
    let objects = results.map { result in
      let speeds = result.figures.map { #""\#($0.name)": \#(number($0.speed))"# }
      return #"  {"type": "\#(result.type)", "task": "\#(result.task)", "#
        + #""million_weights_per_second": {\#(speeds.joined(separator: ", "))}}"#
    }
    return "[\n" + objects.joined(separator: ",\n") + "\n]"
  }

  private func ratio(_ figure: Figure) -> String {
    number(figure.speed / (figures.first?.speed ?? .nan))
  }
}

/// With one decimal.
func number(_ value: Double) -> String {
  guard value.isFinite, value < 1e12 else { return "0" }
  let tenths = Int((value * 10).rounded())
  return "\(tenths / 10).\(tenths % 10)"
}
