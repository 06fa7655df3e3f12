import ByteIO
import Tensors

/// What was read of a record in strips of columns, and the checksum's share of it.
///
/// A checksum is a remainder, and remainders add: the record's is the sum of those of its strips, each
/// with zeros everywhere else. So strips may come in any order, and nothing is kept of their bytes.
struct RecordStrips: Sendable {
  private struct Strip: Sendable {
    var rows: Range<Int>
    var columns: Range<Int>
  }

  /// More strips than this are not counted; a reader that goes down its columns makes few.
  private static let stripLimit = 1024

  /// Bytes of a row.
  private let stride: Int
  /// Without overlap.
  private var strips: [Strip] = []
  private var sum: UInt32 = 0
  private var byteCount: UInt64 = 0

  init(stride: Int) { self.stride = stride }

  /// Notes a strip; `false` when some of it was there before or when it does not fit the rows.
  mutating func insert(_ runs: ByteRuns) -> Bool {
    guard runs.stride == stride, stride > 0, strips.count < Self.stripLimit else { return false }
    let (row, column) = runs.start.quotientAndRemainder(dividingBy: stride)
    guard runs.byteCount <= stride - column else { return false }
    var new = Strip(rows: row..<row + runs.count, columns: column..<column + runs.byteCount)
    guard
      !strips.contains(where: { $0.rows.overlaps(new.rows) && $0.columns.overlaps(new.columns) })
    else { return false }
    // Made longer by those that end where it begins, and begin where it ends.
    strips.removeAll { strip in
      guard strip.columns == new.columns else { return false }
      if strip.rows.upperBound == new.rows.lowerBound {
        new.rows = strip.rows.lowerBound..<new.rows.upperBound
      } else if strip.rows.lowerBound == new.rows.upperBound {
        new.rows = new.rows.lowerBound..<strip.rows.upperBound
      } else {
        return false
      }
      return true
    }
    strips.append(new)
    return true
  }

  /// The remainder of a record that has zeros beside these bytes.
  static func share(of runs: ByteRuns, _ bytes: UnsafeRawBufferPointer, byteCount: UInt64)
    -> UInt32
  {
    let end = UInt64(runs.start(of: runs.count - 1) + runs.byteCount)
    let remainder = CRC32.remainder(
      ofRuns: bytes, byteCount: runs.byteCount, stride: UInt64(runs.stride))
    return CRC32.remainder(remainder, zeroByteCount: byteCount - end)
  }

  mutating func add(_ share: UInt32, byteCount: Int) {
    sum ^= share
    self.byteCount += UInt64(byteCount)
  }

  /// The checksum of the record, if all of it was read.
  func crc32(byteCount: UInt64) -> UInt32? {
    self.byteCount == byteCount ? CRC32.value(ofRemainder: sum, byteCount: byteCount) : nil
  }
}
