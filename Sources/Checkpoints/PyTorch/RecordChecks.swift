import ByteIO
import Tensors

/// One storage's bytes in a file.
struct StorageRecord: Sendable {
  /// As errors name it.
  var name: String
  var fileOffset: UInt64
  var byteCount: UInt64
  /// `nil` where the file has none.
  var crc32: UInt32?
}

/// Compares the checksums of the records that were read, at the cost of no second reading.
///
/// Threads read pieces of a record in any order. The checksum of each piece is taken as it goes by
/// and joined to its neighbours', so that a record which was read whole needs nothing more; what
/// is missing of a record that was read in part, or entry by entry, is read at the end.
final class RecordChecks: Sendable {
  private struct Piece: Sendable {
    var start: UInt64
    var end: UInt64
    var crc32: UInt32
  }

  let records: [StorageRecord]
  /// Pieces of each record in their order, without overlap or neighbours; `nil` if none was read.
  private let pieces: Guarded<[[Piece]?]>
  private let strips: Guarded<[Int: RecordStrips]> = Guarded([:])

  init(_ records: [StorageRecord]) {
    self.records = records
    pieces = Guarded([[Piece]?](repeating: nil, count: records.count))
  }

  /// Notes that something of a record was read.
  func touch(_ record: Int) {
    guard records[record].crc32 != nil else { return }
    pieces.withLock { pieces in if pieces[record] == nil { pieces[record] = [] } }
  }

  /// Takes in bytes that were read from `offset` in the record on.
  ///
  /// What was there before is passed over: something may be read twice, but counts once.
  func update(_ record: Int, at offset: UInt64, _ bytes: UnsafeRawBufferPointer) {
    guard records[record].crc32 != nil, !bytes.isEmpty else { return }
    let end = offset + UInt64(bytes.count)
    let gaps = pieces.withLock { pieces in
      let known = pieces[record] ?? []
      pieces[record] = known
      return Self.gaps(from: offset, to: end, in: known)
    }
    for gap in gaps {
      var crc = CRC32()
      crc.update(
        UnsafeRawBufferPointer(
          rebasing: bytes[Int(gap.lowerBound - offset)..<Int(gap.upperBound - offset)]))
      let piece = Piece(start: gap.lowerBound, end: gap.upperBound, crc32: crc.value)
      pieces.withLock { pieces in
        // Another thread may have read the same meanwhile.
        guard var list = pieces[record], let place = Self.place(of: piece, in: list) else { return }
        // Not copied: the array has one owner while it is changed.
        pieces[record] = nil
        if place > 0, list[place - 1].end == piece.start {
          // Made longer in its place: nothing behind it has to move.
          Self.extend(&list[place - 1], by: piece)
          Self.join(&list, place - 1)
        } else {
          list.insert(piece, at: place)
          Self.join(&list, place)
        }
        pieces[record] = list
      }
    }
  }

  /// Takes in runs of bytes; `runs` is counted from the record's start.
  func update(_ record: Int, runs: ByteRuns, _ bytes: UnsafeRawBufferPointer) {
    guard records[record].crc32 != nil, !bytes.isEmpty else { return }
    guard runs.count > 1 else {
      update(record, at: UInt64(runs.start), bytes)
      return
    }
    touch(record)
    let byteCount = records[record].byteCount
    let isNew = strips.withLock { strips in
      strips[record, default: RecordStrips(stride: runs.stride)].insert(runs)
    }
    // What cannot be counted is read in the end.
    guard isNew else { return }
    let share = RecordStrips.share(of: runs, bytes, byteCount: byteCount)
    strips.withLock { $0[record]?.add(share, byteCount: bytes.count) }
  }

  /// What of a range no piece has, in order.
  private static func gaps(from start: UInt64, to end: UInt64, in list: [Piece])
    -> [Range<UInt64>]
  {
    var gaps: [Range<UInt64>] = []
    var covered = start
    var index = firstIndex(in: list, from: start)
    if index > 0 { covered = max(covered, list[index - 1].end) }
    while covered < end, index < list.count, list[index].start < end {
      if covered < list[index].start { gaps.append(covered..<list[index].start) }
      covered = list[index].end
      index += 1
    }
    if covered < end { gaps.append(covered..<end) }
    return gaps
  }

  /// Where a piece belongs; `nil` when something of it is there already.
  private static func place(of piece: Piece, in list: [Piece]) -> Int? {
    let index = firstIndex(in: list, from: piece.start)
    if index > 0, list[index - 1].end > piece.start { return nil }
    if index < list.count, list[index].start < piece.end { return nil }
    return index
  }

  /// The first piece that starts at `start` or later.
  private static func firstIndex(in list: [Piece], from start: UInt64) -> Int {
    var (low, high) = (0, list.count)
    while low < high {
      let middle = (low + high) / 2
      if list[middle].start < start { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Makes one of two pieces that touch.
  private static func join(_ list: inout [Piece], _ index: Int) {
    guard index + 1 < list.count, list[index].end == list[index + 1].start else { return }
    let second = list.remove(at: index + 1)
    extend(&list[index], by: second)
  }

  private static func extend(_ piece: inout Piece, by next: Piece) {
    piece.crc32 = CRC32.joined(
      piece.crc32, next.crc32, secondByteCount: next.end - next.start)
    piece.end = next.end
  }

  /// Throws for the first record of which something was read and whose checksum is another.
  func finish(_ file: PositionalFile) throws(FormatError) {
    let read = pieces.withLock { $0 }
    let strips = strips.withLock { $0 }
    for (index, (record, pieces)) in zip(records, read).enumerated() {
      guard let pieces, let expected = record.crc32 else { continue }
      let found: UInt32
      if pieces.count == 1, pieces[0].start == 0, pieces[0].end == record.byteCount {
        found = pieces[0].crc32
      } else if let crc32 = strips[index]?.crc32(byteCount: record.byteCount) {
        found = crc32
      } else {
        found = try file.crc32(at: record.fileOffset, byteCount: record.byteCount)
      }
      guard found == expected else {
        throw file.checksumError(record, found: found, expected: expected)
      }
    }
  }
}

extension PositionalFile {
  /// Fills `buffer` with runs of bytes, one behind the other.
  func read(
    _ runs: ByteRuns, into buffer: UnsafeMutableRawBufferPointer, field: String
  ) throws(FormatError) {
    for index in 0..<runs.count {
      try read(
        at: UInt64(runs.start(of: index)), into: runs.place(of: index, in: buffer), field: field)
    }
  }

  /// Checksum of a range, read piece by piece.
  func crc32(at offset: UInt64, byteCount: UInt64) throws(FormatError) -> UInt32 {
    var crc = CRC32()
    var done: UInt64 = 0
    while done < byteCount {
      let count = min(1 << 18, byteCount - done)
      crc.update(try read(at: offset + done, count: Int(count), field: "zip.data"))
      done += count
    }
    return crc.value
  }

  func checksumError(_ record: StorageRecord, found: UInt32, expected: UInt32) -> FormatError {
    func hex(_ value: UInt32) -> String { "0x" + String(value, radix: 16) }
    return FormatError(
      file: path, fileOffset: record.fileOffset,
      field: "zip entry \(printable(record.name, limit: 120))",
      reason: .inconsistent(
        "its bytes have the checksum \(hex(found)), the directory says \(hex(expected))"),
      advice: "the file is damaged: download it again")
  }
}
