/// The table of a seekable Zstandard file in memory, as dense as in the file.
///
/// Where each frame begins is a sum over those before it; every 64th sum is kept.
struct SeekTable: Sendable {
  struct Frame: Sendable {
    var index: Int
    /// In the file.
    var place: Range<UInt64>
    /// Empty of frames that are, and of those that decoders skip.
    var content: Range<UInt64>
    /// Low half of XXH64 of the content, where the table has it.
    var checksum: UInt32?
  }

  /// Where something begins: in the file, and in the content.
  struct Position: Sendable {
    var place: UInt64 = 0
    var content: UInt64 = 0
  }

  /// Packed byte count, content byte count, and the checksum if there are any, for each frame.
  private var numbers: [UInt32] = []
  private var starts: [Position] = []
  /// Where the last frame ends.
  private(set) var end = Position()
  private(set) var frameCount = 0
  /// The most bytes that a frame with content has, packed or not.
  private(set) var frameByteLimit = 0
  private let hasChecksums: Bool
  private static let framesPerStart = 64

  private var numbersPerFrame: Int { hasChecksums ? 3 : 2 }

  /// - Parameters:
  ///   - frameCount: of frames that will be appended, already checked against the file.
  ///   - hasChecksums: whether each has one.
  init(frameCount: Int, hasChecksums: Bool) {
    self.hasChecksums = hasChecksums
    numbers.reserveCapacity(frameCount * numbersPerFrame)
    starts.reserveCapacity(frameCount / Self.framesPerStart + 1)
  }

  mutating func append(packedByteCount: UInt32, byteCount: UInt32, checksum: UInt32) {
    if frameCount % Self.framesPerStart == 0 { starts.append(end) }
    numbers.append(packedByteCount)
    numbers.append(byteCount)
    if hasChecksums { numbers.append(checksum) }
    frameCount += 1
    end.place += UInt64(packedByteCount)
    end.content += UInt64(byteCount)
    if byteCount > 0 { frameByteLimit = max(frameByteLimit, Int(max(byteCount, packedByteCount))) }
  }

  subscript(index: Int) -> Frame {
    precondition(index >= 0 && index < frameCount)
    let group = index / Self.framesPerStart
    var start = starts[group]
    for before in group * Self.framesPerStart..<index { advance(&start, over: before) }
    return frame(index, start)
  }

  /// The frame that a byte of the content lies in.
  ///
  /// - Precondition: the byte is there.
  func frame(holding contentOffset: UInt64) -> Frame {
    var low = 0
    var high = starts.count - 1
    while low < high {
      let middle = (low + high + 1) / 2
      if starts[middle].content <= contentOffset { low = middle } else { high = middle - 1 }
    }
    var index = low * Self.framesPerStart
    var start = starts[low]
    while start.content + UInt64(numbers[index * numbersPerFrame + 1]) <= contentOffset {
      advance(&start, over: index)
      index += 1
    }
    return frame(index, start)
  }

  private func advance(_ position: inout Position, over index: Int) {
    position.place += UInt64(numbers[index * numbersPerFrame])
    position.content += UInt64(numbers[index * numbersPerFrame + 1])
  }

  private func frame(_ index: Int, _ start: Position) -> Frame {
    var end = start
    advance(&end, over: index)
    return Frame(
      index: index, place: start.place..<end.place, content: start.content..<end.content,
      checksum: hasChecksums ? numbers[index * numbersPerFrame + 2] : nil)
  }
}
