import ByteIO
import SystemPackage

/// The two forms of `torch.save`, as formats/pytorch.md describes them.
extension CheckpointForm {
  /// A ZIP archive of stored records, each at a multiple of 64 bytes.
  func writeZIP(
    _ path: String, _ tensors: [SyntheticTensor], _ weights: inout GeneratedWeights
  ) throws {
    let file = try SyntheticCheckpoint.create(path)
    defer { try? file.close() }
    var zip = ZIPWriter(file: file)
    try zip.add("archive/data.pkl", TorchPickle.stateDictionary(tensors, isLegacy: false))
    try zip.add("archive/byteorder", Array("little".utf8))
    for (index, tensor) in tensors.enumerated() {
      try zip.add("archive/data/\(index)", byteCount: tensor.byteCount) {
        try weights.write(tensor, to: file)
      }
    }
    try zip.add("archive/version", Array("3\n".utf8))
    try zip.finish()
  }

  /// Five pickles, then each storage behind the count of its elements.
  func writeLegacy(
    _ path: String, _ tensors: [SyntheticTensor], _ weights: inout GeneratedWeights
  ) throws {
    let file = try SyntheticCheckpoint.create(path)
    defer { try? file.close() }
    _ = try file.writeAll(
      TorchPickle.legacyStart + TorchPickle.stateDictionary(tensors, isLegacy: true)
        + TorchPickle.keys(count: tensors.count))
    for tensor in tensors {
      _ = try file.writeAll(little(UInt64(tensor.weightCount)))
      try weights.write(tensor, to: file)
    }
  }
}

/// What `torch.save` pickles, in protocol 2.
private enum TorchPickle {
  private static let start: [UInt8] = [0x80, 2]
  private static let dictionary = global("collections", "OrderedDict") + Array(")R".utf8)

  /// Name → `_rebuild_tensor_v2((storage…), 0, shape, strides, False, OrderedDict())`.
  static func stateDictionary(_ tensors: [SyntheticTensor], isLegacy: Bool) -> [UInt8] {
    var bytes = start + dictionary + Array("(".utf8)
    for (index, tensor) in tensors.enumerated() {
      let strides = tensor.shape.indices.map { tensor.shape[($0 + 1)...].reduce(1, *) }
      bytes += text(tensor.name) + global("torch._utils", "_rebuild_tensor_v2")
      bytes += Array("((".utf8) + text("storage") + global("torch", "BFloat16Storage")
      bytes += text("\(index)") + text("cpu") + integer(tensor.weightCount)
      // The legacy form has a sixth part: what the storage is a view of.
      bytes += Array(isLegacy ? "NtQ".utf8 : "tQ".utf8)
      bytes += integer(0) + tuple(tensor.shape) + tuple(strides)
      bytes += [0x89] + dictionary + Array("tR".utf8)
    }
    return bytes + Array("u.".utf8)
  }

  /// Magic number, version, and `{"protocol_version": 1001, "little_endian": True}`.
  static var legacyStart: [UInt8] {
    let magic: [UInt8] = [0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19]
    let system =
      Array("}(".utf8) + text("protocol_version") + integer(1001) + text("little_endian")
      + [0x88] + Array("u".utf8)
    let stop = Array(".".utf8)
    return start + magic + stop + start + integer(1001) + stop + start + system + stop
  }

  static func keys(count: Int) -> [UInt8] {
    start + Array("](".utf8) + (0..<count).flatMap { text("\($0)") } + Array("e.".utf8)
  }

  private static func global(_ module: String, _ name: String) -> [UInt8] {
    Array("c\(module)\n\(name)\n".utf8)
  }

  private static func text(_ text: String) -> [UInt8] {
    Array("X".utf8) + little(UInt32(text.utf8.count)) + Array(text.utf8)
  }

  private static func integer(_ value: Int) -> [UInt8] { Array("J".utf8) + little(Int32(value)) }

  private static func tuple(_ values: [Int]) -> [UInt8] {
    Array("(".utf8) + values.flatMap { integer($0) } + Array("t".utf8)
  }
}

/// Writes stored entries one after the other; below 4 GiB, so that no zip64 fields are needed.
private struct ZIPWriter {
  let file: FileDescriptor
  private var offset = 0
  private var directory: [UInt8] = []
  private var entryCount = 0

  init(file: FileDescriptor) { self.file = file }

  mutating func add(_ name: String, _ data: [UInt8]) throws {
    try add(name, byteCount: data.count) { [file] in
      _ = try file.writeAll(data)
      var crc = CRC32()
      crc.update(data)
      return crc
    }
  }

  /// Adds an entry whose data `write` puts out; its checksum is filled in afterwards.
  mutating func add(_ name: String, byteCount: Int, _ write: () throws -> CRC32) throws {
    precondition(offset + byteCount < 1 << 32, "a shard of 4 GiB")
    let headerOffset = offset
    // Field "FB" moves the data to a multiple of 64.
    let headerByteCount = 30 + name.utf8.count + 4
    let padding = (64 - (offset + headerByteCount) % 64) % 64
    let sizes = little(UInt32(byteCount)) + little(UInt32(byteCount))
    let beforeChecksum = little(UInt16(0)) + little(UInt16(0)) + little(UInt32(0))
    let extra =
      Array("FB".utf8) + little(UInt16(padding)) + [UInt8](repeating: 0x5A, count: padding)
    _ = try file.writeAll(
      little(UInt32(0x0403_4B50)) + little(UInt16(20)) + beforeChecksum + little(UInt32(0)) + sizes
        + little(UInt16(name.utf8.count)) + little(UInt16(extra.count)) + Array(name.utf8) + extra)
    let crc = try write().value
    _ = try file.writeAll(toAbsoluteOffset: Int64(headerOffset + 14), little(crc))
    directory += little(UInt32(0x0201_4B50)) + little(UInt16(20)) + little(UInt16(20))
    directory += beforeChecksum + little(crc) + sizes + little(UInt16(name.utf8.count))
    directory += [UInt8](repeating: 0, count: 12) + little(UInt32(headerOffset)) + Array(name.utf8)
    offset += headerByteCount + padding + byteCount
    entryCount += 1
  }

  func finish() throws {
    let count = little(UInt16(entryCount))
    _ = try file.writeAll(
      directory + little(UInt32(0x0605_4B50)) + little(UInt32(0)) + count + count
        + little(UInt32(directory.count)) + little(UInt32(offset)) + little(UInt16(0)))
  }
}
