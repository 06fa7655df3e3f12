/// A file as `torch.save` writes it: a ZIP archive with a pickle of names and one record per tensor.
package enum TorchArchive {
  package struct Tensor {
    package var name: String
    /// For example `HalfStorage`.
    package var storage: String
    package var shape: [Int]
    /// Row-major, little-endian.
    package var bytes: [UInt8]
    /// Whether the bytes are one element that stands for all.
    package var isExpanded = false

    package init(name: String, storage: String, shape: [Int], bytes: [UInt8]) {
      self.name = name
      self.storage = storage
      self.shape = shape
      self.bytes = bytes
    }
  }

  package static func bytes(_ tensors: [Tensor]) -> [UInt8] {
    bytes(pickle: pickle(tensors), records: tensors.map(\.bytes))
  }

  /// The archive around any pickle, with records 0, 1, 2, ….
  package static func bytes(pickle: [UInt8], records: [[UInt8]] = []) -> [UInt8] {
    var entries = [("archive/data.pkl", pickle), ("archive/byteorder", Array("little".utf8))]
    for (index, record) in records.enumerated() {
      entries.append(("archive/data/\(index)", record))
    }
    entries.append(("archive/version", Array("3\n".utf8)))
    return zip(entries)
  }

  // MARK: Pickle, protocol 2

  private static func pickle(_ tensors: [Tensor]) -> [UInt8] {
    let dictionary = global("collections", "OrderedDict") + Array(")R".utf8)
    var bytes: [UInt8] = [0x80, 2] + dictionary + Array("(".utf8)
    for (index, tensor) in tensors.enumerated() {
      var strides: [Int] = []
      for dimension in tensor.shape.indices {
        strides.append(tensor.isExpanded ? 0 : tensor.shape[(dimension + 1)...].reduce(1, *))
      }
      bytes += text(tensor.name) + global("torch._utils", "_rebuild_tensor_v2")
      bytes += Array("((".utf8) + text("storage") + global("torch", tensor.storage)
      bytes += text("\(index)") + text("cpu")
      bytes += integer(tensor.isExpanded ? 1 : tensor.shape.reduce(1, *))
      bytes += Array("tQ".utf8) + integer(0) + tuple(tensor.shape) + tuple(strides)
      bytes += [0x89] + dictionary + Array("tR".utf8)
    }
    return bytes + Array("u.".utf8)
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

  // MARK: ZIP, stored

  package static func zip(_ entries: [(name: String, data: [UInt8])]) -> [UInt8] {
    var file: [UInt8] = []
    var directory: [UInt8] = []
    for (name, data) in entries {
      let crc = data.withUnsafeBytes { crc32($0) }
      let sizes = little(UInt32(data.count)) + little(UInt32(data.count))
      let lengths = little(UInt16(name.utf8.count)) + little(UInt16(0))
      // Version, flags, method, time, date.
      let common = little(UInt16(0)) + little(UInt16(0)) + little(UInt32(0)) + little(crc) + sizes
      directory += little(UInt32(0x0201_4B50)) + little(UInt16(20)) + little(UInt16(20)) + common
      directory += lengths + [UInt8](repeating: 0, count: 10) + little(UInt32(file.count))
      directory += Array(name.utf8)
      file += little(UInt32(0x0403_4B50)) + little(UInt16(20)) + common + lengths
      file += Array(name.utf8) + data
    }
    let count = little(UInt16(entries.count))
    return file + directory + little(UInt32(0x0605_4B50)) + little(UInt32(0)) + count + count
      + little(UInt32(directory.count)) + little(UInt32(file.count)) + little(UInt16(0))
  }

  private static func little(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }
}
