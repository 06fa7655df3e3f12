import Checkpoints

/// The bytes of a pickle, right or wrong, instruction by instruction.
struct PickleBytes {
  var bytes: [UInt8]

  init(protocolVersion: UInt8? = 2) {
    bytes = protocolVersion.map { [0x80, $0] } ?? []
  }

  func then(_ more: [UInt8]) -> PickleBytes {
    var copy = self
    copy.bytes += more
    return copy
  }

  func then(_ other: PickleBytes) -> PickleBytes { then(other.bytes) }

  /// One instruction with its argument.
  func op(_ opcode: PickleOpcode, _ argument: [UInt8] = []) -> PickleBytes {
    then([opcode.rawValue] + argument)
  }

  func number(_ opcode: PickleOpcode, _ value: some FixedWidthInteger) -> PickleBytes {
    op(opcode, littleEndian(value))
  }

  func global(_ module: String, _ name: String) -> PickleBytes {
    op(.GLOBAL, Array("\(module)\n\(name)\n".utf8))
  }

  func text(_ text: String) -> PickleBytes {
    op(.BINUNICODE, littleEndian(UInt32(text.utf8.count)) + Array(text.utf8))
  }

  func int(_ value: Int) -> PickleBytes {
    op(.LONG1, [8] + littleEndian(Int64(value)))
  }

  func ints(_ values: [Int]) -> PickleBytes {
    values.reduce(op(.MARK)) { $0.int($1) }.op(.TUPLE)
  }

  /// A persistent id of a storage.
  func storage(
    _ key: String, _ count: Int, kind: String = "storage", type: String = "torch FloatStorage"
  ) -> PickleBytes {
    let names = type.split(separator: " ").map(String.init)
    return op(.MARK).text(kind).global(names[0], names[1]).text(key).text("cpu").int(count)
      .op(.TUPLE).op(.BINPERSID)
  }

  /// A tensor as `_rebuild_tensor_v2` describes it.
  func tensor(
    _ key: String, storageCount: Int, offset: Int = 0, shape: [Int], strides: [Int],
    type: String = "torch FloatStorage"
  ) -> PickleBytes {
    global("torch._utils", "_rebuild_tensor_v2").op(.MARK)
      .storage(key, storageCount, type: type).int(offset).ints(shape).ints(strides)
      .op(.NEWFALSE).global("collections", "OrderedDict").op(.EMPTY_TUPLE).op(.REDUCE)
      .op(.TUPLE).op(.REDUCE)
  }

  /// A dictionary of what `entries` push: key, value, key, value.
  func dictionary(_ entries: (PickleBytes) -> PickleBytes) -> PickleBytes {
    entries(op(.EMPTY_DICT).op(.MARK)).op(.SETITEMS)
  }

  /// The pickle of a plain file: one tensor `t` of six elements in storage 0, and STOP.
  static func plain(_ entries: (PickleBytes) -> PickleBytes = { $0 }) -> PickleBytes {
    PickleBytes().dictionary {
      entries($0.text("t").tensor("0", storageCount: 6, shape: [2, 3], strides: [3, 1]))
    }.op(.STOP)
  }
}

func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
  withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

/// The legacy form of `torch.save` around a pickle.
enum LegacyBytes {
  static let magic = PickleBytes().op(
    .LONG1, [10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19]
  ).op(.STOP)
  static let version = PickleBytes().number(.BININT2, UInt16(1001)).op(.STOP)

  static func info(littleEndian: Bool = true) -> PickleBytes {
    PickleBytes().dictionary {
      $0.text("protocol_version").int(1001).text("little_endian")
        .op(littleEndian ? .NEWTRUE : .NEWFALSE)
    }.op(.STOP)
  }

  static func keys(_ keys: [String]) -> PickleBytes {
    keys.reduce(PickleBytes().op(.EMPTY_LIST).op(.MARK)) { $0.text($1) }.op(.APPENDS).op(.STOP)
  }

  static func file(
    _ pickle: PickleBytes = .plain(), keys: [String] = ["0"],
    storages: [UInt8] = littleEndian(UInt64(6)) + floats(6)
  ) -> [UInt8] {
    magic.bytes + version.bytes + info().bytes + pickle.bytes + Self.keys(keys).bytes + storages
  }
}

/// 0, 1, 2, … as F32.
func floats(_ count: Int) -> [UInt8] {
  (0..<count).flatMap { littleEndian(Float($0).bitPattern) }
}
