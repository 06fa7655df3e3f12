import CKernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Two models' logits at one position, summed up tile by tile.
package typealias LogitPair = ingot_logit_pair
/// One model's logits at one position, summed up.
package typealias LogitSum = ingot_logit_sum

extension KernelTable {
  /// Adds the logits of a run of the vocabulary.
  ///
  /// - Parameters:
  ///   - p: one model's logits, `[count]`.
  ///   - q: the other model's, `[count]`; `nil` when there is none.
  ///   - count: entries.
  ///   - firstToken: index of the first entry in the vocabulary.
  ///   - pair: the sums; start with `LogitPair.empty`. A logit that is not finite makes a sum not
  ///     finite.
  package func addLogits(
    _ p: UnsafePointer<Float>, _ q: UnsafePointer<Float>?, count: Int, firstToken: Int,
    to pair: inout LogitPair
  ) {
    ingot_add_logits(set, p, q, count, Int32(truncatingIfNeeded: firstToken), &pair)
  }
}

extension LogitSum {
  package static var empty: LogitSum { LogitSum(maximum: -.infinity, sum: 0, top: -1) }

  /// Whether nothing was added.
  fileprivate var isEmpty: Bool { top < 0 && sum == 0 }

  /// ln Σ exp logit.
  package var logNormaliser: Double { maximum + log(sum) }

  /// Brings the sum to a new largest logit; returns the factor.
  fileprivate mutating func merge(_ other: LogitSum) -> (own: Double, other: Double) {
    let largest = Swift.max(maximum, other.maximum)
    let own = maximum == largest ? 1 : exp(maximum - largest)
    let theirs = other.maximum == largest ? 1 : exp(other.maximum - largest)
    if other.maximum > maximum || other.maximum == maximum && other.top < top { top = other.top }
    maximum = largest
    sum = sum * own + other.sum * theirs
    return (own, theirs)
  }
}

extension LogitPair {
  package static var empty: LogitPair { LogitPair(p: .empty, q: .empty, cross: 0) }

  /// Takes in the sums over another part of the vocabulary, which must not be empty.
  package mutating func merge(_ other: LogitPair) {
    // Where all logits were no numbers there is no top, but a sum that says so.
    if other.p.isEmpty { return }
    if p.isEmpty {
      self = other
      return
    }
    let factors = p.merge(other.p)
    cross = cross * factors.own + other.cross * factors.other
    if !other.q.isEmpty { _ = q.merge(other.q) }
  }

  /// KL(p ‖ q) in nats, not negative.
  package var divergence: Double {
    let value = cross / p.sum - p.logNormaliser + q.logNormaliser
    // Not `max`: that would hide what is no number.
    return value < 0 ? 0 : value
  }

  /// Whether all logits were finite, the second model's too where there is one.
  package var isFinite: Bool {
    p.sum.isFinite && p.maximum.isFinite && cross.isFinite
      && (q.isEmpty || q.sum.isFinite && q.maximum.isFinite)
  }
}
