#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif
import ByteIO
import Planning
import Tensors

/// What is known about the tensors of a model before types are chosen for them.
package struct FitMeasurements: Sendable {
  /// By the tensor's name in an archive with stacked experts.
  package var errors: [ExactString: TypeErrors] = [:]
  /// Mean KL divergence in nats when only that tensor is in that type; empty without a text.
  package var divergences: [ExactString: [TensorType: Double]] = [:]

  package init() {}

  /// Adds what was measured of a tensor, or of one expert in the order of the experts.
  package mutating func add(_ measured: TypeErrors, to place: (stack: ExactString, expert: Int)) {
    guard place.expert > 0, var known = errors[place.stack] else {
      errors[place.stack] = measured
      return
    }
    known.signals += measured.signals
    for (type, values) in measured.errors { known.errors[type, default: []] += values }
    errors[place.stack] = known
  }

  /// More than any choice could be worth, and finite.
  private static let hopelessHarm = 1e200

  /// Expected KL divergence in nats when the tensor, or one expert of it, is stored in a type.
  ///
  /// Near the model the divergence grows as the square of what moves the output, so a tensor's
  /// measured divergence over its error, at the probed type whose error is nearest, gives the
  /// divergence of its other types and of its experts.
  ///
  /// - Parameters:
  ///   - name: of the tensor, or of the stack.
  ///   - expert: of a stack; `nil` for all of it.
  ///   - type: one whose error was measured.
  ///   - prior: what the error costs where no text was read.
  /// - Returns: `nil` where the error was not measured.
  package func harm(
    _ name: ExactString, expert: Int?, type: TensorType, prior: HarmPrior
  ) -> Double? {
    guard let errors = errors[name], let all = errors.error(type), let each = errors.errors[type]
    else { return nil }
    let error = expert.map { each[$0] } ?? all
    if let probes = divergences[name], !probes.isEmpty {
      let nearest = probes.compactMap { probe, divergence -> (distance: Double, scale: Double)? in
        guard let probed = errors.error(probe), probed > 0 else { return nil }
        // An error of 0 is far from every other one.
        let distance = all > 0 ? abs(log(all) - log(probed)) : .infinity
        return (distance, divergence / probed)
      }.min { ($0.distance, $0.scale) < ($1.distance, $1.scale) }
      if let nearest { return min(error * nearest.scale, Self.hopelessHarm) }
    }
    return errors.signal > 0 ? error / errors.signal * prior.weight(of: name) : 0
  }

  /// The same for a tensor of a plan, which may be one expert of a stack.
  package func harm(of tensor: ConversionPlan.Tensor, in type: TensorType, prior: HarmPrior)
    -> Double?
  {
    let stack = SplitExperts.stack(of: tensor.name)
    return harm(stack?.name ?? tensor.name, expert: stack?.expert, type: type, prior: prior)
  }
}
