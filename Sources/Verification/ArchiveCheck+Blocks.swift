import ByteIO
import GGUF
import Tensors
import Threads

extension ArchiveCheck {
  /// Bytes that one thread reads and decodes at a time.
  static let tileByteCount = 1 << 20

  /// Decodes every block of every tensor, tile by tile, in `threadCount` threads.
  ///
  /// The first invalid block of each tensor becomes a finding, whatever thread meets it.
  func checkBlocks(of archive: GGUFFile, _ report: inout CheckReport) throws(FormatError) {
    let isChecked = archive.tensors.map { needsCheck($0.type) }
    for type in TensorType.allCases
    where !rules.canValidate(type) && needsNumbers(type)
      && archive.tensors.contains(where: { $0.type == type })
    {
      report.warning(type.name, "blocks of this type are not decoded by this version")
    }
    let work = Guarded(BlockWork(archive.tensors, isChecked: isChecked))
    WorkerThreads.run(count: threadCount) { _ in checkTiles(of: archive, work) }
    let (failure, invalid) = work.withLock { ($0.failure, $0.firstInvalid) }
    if let failure { throw failure }
    for (index, tensor) in archive.tensors.enumerated() {
      guard let block = invalid[index] else { continue }
      let weights = tensor.type.weightsPerBlock
      report.error(
        tensor.name.string,
        "block \(block) of type \(tensor.type) is not finite "
          + "(row \(block * weights / max(1, tensor.columnCount)), "
          + "column \(block * weights % max(1, tensor.columnCount)))",
        allowed: "finite numbers", file: archive.files[tensor.regions[0].file],
        fileOffset: tensor.regions[0].fileOffset + UInt64(block * tensor.type.bytesPerBlock))
    }
  }

  private func needsNumbers(_ type: TensorType) -> Bool {
    switch type {
    case .i8, .i16, .i32, .i64: false
    default: true
    }
  }

  private func needsCheck(_ type: TensorType) -> Bool {
    needsNumbers(type) && rules.canValidate(type)
  }

  /// One thread: takes tiles until none is left or reading fails.
  private func checkTiles(of archive: GGUFFile, _ work: Guarded<BlockWork>) {
    let buffer = UnsafeMutableRawBufferPointer.allocate(
      byteCount: Self.tileByteCount, alignment: 64)
    defer { buffer.deallocate() }
    while let tile = work.withLock({ $0.next() }) {
      let tensor = archive.tensors[tile.tensor]
      let target = UnsafeMutableRawBufferPointer(rebasing: buffer[..<tile.byteCount])
      do throws(FormatError) {
        try archive.read(tensor, at: tile.byteOffset, into: target)
      } catch {
        work.withLock { $0.failure = $0.failure ?? error }
        return
      }
      guard let start = target.baseAddress else { continue }
      let blockCount = tile.byteCount / tensor.type.bytesPerBlock
      guard let block = rules.firstInvalidBlock(tensor.type, UnsafeRawPointer(start), blockCount)
      else { continue }
      let first = tile.byteOffset / tensor.type.bytesPerBlock + block
      work.withLock { $0.note(invalid: first, tensor: tile.tensor) }
    }
  }
}

/// What is left to decode, and what was found.
private struct BlockWork: Sendable {
  struct Tile: Sendable {
    var tensor: Int
    var byteOffset: Int
    var byteCount: Int
  }

  var failure: FormatError?
  /// Tensor index → lowest invalid block met so far.
  private(set) var firstInvalid: [Int: Int] = [:]
  private let byteCounts: [Int]
  private let blockByteCounts: [Int]
  private let isChecked: [Bool]
  private var tensor = 0
  private var byteOffset = 0

  init(_ tensors: [TensorDescriptor], isChecked: [Bool]) {
    byteCounts = tensors.map(\.byteCount)
    blockByteCounts = tensors.map(\.type.bytesPerBlock)
    self.isChecked = isChecked
  }

  /// The next tile of whole blocks; tensors are taken in order and tiles from front to back.
  mutating func next() -> Tile? {
    while failure == nil, tensor < byteCounts.count {
      // Tiles come from front to back, so one behind an invalid block cannot be the first.
      guard isChecked[tensor], byteOffset < byteCounts[tensor], firstInvalid[tensor] == nil else {
        tensor += 1
        byteOffset = 0
        continue
      }
      let block = blockByteCounts[tensor]
      let whole = ArchiveCheck.tileByteCount / block * block
      let tile = Tile(
        tensor: tensor, byteOffset: byteOffset,
        byteCount: min(whole, byteCounts[tensor] - byteOffset))
      byteOffset += tile.byteCount
      return tile
    }
    return nil
  }

  mutating func note(invalid block: Int, tensor: Int) {
    firstInvalid[tensor] = min(firstInvalid[tensor] ?? block, block)
  }
}
