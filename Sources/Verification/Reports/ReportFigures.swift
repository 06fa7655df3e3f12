import ByteIO

/// One line of the table of figures that every report shows.
struct ReportFigure {
  var label: String
  var value: String
  /// What helps to read it; empty when nothing does.
  var note = ""
}

extension VerificationResult {
  enum Verdict: String {
    case passed, failed
    /// There was no candidate to judge.
    case measured
  }

  var verdict: Verdict { candidate == nil ? .measured : passed ? .passed : .failed }

  var failedGates: [GateOutcome] { gates.filter { !$0.passed } }
  var findings: [TensorError] { tensors.filter { $0.finding != nil } }

  /// What the verdict rests on, in one sentence without names from files.
  var verdictReason: String {
    if candidate == nil { return "reference only, nothing to compare" }
    var parts: [String] = []
    if gates.isEmpty {
      parts.append("no gate was set")
    } else if failedGates.isEmpty {
      parts.append("\(counted(gates.count, "gate")) kept")
    } else {
      parts.append(
        "\(failedGates.count) of \(counted(gates.count, "gate")) failed: "
          + failedGates.map(\.name).joined(separator: ", "))
    }
    let judges = gates.contains { Gate(rawValue: $0.name)?.needsText == true }
    if distribution != nil, !gates.isEmpty, !judges { parts.append("predictions were not judged") }
    if tensors.isEmpty {
      parts.append("no tensors were compared")
    } else if findings.isEmpty {
      parts.append("\(counted(tensors.count, "tensor")) as close as their types allow")
    } else {
      parts.append(
        "\(findings.count) of \(counted(tensors.count, "tensor")) worse than their types explain")
    }
    return parts.joined(separator: "; ")
  }

  /// Perplexities, divergence and the rest, most telling first.
  var figures: [ReportFigure] {
    guard let distribution else { return [] }
    let reference = ReportFigure(
      label: "Perplexity of the reference", value: distribution.referencePerplexity.text)
    guard let comparison = distribution.comparison else { return [reference] }
    let bound = comparison.isFromSavedReference ? "estimated: the reference was saved in part" : ""
    let ratio = comparison.logPerplexityRatio
    return [
      reference,
      ReportFigure(
        label: "Perplexity of the candidate", value: comparison.candidatePerplexity.text),
      ReportFigure(
        label: "Perplexity ratio",
        value: Estimate(
          value: ConfidenceBound.exponential(ratio.value),
          standardError: ConfidenceBound.exponential(ratio.value) * ratio.cautiousError
        ).text,
        note: "ln \(ratio.text)"),
      ReportFigure(
        label: "Mean KL divergence", value: comparison.meanDivergence.text,
        note: bound.isEmpty ? "nats per token" : bound),
    ]
      + comparison.divergenceQuantiles.map {
        ReportFigure(
          label: "KL divergence, \($0.title)", value: significant($0.value, 4),
          note: $0.fraction == 1 ? "" : $0.boundText)
      } + [
        ReportFigure(label: "Same first choice", value: comparison.topAgreement.percentText),
        ReportFigure(
          label: "Probability shift, RMS", value: comparison.probabilityShiftRMS.percentText,
          note: "of the right token"),
      ]
  }

  /// What was run, for the foot of a report.
  var settings: [ReportFigure] {
    var lines = [ReportFigure(label: "Reference", value: reference.path, note: reference.summary)]
    if let candidate {
      lines.append(
        ReportFigure(label: "Candidate", value: candidate.path, note: candidate.summary))
    }
    if let text = protocolSettings {
      lines.append(
        ReportFigure(
          label: "Text", value: text.textPath,
          note:
            "\(byteText(UInt64(max(0, text.textByteCount)))), \(counted(text.tokenCount, "token")),"
            + " \(counted(text.chunkCount, "chunk")) of \(text.contextLength),"
            + " \(counted(text.scoredPositionCount, "position")) scored,"
            + (text.startsWithBOS ? " each chunk begins with BOS" : " no BOS")))
    }
    lines.append(
      ReportFigure(
        label: "Run", value: "\(fixed(seconds, 1)) s",
        note: "peak memory \(byteText(peakResidentByteCount))"))
    return lines
  }

  /// Why fewer tensors are compared than the archive has; `nil` when all are.
  var uncomparedRemark: String? {
    guard let first = uncomparedTensors.first else { return nil }
    let names =
      Markup.visible(first, limit: 120)
      + (uncomparedTensors.count > 1 ? " and \(uncomparedTensors.count - 1) more" : "")
    return "\(tensors.count) of \(counted(tensors.count + uncomparedTensors.count, "tensor")) are"
      + " compared one by one; \(names) is compared as rotary frequencies"
  }

  var seconds: Double { elapsed / .seconds(1) }
}

extension VerificationResult.Side {
  /// `checkpoint, 13.5 GB, 16.00 bits per weight, BF16`.
  var summary: String {
    var parts: [String] = []
    switch kind {
    case .checkpoint: parts.append("checkpoint")
    case .archive: parts.append("archive")
    case .savedReference: parts.append("saved reference")
    }
    parts.append(byteText(byteCount))
    if weightCount > 0 { parts.append("\(fixed(bitsPerWeight, 2)) bits per weight") }
    if !type.isEmpty { parts.append(Markup.visible(type, limit: 40)) }
    return parts.joined(separator: ", ")
  }
}

extension DistributionDrift.Quantile {
  /// `median`, `99 %`, `maximum`.
  var title: String {
    switch fraction {
    case 0.5: "median"
    case 1: "maximum"
    default: "\(typed(fraction * 100)) %"
    }
  }

  var boundText: String {
    upperBound.isFinite ? "at most \(significant(upperBound, 3))" : "too few positions for a bound"
  }
}

extension Estimate {
  /// `11.902 ± 0.284`: decimals as the uncertainty needs them.
  var text: String { Self.text(value, cautiousError) }

  /// The same as a percentage.
  var percentText: String {
    let text = Self.text(value * 100, cautiousError * 100)
    return value.isFinite ? text + " %" : text
  }

  private static func text(_ value: Double, _ error: Double) -> String {
    guard value.isFinite else { return significant(value, 1) }
    guard error.isFinite, error > 0 else {
      return significant(value, 5) + (error == 0 ? "" : " ± \(significant(error, 3))")
    }
    let decimals = min(8, max(0, 2 - decimalExponent(error)))
    return "\(fixed(value, decimals)) ± \(fixed(error, decimals))"
  }
}

extension GateOutcome {
  private var gate: Gate? { Gate(rawValue: name) }

  var title: String { gate?.title ?? name }
  /// `at most` or `at least`.
  var relation: String {
    isEquality ? "equal to" : gate?.isMinimum == true ? "at least" : "at most"
  }
  var valueText: String { text(value) }
  var boundText: String { text(bound) }
  var limitText: String {
    gate == .minTop1 ? typed(limit * 100) + " %" : typed(limit)
  }

  private func text(_ number: Double) -> String {
    guard number.isFinite else { return significant(number, 1) }
    return gate == .minTop1 ? fixed(number * 100, 2) + " %" : significant(number, 4)
  }
}
