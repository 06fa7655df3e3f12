import ByteIO
import Synchronization

/// Has finished parts of one output written to disk while the rest is still being made.
///
/// Without it the last sync would wait for everything; with it after every chunk, the disk would
/// get thousands of small writes. Chunks end nearly in the order of the file, so what lies some
/// distance behind the latest one is complete; where it is not, it is only written twice.
final class WriteBack: Sendable {
  private static let windowByteCount: UInt64 = 32 << 20
  private static let distance: UInt64 = 8 << 20

  private let output: LockedFile
  /// Everything before this has been handed to the disk.
  private let started: Atomic<UInt64>

  /// - Parameters:
  ///   - output: what is written.
  ///   - start: where this run begins to write it.
  init(_ output: LockedFile, from start: UInt64) {
    self.output = output
    started = Atomic(start)
  }

  func finished(upTo end: UInt64) {
    let start = started.load(ordering: .relaxed)
    guard end >= start + Self.windowByteCount + Self.distance else { return }
    let (isOurs, _) = started.compareExchange(
      expected: start, desired: start + Self.windowByteCount, ordering: .relaxed)
    if isOurs { output.startWriteBack(at: start, byteCount: Self.windowByteCount) }
  }
}
