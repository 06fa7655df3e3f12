import ByteIO

/// Decoded slabs of transposed weights, as many as a byte limit allows.
///
/// Callers ask for a few rows, a slab has more: the neighbours' turn comes soon, usually on another
/// thread. A slab that two threads want is decoded by one of them while the other waits.
final class SlabCache: Sendable {
  struct Key: Hashable, Sendable {
    /// Position of the tensor in the source.
    var tensor: Int
    var rowBlock: Int
    var columnBlock: Int
  }

  /// One slab, decoded on first use.
  final class Slab: Sendable {
    let bytes = Guarded<[UInt8]>([])
  }

  private struct State: Sendable {
    var slabs: [Key: (slab: Slab, byteCount: Int, lastUse: UInt64)] = [:]
    var byteCount = 0
    var clock: UInt64 = 0
  }

  private let limit: Int
  private let state = Guarded(State())

  init(byteLimit: Int) { limit = byteLimit }

  /// The slab of a key, empty when nobody decoded it yet; the least used ones make room.
  func slab(_ key: Key, byteCount: Int) -> Slab {
    state.withLock { state in
      state.clock += 1
      if let found = state.slabs[key] {
        state.slabs[key]?.lastUse = state.clock
        return found.slab
      }
      while state.byteCount + byteCount > limit,
        let oldest = state.slabs.min(by: { $0.value.lastUse < $1.value.lastUse })
      {
        state.slabs[oldest.key] = nil
        state.byteCount -= oldest.value.byteCount
      }
      let slab = Slab()
      state.slabs[key] = (slab, byteCount, state.clock)
      state.byteCount += byteCount
      return slab
    }
  }
}
