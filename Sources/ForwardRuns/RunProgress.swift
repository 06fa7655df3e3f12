/// How far a run through models is.
public struct RunProgress: Sendable {
  public enum Step: String, Sendable {
    case tensors, forward
  }
  public var step: Step
  /// Of the step, 0 to 1.
  public var fraction: Double
  /// For people: `group 1/3, layer 5/32`.
  public var detail: String
  /// Tokens of the text that have gone through all layers of all models, per second of this step so
  /// far; 0 while that is not known, and while tensors are compared.
  public var tokensPerSecond: Double

  package init(step: Step, fraction: Double, detail: String, tokensPerSecond: Double) {
    self.step = step
    self.fraction = fraction
    self.detail = detail
    self.tokensPerSecond = tokensPerSecond
  }

  /// Of a step that looks at weights alone.
  package init(tensors fraction: Double) {
    self.init(
      step: .tensors, fraction: fraction, detail: "types tried on weights", tokensPerSecond: 0)
  }
}

/// Tells how far a text is that goes through models group by group, layer by layer.
package struct ForwardMeter: Sendable {
  private let groupCount: Int
  private let layerCount: Int
  private let tokenCount: Int
  private let firstGroup: Int
  private let report: (@Sendable (RunProgress) -> Void)?
  private let start = ContinuousClock.now

  /// - Parameters:
  ///   - groupCount: of the run.
  ///   - layerCount: of the models; the output counts as one more.
  ///   - tokenCount: of all groups.
  ///   - firstGroup: that this meter sees; those before it took no time of its own.
  ///   - report: gets the progress.
  package init(
    groupCount: Int, layerCount: Int, tokenCount: Int, firstGroup: Int = 0,
    report: (@Sendable (RunProgress) -> Void)?
  ) {
    self.groupCount = groupCount
    self.layerCount = layerCount
    self.tokenCount = tokenCount
    self.firstGroup = firstGroup
    self.report = report
  }

  /// Says that a layer of a group begins, or with `layerCount` its output.
  package func begin(group: Int, layer: Int) {
    guard let report else { return }
    let done =
      (Double(group) + Double(layer) / Double(layerCount + 1)) / Double(groupCount)
    let elapsed = (ContinuousClock.now - start) / .seconds(1)
    let own = done - Double(firstGroup) / Double(groupCount)
    let place = layer < layerCount ? "layer \(layer + 1)/\(layerCount)" : "output"
    report(
      RunProgress(
        step: .forward, fraction: done,
        detail: groupCount > 1 ? "group \(group + 1)/\(groupCount), \(place)" : place,
        tokensPerSecond: own > 0 && elapsed > 0 ? Double(tokenCount) * own / elapsed : 0))
  }
}
