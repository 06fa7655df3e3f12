import ByteIO

extension VerificationReport {
  /// The result as GitHub-flavoured Markdown, for a comment on a pull request or a job's summary.
  package var markdown: String {
    let mark = result.verdict == .failed ? "❌" : result.verdict == .passed ? "✅" : "📏"
    var lines = ["### \(mark) ingot verify: \(result.verdict.rawValue)", ""]
    lines += [Markup.markdown(result.verdictReason, limit: 1000) + ".", ""]
    if let candidate = result.candidate {
      lines += ["\(Markup.code(candidate.path)) against \(Markup.code(result.reference.path))", ""]
    }
    lines += mainTable
    for gate in result.failedGates {
      guard let advice = gate.advice else { continue }
      lines.append("- \(Markup.code(gate.name)): \(Markup.markdown(advice, limit: 1000))")
    }
    if !result.failedGates.isEmpty { lines.append("") }
    if !result.warnings.isEmpty {
      lines += result.warnings.map { "- ⚠️ " + Markup.markdown($0, limit: 1000) } + [""]
    }
    lines += folded("Figures", figureRows)
    lines += folded("Drift by layer", layerRows)
    let listed = min(Self.listedTensorLimit, result.tensors.count)
    lines += folded(
      "Tensors: the worst \(listed) of \(result.tensors.count)", tensorRows,
      note: [Self.tensorOrder, result.uncomparedRemark.map { Markup.markdown($0) }]
        .compactMap { $0 }.joined(separator: "; "))
    lines += folded("Tensors by role", groupRows)
    lines += folded("Run", settingRows)
    return lines.joined(separator: "\n")
  }

  /// Gates when there are any, else the figures: what a reader wants without unfolding.
  private var mainTable: [String] {
    guard !result.gates.isEmpty else {
      return figureRows.isEmpty ? [] : table(figureRows) + [""]
    }
    let rows = result.gates.map {
      [
        $0.passed ? "✅ kept" : "❌ **failed**", Markup.markdown($0.title), $0.valueText,
        $0.boundText, "\($0.relation) \($0.limitText)",
      ]
    }
    return table(Rows(["", "gate", "value", "95 % bound", "limit"], "llrrr", rows)) + [""]
  }

  private var figureRows: Rows {
    Rows(
      ["figure", "value", ""], "lrl",
      result.figures.map { [Markup.markdown($0.label), $0.value, Markup.markdown($0.note)] })
  }

  private var layerRows: Rows {
    Rows(
      ["layer", "relative error", "cosine", ""], "rrrl",
      result.layers.map {
        [
          $0.name, significant($0.relativeRMSError, 3), $0.cosineText,
          $0.isWhereDriftBegins ? "the drift begins here" : "",
        ]
      })
  }

  private var tensorRows: Rows {
    Rows(
      ["worst tensors", "type", "error", "allowed", "of allowed", "finding"], "llrrrl",
      result.tensors.worstFirst.prefix(Self.listedTensorLimit).map {
        [
          Markup.code($0.displayName), $0.type.name, significant($0.relativeRMSError, 3),
          $0.allowedError.map { significant($0, 3) } ?? "", $0.partOfAllowedText,
          $0.finding.map { "❌ " + Markup.markdown($0) } ?? "",
        ]
      })
  }

  private var groupRows: Rows {
    Rows(
      ["role", "tensors", "types", "bits per weight", "largest error", "findings"], "lrlrrr",
      TensorGroup.list(result.tensors).prefix(60).map {
        [
          Markup.code($0.role), "\($0.tensors.count)", $0.types.joined(separator: ", "),
          fixed($0.bitsPerWeight, 2), significant($0.largestError, 3), "\($0.findings.count)",
        ]
      })
  }

  private var settingRows: Rows {
    Rows(
      ["", "", ""], "lll",
      (result.settings + [ReportFigure(label: "ingot", value: ingotVersion)]).map {
        [$0.label, Markup.code($0.value), Markup.markdown($0.note)]
      })
  }

  private struct Rows {
    var header: [String]
    /// `l` or `r` for each column.
    var alignment: String
    var rows: [[String]]

    init(_ header: [String], _ alignment: String, _ rows: [[String]]) {
      self.header = header
      self.alignment = alignment
      self.rows = rows
    }

    var isEmpty: Bool { rows.isEmpty }
  }

  private func table(_ rows: Rows) -> [String] {
    let line = rows.alignment.map { $0 == "r" ? "---:" : "---" }
    return ([rows.header, line] + rows.rows).map { "| " + $0.joined(separator: " | ") + " |" }
  }

  private func folded(_ title: String, _ rows: Rows, note: String? = nil) -> [String] {
    guard !rows.isEmpty else { return [] }
    return ["<details><summary>\(title)</summary>", ""] + (note.map { [$0, ""] } ?? [])
      + table(rows) + ["", "</details>", ""]
  }
}
