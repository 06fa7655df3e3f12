import ByteIO

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

extension VerificationReport {
  /// Bars of the hidden states' relative error, one for each layer.
  var layerChart: String? {
    let layers = result.layers
    guard !layers.isEmpty else { return nil }
    let largest = layers.map(\.relativeRMSError).filter(\.isFinite).max() ?? 0
    let top = roundedUp(largest)
    var chart = HTMLChart()
    chart.rules([0, 0.5, 1].map { ($0, $0 == 0 ? "0" : significant(top * $0, 2)) })
    let step = (HTMLChart.plot.right - HTMLChart.plot.left) / Double(layers.count)
    let labelStep = max(1, (layers.count + 13) / 14)
    for (index, layer) in layers.enumerated() {
      let x = HTMLChart.plot.left + step * Double(index)
      let isFinite = layer.relativeRMSError.isFinite
      chart.bar(
        x + step * 0.12, step * 0.76,
        fraction: isFinite ? layer.relativeRMSError / top : 1,
        style: isFinite ? layer.isWhereDriftBegins ? "bar begins" : "bar" : "broken",
        title: "\(layer.place): relative error \(significant(layer.relativeRMSError, 3)),"
          + " cosine \(layer.cosineText)")
      let center = x + step / 2
      if layer.isWhereDriftBegins {
        let anchor =
          index < layers.count / 4 ? "start" : index > layers.count * 3 / 4 ? "end" : "middle"
        chart.line(
          center, 20, center, HTMLChart.y(isFinite ? layer.relativeRMSError / top : 1),
          style: "marker")
        chart.text("begins at \(layer.place)", center, 14, anchor: anchor, style: "label")
      }
      if layer.layer < 0 {
        chart.text("emb", center, 234)
      } else if layer.layer % labelStep == 0, layers.count < 20 || layer.layer > 0 {
        chart.text(layer.name, center, 234)
      }
    }
    chart.text("layer", (HTMLChart.plot.left + HTMLChart.plot.right) / 2, 254)
    let begins = layers.first(where: \.isWhereDriftBegins).map {
      ", the drift begins at \($0.place)"
    }
    return chart.svg(
      label:
        "Bar chart of the relative error of hidden states after each of \(layers.count) layers:"
        + " largest \(significant(largest, 3))\(begins ?? "")")
  }

  /// Bars of how many positions have which divergence, on a logarithmic axis.
  var histogramChart: String? {
    guard let comparison = result.distribution?.comparison else { return nil }
    let bins = comparison.histogram
    guard let first = bins.firstIndex(where: { $0.count > 0 }),
      let last = bins.lastIndex(where: { $0.count > 0 }),
      let most = bins.map(\.count).max()
    else { return nil }
    let shown = Array(bins[first...last])
    let total = bins.reduce(0.0) { $0 + Double($1.count) }
    let top = roundedUp(Double(most) / total * 100)
    var chart = HTMLChart()
    chart.rules([0, 0.5, 1].map { ($0, typed(top * $0) + " %") })
    let step = (HTMLChart.plot.right - HTMLChart.plot.left) / Double(shown.count)
    for (index, bin) in shown.enumerated() {
      let share = Double(bin.count) / total * 100
      chart.bar(
        HTMLChart.plot.left + step * (Double(index) + 0.06), step * 0.88, fraction: share / top,
        title: "\(significant(bin.lowerBound, 2)) to \(significant(bin.upperBound, 2)):"
          + " \(counted(bin.count, "position")), \(significant(share, 2)) %")
    }
    let place = { (value: Double) in Self.fraction(of: value, in: shown) }
    for exponent in -16...3 {
      if let x = place(pow(10, Double(exponent))) {
        chart.line(HTMLChart.x(x), HTMLChart.plot.bottom, HTMLChart.x(x), HTMLChart.plot.bottom + 4)
        chart.text(powerOfTen(exponent), HTMLChart.x(x), 234)
      }
    }
    chart.text("KL divergence in nats", (HTMLChart.plot.left + HTMLChart.plot.right) / 2, 254)
    drawMarkers(
      [
        (comparison.quantile(0.5)?.value, "median"), (comparison.meanDivergence.value, "mean"),
        (comparison.quantile(0.99)?.value, "99 %"),
      ].compactMap { value, name in
        guard let value, let x = place(value) else { return nil }
        return (x, "\(name) \(significant(value, 2))")
      }, in: &chart)
    return chart.svg(
      label: "Histogram of the KL divergence of \(counted(Int(total), "position")): mean"
        + " \(significant(comparison.meanDivergence.value, 3)), 99th percentile"
        + " \(significant(comparison.quantile(0.99)?.value ?? .nan, 3))")
  }

  /// Draws labelled lines, each label in a row of its own on the side where no other line is.
  private func drawMarkers(_ markers: [(x: Double, label: String)], in chart: inout HTMLChart) {
    let isToTheLeft = (markers.map(\.x).min() ?? 0) > 0.35
    let sorted = markers.sorted { isToTheLeft ? $0.x > $1.x : $0.x < $1.x }
    for (row, marker) in sorted.enumerated() {
      let (x, y) = (HTMLChart.x(marker.x), 4 + 14 * Double(row))
      chart.line(x, y - 4, x, HTMLChart.plot.bottom, style: "marker")
      chart.text(
        marker.label, x + (isToTheLeft ? -5 : 5), y + 5, anchor: isToTheLeft ? "end" : "start",
        style: "label")
    }
  }

  /// Where a divergence lies on the axis of the bins, 0 to 1.
  private static func fraction(of value: Double, in bins: [DistributionDrift.HistogramBin])
    -> Double?
  {
    let edge = 1 + 1e-9
    guard value > 0,
      let index = bins.firstIndex(where: {
        value * edge >= $0.lowerBound && value * edge < $0.upperBound
      })
    else { return nil }
    let bin = bins[index]
    var part = 0.5
    if bin.lowerBound > 0, bin.upperBound.isFinite {
      part = min(1, max(0, log(value / bin.lowerBound) / log(bin.upperBound / bin.lowerBound)))
    }
    return (Double(index) + part) / Double(bins.count)
  }
}
