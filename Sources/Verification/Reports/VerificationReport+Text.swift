import ByteIO

extension VerificationReport {
  /// The result for a terminal.
  ///
  /// - Parameters:
  ///   - colour: whether the terminal shows colours; nothing is said by colour alone.
  ///   - width: in columns, which the bars of the layers are wrapped to.
  /// - Returns: lines, each with its end.
  package func text(colour: Bool = false, width: Int = 100) -> String {
    let style = Style(colour: colour, width: max(40, width))
    let verdict = result.verdict.rawValue.uppercased()
    let good = result.verdict != .failed
    var lines = [style.strong(verdict, good: good) + "  " + result.verdictReason]
    lines += section(style.heading("Run"), settingsTable)
    lines += section(style.heading("Figures"), figureTable)
    lines += section(style.heading("Gates"), gateLines(style))
    lines += section(style.heading("Drift by layer") + layerRemark, layerLines(style.width))
    lines += section(style.heading("Worst tensors") + tensorRemark, tensorLines)
    lines += section(style.heading("Worst tokens") + tokenRemark, tokenLines)
    lines += section(
      style.heading("Warnings"), result.warnings.map { Markup.visible($0, limit: 1000) })
    return lines.joined(separator: "\n") + "\n"
  }

  private static let terminalTensorLimit = 8
  private static let terminalTokenLimit = 5

  private struct Style {
    var colour: Bool
    var width: Int

    func heading(_ text: String) -> String { colour ? "\u{1B}[1m\(text)\u{1B}[0m" : text }

    func strong(_ text: String, good: Bool) -> String {
      colour ? "\u{1B}[1;\(good ? 32 : 31)m\(text)\u{1B}[0m" : text
    }
  }

  private func section(_ heading: String, _ lines: [String]) -> [String] {
    lines.isEmpty ? [] : ["", heading] + lines.map { "  " + $0 }
  }

  private var settingsTable: [String] {
    result.settings.map {
      ($0.label + "           ").prefix(11) + Markup.visible($0.value) + "  (" + $0.note + ")"
    }
  }

  private var figureTable: [String] {
    guard !result.figures.isEmpty else { return [] }
    return TextTable(
      ["", "value", ""], result.figures.map { [$0.label, $0.value, $0.note] }, rightAligned: [1]
    ).lines.dropFirst().map(\.self)
  }

  private func gateLines(_ style: Style) -> [String] {
    guard !result.gates.isEmpty else { return [] }
    let table = TextTable(
      ["gate", "value", "95 % bound", "", "limit", ""],
      result.gates.map {
        [
          Markup.visible($0.name), $0.valueText, $0.boundText, $0.relation, $0.limitText,
          $0.passed ? "ok" : "FAILED",
        ]
      }, rightAligned: [1, 2, 4]
    ).lines
    var lines = Array(table.prefix(1))
    for (gate, line) in zip(result.gates, table.dropFirst()) {
      lines.append(gate.passed ? line : style.strong(line, good: false))
      if let advice = gate.advice { lines.append("  → " + Markup.visible(advice, limit: 1000)) }
    }
    return lines
  }

  // What stands behind a heading: how much of everything is listed, and in which order.

  private var layerRemark: String {
    let (shown, all) = (result.notableLayers.count, result.layers.count)
    return shown < all ? "  a bar for each of \(all), figures for \(shown)" : ""
  }

  private var tensorRemark: String {
    let shown = min(Self.terminalTensorLimit, result.tensors.count)
    return "  \(shown) of \(result.tensors.count), " + Self.tensorOrder
  }

  private var tokenRemark: String {
    let shown = min(Self.terminalTokenLimit, result.worstTokens.count)
    let all = result.protocolSettings.map { " of \(counted($0.scoredPositionCount, "position"))" }
    return
      "  \(shown)\(all ?? ""), by KL divergence; probability of the token after ▸: reference → candidate"
  }

  /// One bar for each layer, side by side, and the layers worth naming.
  private func layerLines(_ width: Int) -> [String] {
    let layers = result.layers
    guard !layers.isEmpty else { return [] }
    let largest = layers.map(\.relativeRMSError).filter(\.isFinite).max() ?? 0
    let bars: [Character] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
    let line = layers.map { layer -> Character in
      guard layer.relativeRMSError.isFinite else { return "!" }
      guard largest > 0 else { return "▁" }
      return bars[max(0, min(7, Int(layer.relativeRMSError / largest * 7.999)))]
    }
    var lines: [String] = []
    var rest = line[...]
    while !rest.isEmpty {
      lines.append(String(rest.prefix(width - 2)))
      rest = rest.dropFirst(width - 2)
    }
    let table = TextTable(
      ["layer", "relative error", "cosine", ""],
      result.notableLayers.map {
        [
          $0.name, significant($0.relativeRMSError, 3), $0.cosineText,
          $0.isWhereDriftBegins ? "← the drift begins here" : "",
        ]
      }, rightAligned: [1, 2])
    return lines + table.lines
  }

  private var tensorLines: [String] {
    guard !result.tensors.isEmpty else { return [] }
    let listed = result.tensors.worstFirst.prefix(Self.terminalTensorLimit)
    let table = TextTable(
      ["tensor", "type", "error", "allowed", "of allowed", "cosine", ""],
      listed.map {
        [
          $0.displayName, $0.type.name, significant($0.relativeRMSError, 3),
          $0.allowedError.map { significant($0, 3) } ?? "", $0.partOfAllowedText, $0.cosineText,
          $0.finding.map { "← " + Markup.visible($0) } ?? "",
        ]
      }, rightAligned: [2, 3, 4, 5])
    return table.lines + [result.uncomparedRemark].compactMap { $0 }
  }

  private var tokenLines: [String] {
    result.worstTokens.prefix(Self.terminalTokenLimit).map { token in
      let context = Markup.visible(token.context, limit: 4000).suffix(40)
      return
        "\(significant(token.divergence, 3))  …\(context)▸\(Markup.visible(token.token, limit: 30))"
        + "  \(percent(token.referenceProbability)) → \(percent(token.candidateProbability))"
    }
  }
}

extension VerificationResult {
  /// The first layer, the one where the drift begins, the one with most drift, and the last.
  var notableLayers: [LayerDrift] {
    let worst = layers.indices.max { a, b in
      let (a, b) = (layers[a].relativeRMSError, layers[b].relativeRMSError)
      return (a.isFinite ? a : .infinity) < (b.isFinite ? b : .infinity)
    }
    let indices = [layers.indices.first, layers.firstIndex(where: \.isWhereDriftBegins), worst]
    return Set((indices + [layers.indices.last]).compactMap { $0 }).sorted().map { layers[$0] }
  }
}

extension TensorError {
  var cosineText: String { cosine.isFinite ? fixed(cosine, 6) : significant(cosine, 1) }

  /// `81 %`; empty where no limit is known or it is 0.
  var partOfAllowedText: String {
    guard let allowedError, allowedError > 0, relativeRMSError.isFinite else { return "" }
    return "\(fixed(100 * relativeRMSError / allowedError, 0)) %"
  }
}

extension LayerDrift {
  var cosineText: String { cosine.isFinite ? fixed(cosine, 6) : significant(cosine, 1) }

  /// `embedding` or `layer 3`.
  var place: String { layer < 0 ? "embedding" : "layer \(layer)" }

  /// `embedding` or the number.
  var name: String { layer < 0 ? "embedding" : "\(layer)" }
}

/// A probability as a percentage with 3 significant digits.
func percent(_ probability: Double) -> String {
  probability.isFinite ? significant(probability * 100, 3) + " %" : significant(probability, 1)
}
