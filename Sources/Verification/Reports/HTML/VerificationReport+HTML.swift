import ByteIO

extension VerificationReport {
  /// The result as one self-contained page: no script, nothing loaded from anywhere.
  package var html: String {
    let title = "ingot verify: \(result.verdict.rawValue)"
    let sections = [
      header, tiles, gateCard, warningCard, charts, tensorCard, tokenCard, runCard,
    ]
    return HTMLPage.text(
      title: title, ingotVersion: ingotVersion, style: result.verdict.rawValue, sections: sections)
  }

  // MARK: The verdict

  private var header: String {
    let sign = ["passed": "✓", "failed": "✕"][result.verdict.rawValue] ?? "≈"
    var pair = "<code>\(Markup.html(result.reference.path))</code>"
    if let candidate = result.candidate {
      pair = "<code>\(Markup.html(candidate.path))</code> against \(pair)"
    }
    return """
      <header>
      <p class="eyebrow">ingot verify</p>
      <div class="verdict"><span class="sign" aria-hidden="true">\(sign)</span>\
      <h1>\(result.verdict.rawValue.capitalizedFirst)</h1></div>
      <p class="reason">\(Markup.html(result.verdictReason.capitalizedFirst, limit: 1000)).</p>
      <p class="pair soft long">\(pair)</p>
      </header>
      """
  }

  private var tiles: String {
    var tiles: [(String, String, String)] = []
    if let distribution = result.distribution {
      if let comparison = distribution.comparison {
        let ratio = ConfidenceBound.exponential(comparison.logPerplexityRatio.value)
        tiles.append(
          (
            "Perplexity", significant(comparison.candidatePerplexity.value, 4),
            "\(significant(ratio, 5)) × the reference's \(significant(distribution.referencePerplexity.value, 4))"
          ))
        tiles.append(
          (
            "Mean KL divergence", significant(comparison.meanDivergence.value, 3),
            "± \(significant(comparison.meanDivergence.cautiousError, 2)) nats per token"
          ))
        if let tail = comparison.quantile(0.99) {
          tiles.append(("99th percentile of it", significant(tail.value, 3), tail.boundText))
        }
        tiles.append(
          (
            "Same first choice", percent(comparison.topAgreement.value),
            "± \(percent(comparison.topAgreement.cautiousError))"
          ))
      } else {
        tiles.append(
          (
            "Perplexity", significant(distribution.referencePerplexity.value, 5),
            "± \(significant(distribution.referencePerplexity.cautiousError, 2))"
          ))
      }
    }
    if let candidate = result.candidate {
      tiles.append(
        (
          "Size", byteText(candidate.byteCount),
          "\(fixed(candidate.bitsPerWeight, 2)) bits per weight, \(Markup.visible(candidate.type, limit: 24))"
        ))
    }
    guard !tiles.isEmpty else { return "" }
    let items = tiles.map {
      "<div class=\"tile\"><dt>\(Markup.html($0.0))</dt><dd>\(Markup.html($0.1))</dd>"
        + "<dd>\(Markup.html($0.2))</dd></div>"
    }
    return "<dl class=\"tiles\" style=\"margin:0\">\(items.joined())</dl>"
  }

  private var gateCard: String {
    guard !result.gates.isEmpty else { return "" }
    var table = HTMLTable("Gates")
    table.header = [
      .text("Gate"), .text("Result"), .spare("Value"), .number("95 % bound"), .number("Limit"),
    ]
    for gate in result.gates {
      table.rows.append([
        .html(
          "\(Markup.html(gate.title))<br><code class=\"soft\">\(Markup.html(gate.name))</code>"),
        .html(
          gate.passed
            ? "<span class=\"status good\">✓ kept</span>"
            : "<span class=\"status bad\">✕ failed</span>"), .spare(gate.valueText),
        .number(gate.boundText), .limit(gate.relation, gate.limitText),
      ])
      if let advice = gate.advice { table.addNote("→ \(advice)") }
    }
    return card(
      "Gates", table.html,
      note: "A gate compares the worse end of the 95 % confidence interval with its limit.")
  }

  private var warningCard: String {
    guard !result.warnings.isEmpty else { return "" }
    let items = result.warnings.map { "<li class=\"long\">\(Markup.html($0, limit: 1000))</li>" }
    return card("Warnings", "<ul class=\"plain\">\(items.joined())</ul>")
  }

  // MARK: Pictures

  private var charts: String {
    var cards: [String] = []
    if let chart = histogramChart {
      var table = HTMLTable("Figures")
      table.header = [.text("Figure"), .number("Value"), .text("")]
      table.rows = result.figures.map { [.text($0.label), .number($0.value), .soft($0.note)] }
      cards.append(
        card(
          "Divergence over positions",
          scroll("Histogram", chart) + folded("All figures", table.html),
          note: "Share of scored positions by how much the next-token distribution changed."))
    } else if !result.figures.isEmpty {
      var table = HTMLTable("Figures")
      table.header = [.text("Figure"), .number("Value"), .text("")]
      table.rows = result.figures.map { [.text($0.label), .number($0.value), .soft($0.note)] }
      cards.append(card("Figures", table.html))
    }
    if let chart = layerChart {
      var table = HTMLTable("Drift by layer")
      table.header = [.number("Layer"), .number("Relative error"), .number("Cosine"), .text("")]
      table.rows = result.layers.map {
        [
          .number($0.name), .number(significant($0.relativeRMSError, 3)),
          .number($0.cosineText),
          .text($0.isWhereDriftBegins ? "the drift begins here" : ""),
        ]
      }
      cards.append(
        card(
          "Drift by layer", scroll("Chart of layers", chart) + folded("All layers", table.html),
          note: "Relative error of the hidden states after each layer."))
    }
    guard !cards.isEmpty else { return "" }
    return "<div class=\"cards\">\(cards.joined(separator: "\n"))</div>"
  }

  // MARK: Tensors

  private var tensorCard: String {
    guard !result.tensors.isEmpty else { return "" }
    let exact = result.tensors.count { $0.relativeRMSError == 0 }
    var note =
      "Relative error of each tensor against bits per weight. A dash is the largest error"
      + " that the type explains, a cross a tensor that is worse."
    if exact > 0 { note += " \(counted(exact, "exact tensor")) not drawn." }
    if let remark = result.uncomparedRemark { note += " \(remark)." }
    let chart = tensorChart.map { scroll("Chart of tensors", $0) } ?? ""
    let worst = result.tensors.worstFirst
    let found = worst.prefix { $0.finding != nil }
    var content = chart
    if !found.isEmpty {
      content += tensorTable(
        "Tensors with findings", found.prefix(Self.listedTensorLimit),
        omitted: found.count - Self.listedTensorLimit)
    }
    let others = worst.dropFirst(found.count).prefix(Self.listedTensorLimit)
    if !others.isEmpty {
      let all = result.tensors.count - found.count
      let title =
        "The worst \(others.count) of \(all) \(found.isEmpty ? "tensors" : "others"),"
        + " by error as a part of what the type allows"
      content += folded(title, tensorTable(title, others))
    }
    let groups = TensorGroup.list(result.tensors)
    var roles = HTMLTable("Tensors by role")
    roles.header = [
      .text("Role"), .number("Tensors"), .text("Types"), .number("Bits per weight"),
      .number("Largest error"), .number("Findings"),
    ]
    roles.rows = groups.prefix(60).map {
      [
        .name($0.role), .number("\($0.tensors.count)"),
        .text($0.types.prefix(4).joined(separator: ", ")), .number(fixed($0.bitsPerWeight, 2)),
        .number(significant($0.largestError, 3)), .number("\($0.findings.count)"),
      ]
    }
    if groups.count > 60 { roles.addNote("and \(groups.count - 60) more roles") }
    content += folded("All \(counted(result.tensors.count, "tensor")) by role", roles.html)
    return card("Tensors", content, note: note)
  }

  private func tensorTable(
    _ title: String, _ tensors: ArraySlice<TensorError>, omitted: Int = 0
  ) -> String {
    var table = HTMLTable(title)
    table.header = [
      .text("Tensor"), .text("Type"), .number("Error"), .number("Allowed"), .number("Of allowed"),
      .number("Cosine"), .text("Finding"),
    ]
    table.rows = tensors.map {
      [
        .name($0.displayName), .text($0.type.name), .number(significant($0.relativeRMSError, 3)),
        .number($0.allowedError.map { significant($0, 3) } ?? "–"),
        .number($0.partOfAllowedText), .number($0.cosineText), .finding($0.finding),
      ]
    }
    if omitted > 0 { table.addNote("and \(omitted) more") }
    return table.html
  }

  // MARK: Tokens and the run

  private var tokenCard: String {
    guard !result.worstTokens.isEmpty else { return "" }
    let items = result.worstTokens.prefix(Self.listedTokenLimit).map { token in
      let context = Markup.html(
        String(token.context.unicodeScalars.suffix(240).map(Character.init)), limit: 240)
      func name(_ text: String) -> String {
        "<bdi class=\"text\">\(Markup.html(text, limit: 60))</bdi>"
      }
      return """
        <li><p class="long" style="margin:0"><bdi class="text soft">\(context)</bdi>\
        <mark><bdi class="text">\(Markup.html(token.token, limit: 60))</bdi></mark></p>
        <p class="small soft">KL \(significant(token.divergence, 3)) · probability \
        \(percent(token.referenceProbability)) → \(percent(token.candidateProbability)) · \
        reference prefers \(name(token.referenceTop)), candidate \(name(token.candidateTop)) · \
        chunk \(token.chunk), position \(token.position)</p></li>
        """
    }
    return card(
      "Worst tokens", "<ol class=\"tokens\">\(items.joined(separator: "\n"))</ol>",
      note: "Where the two models differ most; the marked token is the one that the text has."
        + " ↵ is a line end, ⇥ a tab.")
  }

  private var runCard: String {
    var table = HTMLTable("The run")
    table.isStacked = true
    table.rows = (result.settings + [ReportFigure(label: "ingot", value: ingotVersion)]).map {
      [.text($0.label), .name($0.value), .soft($0.note)]
    }
    return "<footer>" + card("The run", table.html) + "</footer>"
  }

  // MARK: Pieces

  private func card(_ title: String, _ content: String, note: String? = nil) -> String {
    let note = note.map { "<p class=\"small soft\">\(Markup.html($0, limit: 1000))</p>" } ?? ""
    return "<section class=\"card\"><h2>\(title)</h2>\(note)\(content)</section>"
  }

  private func folded(_ title: String, _ content: String) -> String {
    "<details><summary>\(title)</summary>\(content)</details>"
  }

  private func scroll(_ label: String, _ content: String) -> String {
    "<div class=\"scroll\" role=\"region\" aria-label=\"\(label)\" tabindex=\"0\">\(content)</div>"
  }
}

extension String {
  fileprivate var capitalizedFirst: String { prefix(1).uppercased() + dropFirst() }
}
