/// The arithmetic between matrix products, in single precision.
enum VectorMath {
  typealias Lanes = SIMD8<Float>
  static let laneCount = Lanes.scalarCount

  @inline(__always) private static func load(_ pointer: UnsafePointer<Float>) -> Lanes {
    UnsafeRawPointer(pointer).loadUnaligned(as: Lanes.self)
  }

  @inline(__always) private static func store(_ v: Lanes, _ pointer: UnsafeMutablePointer<Float>) {
    UnsafeMutableRawPointer(pointer).storeBytes(of: v, as: Lanes.self)
  }

  /// Calls `body` for whole vectors of `0..<count`, then for what is left, padded with `filler`.
  @inline(__always) private static func map(
    _ values: UnsafeMutablePointer<Float>, count: Int, filler: Float, _ body: (Lanes) -> Lanes
  ) {
    var first = 0
    while first + laneCount <= count {
      store(body(load(values + first)), values + first)
      first += laneCount
    }
    if first == count { return }
    var rest = Lanes(repeating: filler)
    for lane in 0..<count - first { rest[lane] = values[first + lane] }
    rest = body(rest)
    for lane in 0..<count - first { values[first + lane] = rest[lane] }
  }

  /// e to the power x, within 2 units in the last place; NaN stays NaN.
  ///
  /// x is held within ±87, where neither the result nor its reciprocal over- or underflows.
  /// x = n ln 2 + r with |r| ≤ ln 2 / 2, and e^r by its series up to the seventh power.
  @inline(__always) static func exponential(_ x: Lanes) -> Lanes {
    let low = Lanes(repeating: -87)
    let high = Lanes(repeating: 87)
    var x = x.replacing(with: low, where: x .< low)
    x = x.replacing(with: high, where: x .> high)
    // 1.5 · 2^23: its sum with a small number holds that number, rounded, in the low bits.
    let rounder = Lanes(repeating: 12_582_912)
    let shifted = x * 1.442_695_04 + rounder
    let n = shifted - rounder
    // ln 2 in two parts, the first with few enough bits that n times it is exact.
    let r = (x - n * 0.693_359_375) - n * -2.121_944_4e-4
    var sum = Lanes(repeating: 1.0 / 5040)
    sum = sum * r + 1.0 / 720
    sum = sum * r + 1.0 / 120
    sum = sum * r + 1.0 / 24
    sum = sum * r + 1.0 / 6
    sum = sum * r + 0.5
    let power = (sum * r * r + r) + 1
    let exponent = unsafeBitCast(shifted, to: SIMD8<UInt32>.self) &<< 23
    let scale = exponent &+ SIMD8<UInt32>(repeating: 127 << 23)
    return power * unsafeBitCast(scale, to: Lanes.self)
  }

  /// Turns scores into probabilities in place: e^(x − max) over its sum.
  static func softmax(_ scores: UnsafeMutablePointer<Float>, count: Int) {
    var top = scores[0]
    var first = 0
    if count >= laneCount {
      var tops = load(scores)
      while first + laneCount <= count {
        let v = load(scores + first)
        tops.replace(with: v, where: v .> tops)
        first += laneCount
      }
      for lane in 0..<laneCount where tops[lane] > top { top = tops[lane] }
    }
    for index in first..<count where scores[index] > top { top = scores[index] }
    let shift = Lanes(repeating: top)
    map(scores, count: count, filler: top) { exponential($0 - shift) }
    let factor = 1 / sum(scores, count: count)
    map(scores, count: count, filler: 0) { $0 * factor }
  }

  /// In lanes, whose partial sums are added in double precision.
  private static func sum(_ values: UnsafePointer<Float>, count: Int) -> Float {
    var sums = Lanes.zero
    var first = 0
    while first + laneCount <= count {
      sums += load(values + first)
      first += laneCount
    }
    var total = 0.0
    for lane in 0..<laneCount { total += Double(sums[lane]) }
    for index in first..<count { total += Double(values[index]) }
    return Float(total)
  }

  /// `output = input / √(mean(input²) + epsilon) · weights`; in place is allowed.
  static func rmsNorm(
    _ input: UnsafePointer<Float>, weights: UnsafePointer<Float>, epsilon: Float, count: Int,
    into output: UnsafeMutablePointer<Float>
  ) {
    let factor = rmsFactor(input, epsilon: epsilon, count: count)
    for index in 0..<count { output[index] = weights[index] * (input[index] * factor) }
  }

  /// `values = values / √(mean(values²) + epsilon)`.
  static func rmsNormalize(_ values: UnsafeMutablePointer<Float>, epsilon: Float, count: Int) {
    scale(values, by: rmsFactor(values, epsilon: epsilon, count: count), count: count, into: values)
  }

  private static func rmsFactor(
    _ input: UnsafePointer<Float>, epsilon: Float, count: Int
  ) -> Float {
    // Blocks of 256 in lanes, their sums in double precision: the error does not grow with the row.
    var total = 0.0
    var first = 0
    while first + laneCount <= count {
      let end = min(first + 256, count)
      var sums = Lanes.zero
      while first + laneCount <= end {
        let v = load(input + first)
        sums += v * v
        first += laneCount
      }
      for lane in 0..<laneCount { total += Double(sums[lane]) }
    }
    for index in first..<count { total += Double(input[index] * input[index]) }
    let mean = Float(total / Double(count))
    return 1 / (mean + epsilon).squareRoot()
  }

  /// `output = input · factor`; in place is allowed.
  static func scale(
    _ input: UnsafePointer<Float>, by factor: Float, count: Int,
    into output: UnsafeMutablePointer<Float>
  ) {
    for index in 0..<count { output[index] = input[index] * factor }
  }

  /// `output += input · factor`.
  static func add(
    _ input: UnsafePointer<Float>, times factor: Float, count: Int,
    to output: UnsafeMutablePointer<Float>
  ) {
    for index in 0..<count { output[index] += input[index] * factor }
  }

  /// `1 / (1 + e^(−x))`.
  static func sigmoid(_ x: Float) -> Float { (1 / (exponential(Lanes(repeating: -x)) + 1))[0] }

  /// `gates = gates / (1 + e^(−gates)) · ups`.
  static func gate(
    _ gates: UnsafeMutablePointer<Float>, with ups: UnsafePointer<Float>, count: Int
  ) {
    var first = 0
    while first + laneCount <= count {
      let x = load(gates + first)
      store(x / (exponential(-x) + 1) * load(ups + first), gates + first)
      first += laneCount
    }
    for index in first..<count {
      let x = Lanes(repeating: gates[index])
      gates[index] = (x / (exponential(-x) + 1))[0] * ups[index]
    }
  }

  /// Adds a row to every row of a matrix.
  static func add(_ row: UnsafePointer<Float>, toRowsOf matrix: MatrixView) {
    for index in 0..<matrix.rowCount {
      let target = matrix.row(index)
      for column in 0..<matrix.columnCount { target[column] += row[column] }
    }
  }
}
