/// Lays tensors that live for a while into one buffer, and remembers how long it became.
///
/// Every tensor takes the smallest gap that it fits; without one it goes behind everything else,
/// where the buffer may grow. Neighbouring gaps are joined.
///
///     ┌────────┬┄┄┄┄┄┐────────┬┄┄┄┄┄┄┄┄┄┄┄┄┄┄
///     │ in use │ gap │ in use │ the open end →
///     └────────┴┄┄┄┄┄┘────────┴┄┄┄┄┄┄┄┄┄┄┄┄┄┄
struct BufferAllocator {
  /// Offsets are multiples of this.
  let alignment: Int
  /// Furthest end of any tensor so far.
  private(set) var byteCount = 0
  /// In order of offsets; the last one is the open end.
  private var gaps = [(offset: Int, byteCount: Int)]()

  init(alignment: Int) {
    self.alignment = alignment
    gaps = [(0, Int.max / 2)]
  }

  /// - Returns: the offset of a place for `byteCount` bytes.
  mutating func allocate(_ byteCount: Int) -> Int {
    let needed = padded(byteCount, to: alignment)
    var best = gaps.count - 1
    var bestByteCount = Int.max
    for (index, gap) in gaps.dropLast().enumerated()
    where gap.byteCount >= needed && gap.byteCount <= bestByteCount {
      best = index
      bestByteCount = gap.byteCount
    }
    let offset = gaps[best].offset
    gaps[best].offset += needed
    gaps[best].byteCount -= needed
    if gaps[best].byteCount == 0 { gaps.remove(at: best) }
    self.byteCount = max(self.byteCount, offset + needed)
    return offset
  }

  /// Gives a place back.
  mutating func free(_ offset: Int, byteCount: Int) {
    let freed = padded(byteCount, to: alignment)
    guard freed > 0 else { return }
    var index = gaps.firstIndex { $0.offset > offset } ?? gaps.count
    gaps.insert((offset, freed), at: index)
    if index + 1 < gaps.count, offset + freed == gaps[index + 1].offset {
      gaps[index].byteCount += gaps[index + 1].byteCount
      gaps.remove(at: index + 1)
    }
    if index > 0, gaps[index - 1].offset + gaps[index - 1].byteCount == offset {
      index -= 1
      gaps[index].byteCount += gaps[index + 1].byteCount
      gaps.remove(at: index + 1)
    }
  }
}
