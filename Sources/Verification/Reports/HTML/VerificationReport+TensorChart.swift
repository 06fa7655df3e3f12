import ByteIO
import Tensors

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

extension VerificationReport {
  /// More than these are drawn as one dot for those that lie close together.
  private static let dotLimit = 300

  /// One dot per tensor: error against bits per weight, both logarithmic; tensors with a finding
  /// are crosses, and dashes show what the type explains.
  var tensorChart: String? {
    let inexact = result.tensors.filter { $0.relativeRMSError != 0 && $0.bitsPerWeight > 0 }
    guard !inexact.isEmpty else { return nil }
    let axes = TensorAxes(inexact)
    var chart = HTMLChart()
    chart.rules(axes.errorTicks)
    // Labels of types whose places are close go to lines of their own.
    var labelEnds = [-Double.infinity, -.infinity, -.infinity]
    for type in axes.types {
      let x = axes.x(bitsPerWeight: type.bitsPerWeight)
      let width = Double(type.name.count) * 7 + 6
      let line = labelEnds.firstIndex { x - width / 2 >= $0 } ?? 2
      labelEnds[line] = x + width / 2
      chart.text(type.name, x, 234 + 12 * Double(line), style: "label")
      if let allowed = type.allowed {
        let y = axes.y(error: allowed)
        chart.line(x - 18, y, x + 18, y, style: "explained")
      }
    }
    for group in axes.dots(inexact, limit: Self.dotLimit) {
      let tensor = group.tensor
      let x = axes.x(bitsPerWeight: tensor.bitsPerWeight) + axes.spread(tensor)
      chart.dot(
        x, axes.y(error: tensor.relativeRMSError),
        radius: min(9, 2.6 + 0.6 * Double(group.count).squareRoot()),
        title: group.count == 1
          ? title(tensor)
          : "\(counted(group.count, "tensor")), \(tensor.type.name), error about"
            + " \(significant(tensor.relativeRMSError, 2))")
    }
    for tensor in result.findings.prefix(Self.dotLimit) where tensor.bitsPerWeight > 0 {
      chart.cross(
        axes.x(bitsPerWeight: tensor.bitsPerWeight) + axes.spread(tensor),
        axes.y(error: tensor.relativeRMSError),
        title: title(tensor) + ": " + (tensor.finding ?? ""))
    }
    return chart.svg(
      label: "Scatter chart of \(inexact.count) tensors: relative error against bits per weight;"
        + " \(result.findings.count) are worse than their types explain")
  }

  private func title(_ tensor: TensorError) -> String {
    "\(tensor.displayName): \(tensor.type.name), \(fixed(tensor.bitsPerWeight, 2)) bits per weight,"
      + " error \(significant(tensor.relativeRMSError, 3))"
  }
}

/// The scales of the chart of tensors.
private struct TensorAxes {
  struct TypePlace {
    var name: String
    var bitsPerWeight: Double
    /// The largest error that the type explains among its tensors.
    var allowed: Double?
  }
  /// Decimal logarithms.
  private var errors: ClosedRange<Double>
  var types: [TypePlace]
  private var bits: ClosedRange<Double>
  /// For each type the roles that have it, numbered.
  private var roles: [TensorType: [String: Int]] = [:]

  init(_ tensors: [TensorError]) {
    let errors = (tensors.map(\.relativeRMSError) + tensors.compactMap(\.allowedError))
      .filter { $0.isFinite && $0 > 0 }
    // Smaller errors than 10⁻⁹ of a tensor are rounding of the comparison itself.
    let low = log10(max(1e-9, errors.min() ?? 0.01))
    let high = log10(min(1e6, max(1e-9, errors.max() ?? 1)))
    self.errors = low - 0.15...max(low, high) + 0.15
    types = Dictionary(grouping: tensors, by: \.type).map { type, tensors in
      TypePlace(
        name: type.name,
        bitsPerWeight: tensors.reduce(0) { $0 + $1.bitsPerWeight } / Double(tensors.count),
        allowed: tensors.compactMap(\.allowedError).filter { $0.isFinite && $0 > 0 }.max())
    }
    .sorted { ($0.bitsPerWeight, $0.name) < ($1.bitsPerWeight, $1.name) }
    let all = types.map { log2($0.bitsPerWeight) }
    for tensor in tensors {
      let role = TensorGroup.role(of: tensor.name)
      let count = roles[tensor.type]?.count ?? 0
      if roles[tensor.type]?[role] == nil { roles[tensor.type, default: [:]][role] = count }
    }
    // A margin of a third of a doubling on each side.
    bits = (all.min() ?? 0) - 0.33...(all.max() ?? 0) + 0.33
  }

  /// Moves roles of one type apart, by less than types are.
  func spread(_ tensor: TensorError) -> Double {
    guard let roles = roles[tensor.type], let index = roles[TensorGroup.role(of: tensor.name)]
    else { return 0 }
    return (Double(index) + 0.5) / Double(roles.count) * 32 - 16
  }

  func x(bitsPerWeight: Double) -> Double {
    HTMLChart.x((log2(bitsPerWeight) - bits.lowerBound) / (bits.upperBound - bits.lowerBound))
  }

  /// Lines at powers of ten, between them too where there is room.
  var errorTicks: [(fraction: Double, label: String)] {
    let span = errors.upperBound - errors.lowerBound
    let steps: [Double] = span < 1.7 ? [1, 2, 5] : span < 3 ? [1, 3] : [1]
    let powers = Int(errors.lowerBound.rounded(.down))...Int(errors.upperBound.rounded(.up))
    return powers.flatMap { power in
      steps.compactMap { step in
        let value = log10(step) + Double(power)
        guard errors.contains(value), span < 7 || power % 2 == 0 else { return nil }
        let label =
          power < -3 && step == 1
          ? powerOfTen(power) : significant(step * pow(10, Double(power)), 1)
        return ((value - errors.lowerBound) / span, label)
      }
    }
  }

  /// What is no number is drawn at the upper edge.
  func y(error: Double) -> Double {
    guard error.isFinite else { return HTMLChart.y(1) }
    guard error > 0 else { return HTMLChart.y(0) }
    return HTMLChart.y(
      (log10(error) - errors.lowerBound) / (errors.upperBound - errors.lowerBound))
  }

  /// Tensors that are drawn as one dot, and one that stands for them.
  func dots(_ tensors: [TensorError], limit: Int) -> [(tensor: TensorError, count: Int)] {
    let plain = tensors.filter { $0.finding == nil }
    if plain.count <= limit { return plain.map { ($0, 1) } }
    struct Place: Hashable {
      var type: UInt8
      var column: Int
      var line: Int
    }
    var order: [Place] = []
    var groups: [Place: (tensor: TensorError, count: Int)] = [:]
    for tensor in plain {
      let place = Place(
        type: tensor.type.rawValue, column: Int(spread(tensor)),
        line: Int(y(error: tensor.relativeRMSError) / 3))
      if groups[place] == nil { order.append(place) }
      groups[place, default: (tensor, 0)].count += 1
    }
    return order.compactMap { groups[$0] }
  }
}
