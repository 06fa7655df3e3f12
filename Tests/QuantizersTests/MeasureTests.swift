import Quantizers
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Numbers from a fixed sequence, in [−1, 1).
private struct Sequence32 {
  var state: UInt64
  mutating func next() -> Float {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Float(Int32(truncatingIfNeeded: state >> 32)) / Float(1 << 31)
  }
  mutating func below(_ limit: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 33) % limit
  }
}

/// What the sums say, computed in double precision over the whole vocabulary.
private func divergence(_ p: [Float], _ q: [Float]) -> (p: Double, q: Double, divergence: Double) {
  func normaliser(_ logits: [Float]) -> Double {
    let largest = Double(logits.max() ?? 0)
    return largest + log(logits.reduce(0) { $0 + exp(Double($1) - largest) })
  }
  let (lp, lq) = (normaliser(p), normaliser(q))
  let sum = zip(p, q).reduce(0.0) { sum, pair in
    sum + exp(Double(pair.0) - lp) * ((Double(pair.0) - lp) - (Double(pair.1) - lq))
  }
  return (lp, lq, sum)
}

/// Sums over tiles of any size, in any order and by several workers, are those of the whole.
@Test(arguments: KernelTable.runnableHere)
func logitSumsDoNotDependOnTiles(_ kernels: KernelTable) {
  var numbers = Sequence32(state: 11)
  for (vocabulary, scale, shift) in [
    (1, 1, 0), (7, 5, 0), (129, 12, 3), (1000, 8, -40), (4099, 30, 500), (4099, 0.001, 0),
  ] as [(Int, Float, Float)] {
    let p = (0..<vocabulary).map { _ in numbers.next() * scale + shift }
    let q = p.map { $0 + numbers.next() * scale * 0.1 + 1 }
    var workers = [LogitPair](repeating: .empty, count: 3)
    var start = 0
    while start < vocabulary {
      let count = min(vocabulary - start, 1 + numbers.below(300))
      p.withUnsafeBufferPointer { p in
        q.withUnsafeBufferPointer { q in
          guard let p = p.baseAddress, let q = q.baseAddress else { return }
          kernels.addLogits(
            p + start, q + start, count: count, firstToken: start,
            to: &workers[numbers.below(3)])
        }
      }
      start += count
    }
    var pair = LogitPair.empty
    for worker in workers { pair.merge(worker) }
    let expected = divergence(p, q)
    #expect(abs(pair.p.logNormaliser - expected.p) < 1e-6 * max(1, abs(expected.p)))
    #expect(abs(pair.q.logNormaliser - expected.q) < 1e-6 * max(1, abs(expected.q)))
    // Logits of this size are themselves only known to their size × 2⁻²⁴.
    let tolerance = 1e-6 * Double(max(scale, abs(shift), 1))
    #expect(abs(pair.divergence - expected.divergence) < tolerance, "\(vocabulary) \(scale)")
    #expect(Int(pair.p.top) == p.firstIndex(of: p.max() ?? 0))
    #expect(Int(pair.q.top) == q.firstIndex(of: q.max() ?? 0))
    #expect(pair.isFinite)
  }
}

@Test(arguments: KernelTable.runnableHere)
func firstOfEqualLogitsIsTheTop(_ kernels: KernelTable) {
  var logits = [Float](repeating: 0, count: 100)
  logits[37] = 2
  logits[38] = 2
  logits[90] = 2
  var low = LogitPair.empty
  var high = LogitPair.empty
  logits.withUnsafeBufferPointer { logits in
    guard let start = logits.baseAddress else { return }
    kernels.addLogits(start, nil, count: 50, firstToken: 0, to: &low)
    kernels.addLogits(start + 50, nil, count: 50, firstToken: 50, to: &high)
  }
  high.merge(low)
  #expect(high.p.top == 37)
  #expect(high.q.top == -1 && high.isFinite)
}

@Test(arguments: KernelTable.runnableHere, [Float.nan, .infinity, -.infinity])
func logitThatIsNotFiniteIsNoticed(_ kernels: KernelTable, _ bad: Float) {
  for place in [0, 15, 16, 62] {
    for isCandidate in [false, true] {
      let good = [Float](repeating: 1, count: 63)
      var damaged = good
      damaged[place] = bad
      var pair = LogitPair.empty
      kernels.addLogits(
        isCandidate ? good : damaged, isCandidate ? damaged : good, count: 63, firstToken: 0,
        to: &pair)
      kernels.addLogits(good, good, count: 63, firstToken: 63, to: &pair)
      #expect(!pair.isFinite, "\(place) \(isCandidate)")
    }
  }
}

/// A worker whose tiles hold nothing but such numbers has no top, and may come first or last.
@Test(arguments: KernelTable.runnableHere, [Float.nan, -.infinity])
func wholeTileThatIsNotFiniteIsNoticed(_ kernels: KernelTable, _ bad: Float) {
  let good = [Float](repeating: 1, count: 64)
  let damaged = [Float](repeating: bad, count: 64)
  for hasCandidate in [false, true] {
    var (whole, broken) = (LogitPair.empty, LogitPair.empty)
    kernels.addLogits(good, hasCandidate ? good : nil, count: 64, firstToken: 0, to: &whole)
    kernels.addLogits(damaged, hasCandidate ? good : nil, count: 64, firstToken: 64, to: &broken)
    var first = whole
    first.merge(broken)
    broken.merge(whole)
    #expect(!first.isFinite && !broken.isFinite)
  }
}

/// Minus infinity has no probability, but it is no logit of a healthy model.
@Test(arguments: KernelTable.runnableHere, [Float.nan, .infinity, -.infinity])
func loneLogitThatIsNotFiniteIsNoticed(_ kernels: KernelTable, _ bad: Float) {
  for place in [0, 15, 16, 62] {
    var logits = [Float](repeating: 1, count: 63)
    logits[place] = bad
    var pair = LogitPair.empty
    kernels.addLogits(logits, nil, count: 63, firstToken: 0, to: &pair)
    #expect(!pair.isFinite, "\(place)")
  }
}

@Test(arguments: KernelTable.runnableHere)
func comparesVectorsOfAnyLength(_ kernels: KernelTable) {
  var numbers = Sequence32(state: 3)
  for count in [0, 1, 3, 16, 31, 256, 4096, 4097, 10_001] {
    let a = (0..<count).map { _ in numbers.next() }
    let b = a.map { $0 + numbers.next() * 0.01 }
    var pair = VectorPair()
    kernels.compare(a, b, count: count, into: &pair)
    var expected = VectorPair()
    for (x, y) in zip(a, b) {
      let (x, y) = (Double(x), Double(y))
      expected.aa += x * x
      expected.ab += x * y
      expected.bb += y * y
      expected.dd += (x - y) * (x - y)
      expected.largest_dd = max(expected.largest_dd, (x - y) * (x - y))
    }
    #expect(abs(pair.relativeError - expected.relativeError) < 1e-5)
    #expect(abs(pair.cosine - expected.cosine) < 1e-6)
    #expect(abs(pair.largest_dd - expected.largest_dd) <= 1e-5 * expected.largest_dd)
  }
  var pair = VectorPair()
  kernels.compare([.nan, 0], [1, 0], count: 2, into: &pair)
  #expect(pair.relativeError.isNaN)
}
