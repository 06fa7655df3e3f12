#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Cosines and sines of every position of a chunk.
final class RotationTable: Sendable {
  /// `[contextLength, 2, pairs]`: cosines of all pairs, then sines.
  let buffer: FloatBuffer
  private let pairCount: Int
  private let layout: RotaryFrequencies.Layout

  /// The angle is rounded to single precision, as the framework of the checkpoints has it.
  init(_ rotary: RotaryFrequencies, contextLength: Int) {
    pairCount = rotary.frequencies.count
    layout = rotary.layout
    buffer = FloatBuffer(count: contextLength * 2 * pairCount)
    for position in 0..<contextLength {
      let cosines = buffer.start + position * 2 * pairCount
      for (pair, frequency) in rotary.frequencies.enumerated() {
        let angle = Double(Float(position) * frequency)
        cosines[pair] = Float(cos(angle)) * rotary.attentionFactor
        cosines[pairCount + pair] = Float(sin(angle)) * rotary.attentionFactor
      }
    }
  }

  /// Turns heads that lie one behind the other.
  func rotate(_ heads: UnsafeMutablePointer<Float>, headCount: Int, position: Int) {
    let cosines = UnsafePointer(buffer.start + position * 2 * pairCount)
    let sines = cosines + pairCount
    for head in 0..<headCount {
      let entries = heads + head * 2 * pairCount
      // Two loops, so that each is plain to the vectoriser.
      switch layout {
      case .halves:
        for pair in 0..<pairCount {
          let (x, y) = (entries[pair], entries[pairCount + pair])
          entries[pair] = x * cosines[pair] - y * sines[pair]
          entries[pairCount + pair] = y * cosines[pair] + x * sines[pair]
        }
      case .neighbours:
        for pair in 0..<pairCount {
          let (x, y) = (entries[2 * pair], entries[2 * pair + 1])
          entries[2 * pair] = x * cosines[pair] - y * sines[pair]
          entries[2 * pair + 1] = y * cosines[pair] + x * sines[pair]
        }
      }
    }
  }
}
