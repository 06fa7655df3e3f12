import CKernels

/// Inner products of two vectors and of their difference.
package typealias VectorPair = ingot_vector_pair

extension KernelTable {
  /// Adds the products of `count` entries of `a` and `b`.
  package func compare(
    _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, count: Int, into pair: inout VectorPair
  ) {
    ingot_compare(set, a, b, count, &pair)
  }
}

extension VectorPair {
  package static func += (pair: inout VectorPair, other: VectorPair) {
    pair.aa += other.aa
    pair.ab += other.ab
    pair.bb += other.bb
    pair.dd += other.dd
    // The larger, or what is no number.
    if !(other.largest_dd <= pair.largest_dd) { pair.largest_dd = other.largest_dd }
  }

  /// Norm of the difference over the norm of `b`; 0 when they are equal.
  package var relativeError: Double { dd == 0 ? 0 : (dd / bb).squareRoot() }

  /// Cosine of the angle between them; 1 for two zero vectors.
  package var cosine: Double {
    let norms = (aa * bb).squareRoot()
    return norms > 0 ? ab / norms : aa == bb ? 1 : norms.isNaN ? .nan : 0
  }
}
