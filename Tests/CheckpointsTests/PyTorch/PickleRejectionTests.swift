import ByteIO
import Checkpoints
import TestSupport
import Testing

/// A pickle in which something is wrong, and what the error has to say.
private struct BadPickle: Sendable, CustomTestStringConvertible {
  var name: String
  var field: String
  var says: String
  var bytes: PickleBytes
  var testDescription: String { name }

  init(_ name: String, _ field: String, says: String, _ bytes: PickleBytes) {
    self.name = name
    self.field = field
    self.says = says
    self.bytes = bytes
  }
}

private let canary = "/tmp/ingot-canary-of-a-pickle"

/// Arguments of a call that would make the canary file.
private func command(_ pickle: PickleBytes) -> PickleBytes {
  pickle.text("touch \(canary)").op(.TUPLE1)
}

/// - Precondition: `count` is a power of two.
private func repeated(_ bytes: [UInt8], count: Int) -> [UInt8] {
  var result = bytes
  while result.count < bytes.count * count { result += result }
  return result
}

/// Every way that the language has of naming or calling something.
private let calls: [BadPickle] = [
  BadPickle(
    "REDUCE of os.system", "pickle.GLOBAL", says: "the name posix system",
    command(PickleBytes().global("posix", "system")).op(.REDUCE).op(.STOP)),
  BadPickle(
    "name without a call", "pickle.GLOBAL", says: "the name os system",
    PickleBytes().global("os", "system").op(.STOP)),
  BadPickle(
    "STACK_GLOBAL", "pickle.STACK_GLOBAL", says: "the name posix system",
    command(PickleBytes(protocolVersion: 4).text("posix").text("system").op(.STACK_GLOBAL))
      .op(.REDUCE).op(.STOP)),
  BadPickle(
    "STACK_GLOBAL from the memo", "pickle.STACK_GLOBAL", says: "the name builtins exec",
    PickleBytes(protocolVersion: 4).text("exec").op(.MEMOIZE).text("builtins").op(.MEMOIZE)
      .op(.BINGET, [1]).op(.BINGET, [0]).op(.STACK_GLOBAL).op(.STOP)),
  BadPickle(
    "STACK_GLOBAL of numbers", "pickle.STACK_GLOBAL", says: "two texts",
    PickleBytes(protocolVersion: 4).int(1).int(2).op(.STACK_GLOBAL).op(.STOP)),
  BadPickle(
    "INST", "pickle.INST", says: "found INST",
    PickleBytes().op(.MARK).text("touch \(canary)").op(.INST, Array("os\nsystem\n".utf8)).op(.STOP)
  ),
  BadPickle(
    "OBJ", "pickle.OBJ", says: "found OBJ",
    PickleBytes().op(.MARK).global("torch", "Size").text("x").op(.OBJ).op(.STOP)),
  BadPickle(
    "NEWOBJ", "pickle.GLOBAL", says: "the name subprocess Popen",
    command(PickleBytes().global("subprocess", "Popen")).op(.NEWOBJ).op(.STOP)),
  BadPickle(
    "NEWOBJ of a tensor's constructor", "pickle.NEWOBJ", says: "a new object of",
    PickleBytes().global("collections", "OrderedDict").op(.EMPTY_TUPLE).op(.NEWOBJ).op(.STOP)),
  BadPickle(
    "NEWOBJ_EX", "pickle.NEWOBJ_EX", says: "found NEWOBJ_EX",
    PickleBytes(protocolVersion: 4).global("torch", "Size").op(.EMPTY_TUPLE).op(.EMPTY_DICT)
      .op(.NEWOBJ_EX).op(.STOP)),
  BadPickle(
    "BUILD of a tensor", "pickle.BUILD", says: "as state of a tensor",
    PickleBytes().tensor("0", storageCount: 6, shape: [6], strides: [1]).op(.EMPTY_DICT).op(.BUILD)
      .op(.STOP)),
  BadPickle(
    "BUILD of a constructor", "pickle.BUILD", says: "as state of collections OrderedDict",
    PickleBytes().global("collections", "OrderedDict").dictionary {
      $0.text("__call__").text("x")
    }.op(.BUILD).op(.STOP)),
  BadPickle(
    "BUILD with a tuple of two states", "pickle.BUILD", says: "a tuple as state of a dictionary",
    PickleBytes().op(.EMPTY_DICT).op(.EMPTY_DICT).op(.EMPTY_DICT).op(.TUPLE2).op(.BUILD).op(.STOP)),
  BadPickle("EXT1", "pickle.EXT1", says: "found EXT1", PickleBytes().op(.EXT1, [1]).op(.STOP)),
  BadPickle("EXT2", "pickle.EXT2", says: "found EXT2", PickleBytes().op(.EXT2, [1, 0]).op(.STOP)),
  BadPickle(
    "EXT4", "pickle.EXT4", says: "found EXT4", PickleBytes().op(.EXT4, [1, 0, 0, 0]).op(.STOP)),
  BadPickle(
    "PERSID", "pickle.PERSID", says: "found PERSID",
    PickleBytes().op(.PERSID, Array("x\n".utf8)).op(.STOP)),
  BadPickle(
    "nested pickle that is loaded", "pickle.GLOBAL", says: "the name _pickle loads",
    PickleBytes().global("_pickle", "loads").op(.SHORT_BINBYTES, [3, 0x80, 2, 0x2E]).op(.TUPLE1)
      .op(.REDUCE).op(.STOP)),
  BadPickle(
    "dotted name", "pickle.STACK_GLOBAL", says: "the name torch _utils.os.system",
    PickleBytes(protocolVersion: 4).text("torch").text("_utils.os.system").op(.STACK_GLOBAL)
      .op(.STOP)),
  BadPickle(
    "name with a space in it", "pickle.STACK_GLOBAL", says: "the name torch._utils _rebuild",
    PickleBytes(protocolVersion: 4).text("torch._utils _rebuild_tensor_v2").text("").op(
      .STACK_GLOBAL
    ).op(.STOP)),
  BadPickle(
    "REDUCE of a text", "pickle.REDUCE", says: "a text applied to a tuple",
    PickleBytes().text("os.system").op(.EMPTY_TUPLE).op(.REDUCE).op(.STOP)),
  BadPickle(
    "REDUCE of what REDUCE made", "pickle.REDUCE", says: "a dictionary applied to a tuple",
    PickleBytes().global("collections", "OrderedDict").op(.EMPTY_TUPLE).op(.REDUCE)
      .op(.EMPTY_TUPLE).op(.REDUCE).op(.STOP)),
  BadPickle(
    "REDUCE of a storage type", "pickle.REDUCE", says: "torch FloatStorage with other arguments",
    PickleBytes().global("torch", "FloatStorage").int(1 << 40).op(.TUPLE1).op(.REDUCE).op(.STOP)),
  BadPickle(
    "REDUCE with a list", "pickle.REDUCE", says: "applied to a list",
    PickleBytes().global("collections", "OrderedDict").op(.EMPTY_LIST).op(.REDUCE).op(.STOP)),
  BadPickle(
    "call below a mark", "pickle.REDUCE", says: "empty stack",
    PickleBytes().global("collections", "OrderedDict").op(.EMPTY_TUPLE).op(.MARK).op(.REDUCE).op(
      .STOP)),
  BadPickle(
    "constructor of another constructor", "pickle.REDUCE", says: "with other arguments",
    PickleBytes().global("torch._tensor", "_rebuild_from_type_v2").op(.MARK)
      .global("torch", "device").global("torch", "Tensor").op(.EMPTY_TUPLE).op(.NONE).op(.TUPLE)
      .op(.REDUCE).op(.STOP)),
]

/// Broken grammar, lying lengths, too much of something.
private let grammar: [BadPickle] = [
  BadPickle("empty", "pickle.PROTO", says: "needs 1 bytes", PickleBytes(protocolVersion: nil)),
  BadPickle(
    "no PROTO", "pickle.PROTO", says: "PROTO as first",
    PickleBytes(protocolVersion: nil).op(.NONE).op(.STOP)),
  BadPickle(
    "protocol 0", "pickle.PROTO", says: "protocol 0",
    PickleBytes(protocolVersion: 0).op(.NONE).op(.STOP)),
  BadPickle(
    "protocol 6", "pickle.PROTO", says: "protocol 6",
    PickleBytes(protocolVersion: 6).op(.NONE).op(.STOP)),
  BadPickle(
    "PROTO again", "pickle.PROTO", says: "inside", PickleBytes().op(.PROTO, [2]).op(.STOP)),
  BadPickle(
    "no such opcode", "pickle.opcode", says: "byte 0xff", PickleBytes().then([0xFF]).op(.STOP)),
  BadPickle("no STOP", "pickle.opcode", says: "needs 1 bytes", PickleBytes().op(.NONE)),
  BadPickle("nothing left", "pickle.STOP", says: "0 values", PickleBytes().op(.STOP)),
  BadPickle(
    "two values left", "pickle.STOP", says: "2 values",
    PickleBytes().op(.NONE).op(.NONE).op(.STOP)),
  BadPickle(
    "open mark", "pickle.STOP", says: "1 values", PickleBytes().op(.MARK).op(.NONE).op(.STOP)),
  BadPickle(
    "bytes behind STOP", "pickle.STOP", says: "1 bytes follow",
    PickleBytes.plain().op(.STOP)),
  BadPickle(
    "payload, then a broken stream", "pickle.GLOBAL", says: "the name posix system",
    command(PickleBytes().global("posix", "system")).op(.REDUCE).then([0xFF])),
  BadPickle(
    "memo entry that is not there", "pickle.BINGET", says: "entry 7",
    PickleBytes().op(.BINGET, [7]).op(.STOP)),
  BadPickle(
    "memo of nothing", "pickle.BINPUT", says: "empty stack",
    PickleBytes().op(.BINPUT, [0]).op(.STOP)),
  BadPickle(
    "memo across a mark", "pickle.MEMOIZE", says: "empty stack",
    PickleBytes().op(.NONE).op(.MARK).op(.MEMOIZE).op(.TUPLE).op(.STOP)),
  BadPickle(
    "POP of a payload", "pickle.POP", says: "found POP", PickleBytes().op(.NONE).op(.POP)),
  BadPickle("TUPLE without MARK", "pickle.TUPLE", says: "MARK", PickleBytes().op(.TUPLE)),
  BadPickle(
    "SETITEM on a list", "pickle.SETITEM", says: "found a list",
    PickleBytes().op(.EMPTY_LIST).int(0).int(1).op(.SETITEM).op(.STOP)),
  BadPickle(
    "SETITEM on a tensor", "pickle.SETITEM", says: "found a tensor",
    PickleBytes().tensor("0", storageCount: 6, shape: [6], strides: [1]).int(0).int(1)
      .op(.SETITEM).op(.STOP)),
  BadPickle(
    "APPEND on a dictionary", "pickle.APPEND", says: "found a dictionary",
    PickleBytes().op(.EMPTY_DICT).int(0).op(.APPEND).op(.STOP)),
  BadPickle(
    "key without value", "pickle.SETITEMS", says: "without a value",
    PickleBytes().op(.EMPTY_DICT).op(.MARK).text("x").op(.SETITEMS).op(.STOP)),
  BadPickle(
    "LONG4 that lies", "pickle.LONG4", says: "needs 4294967295 bytes",
    PickleBytes().number(.LONG4, UInt32.max).op(.STOP)),
  BadPickle(
    "LONG4 that is there", "pickle.LONG4", says: "more than 255",
    PickleBytes().number(.LONG4, UInt32(300)).then([UInt8](repeating: 1, count: 300)).op(.STOP)),
  BadPickle(
    "LONG1 that lies", "pickle.LONG1", says: "needs 200 bytes",
    PickleBytes().op(.LONG1, [200]).op(.STOP)),
  BadPickle(
    "BINUNICODE that lies", "pickle.BINUNICODE", says: "needs 2147483647 bytes",
    PickleBytes().number(.BINUNICODE, UInt32(Int32.max)).op(.STOP)),
  BadPickle(
    "BINUNICODE8 that lies", "pickle.BINUNICODE8", says: "needs 18446744073709551615",
    PickleBytes(protocolVersion: 4).number(.BINUNICODE8, UInt64.max).op(.STOP)),
  BadPickle(
    "BINBYTES8 that lies", "pickle.BINBYTES8", says: "needs 9223372036854775808",
    PickleBytes(protocolVersion: 4).number(.BINBYTES8, UInt64(1) << 63).op(.STOP)),
  BadPickle(
    "BYTEARRAY8 that lies", "pickle.BYTEARRAY8", says: "needs 1099511627776",
    PickleBytes(protocolVersion: 5).number(.BYTEARRAY8, UInt64(1) << 40).op(.STOP)),
  BadPickle(
    "SHORT_BINSTRING that lies", "pickle.SHORT_BINSTRING", says: "needs 255",
    PickleBytes().op(.SHORT_BINSTRING, [255]).op(.STOP)),
  BadPickle(
    "BINSTRING of negative length", "pickle.BINSTRING", says: "needs 4294967295",
    PickleBytes().number(.BINSTRING, Int32(-1)).op(.STOP)),
  BadPickle(
    "name without an end", "pickle.GLOBAL", says: "more than 255 bytes of a name",
    PickleBytes().op(.GLOBAL, [UInt8](repeating: 0x61, count: 200_000)).op(.STOP)),
  BadPickle(
    "FRAME that lies", "pickle.FRAME", says: "needs 1000",
    PickleBytes(protocolVersion: 4).number(.FRAME, UInt64(1_000)).op(.NONE).op(.STOP)),
  BadPickle(
    "FRAME in a FRAME", "pickle.FRAME", says: "inside another",
    PickleBytes(protocolVersion: 4).number(.FRAME, UInt64(11)).number(.FRAME, UInt64(1)).op(.NONE)
      .op(.STOP)),
  BadPickle(
    "opcode over the end of its FRAME", "pickle.BINUNICODE", says: "end of its frame",
    PickleBytes(protocolVersion: 4).number(.FRAME, UInt64(3)).text("abcdef").op(.STOP)),
  BadPickle(
    "STOP before the end of its FRAME", "pickle.STOP", says: "frame that goes on",
    PickleBytes(protocolVersion: 4).number(.FRAME, UInt64(5)).op(.NONE).op(.STOP)
      .then([0, 0, 0])),
  BadPickle(
    "marks inside marks", "pickle.MARK", says: "more than 1024 nested marks",
    PickleBytes().then([UInt8](repeating: PickleOpcode.MARK.rawValue, count: 100_000))),
  BadPickle(
    "too many values", "pickle.NONE", says: "more than 65536 values",
    PickleBytes().then([UInt8](repeating: PickleOpcode.NONE.rawValue, count: 1 << 20))),
  BadPickle(
    "list in list in list", "pickle.EMPTY_LIST", says: "more than 65536 values",
    PickleBytes().then([UInt8](repeating: PickleOpcode.EMPTY_LIST.rawValue, count: 1 << 20))),
  BadPickle(
    "memo that grows", "pickle.MEMOIZE", says: "more than 67108864 bytes of values",
    PickleBytes(protocolVersion: 4).op(.NONE)
      .then([UInt8](repeating: PickleOpcode.MEMOIZE.rawValue, count: 4_400_000))),
  BadPickle(
    "memo that is scattered", "pickle.LONG_BINPUT", says: "more than 67108864 bytes of values",
    PickleBytes().op(.NONE).then(
      (0..<1_100_000).flatMap { index in
        [PickleOpcode.LONG_BINPUT.rawValue] + littleEndian(UInt32(index + 1))
      })),
  BadPickle(
    "tuple around a tuple around a tuple", "pickle.TUPLE1",
    says: "more than 67108864 bytes of values",
    PickleBytes().op(.NONE)
      .then([UInt8](repeating: PickleOpcode.TUPLE1.rawValue, count: 1_100_000))),
  BadPickle(
    "too many instructions", "pickle.BINPUT", says: "more than 8388608 instructions",
    PickleBytes().op(.EMPTY_LIST).then(repeated([0x71, 0], count: 1 << 23))),
  BadPickle(
    "one list in many dictionaries", "pickle.REDUCE",
    says: "bytes of values",
    manyDictionaries),
  BadPickle(
    "root that is no dictionary", "pickle", says: "found a list",
    PickleBytes().op(.EMPTY_LIST).op(.STOP)),
  BadPickle(
    "two wrapped dictionaries", "pickle", says: #""model", "module""#,
    PickleBytes().dictionary {
      $0.text("model").op(.EMPTY_DICT).text("module").op(.EMPTY_DICT)
    }.op(.STOP)),
  BadPickle(
    "dictionary that holds itself", "model.model.model.model.model", says: "more than 4",
    PickleBytes().op(.EMPTY_DICT).op(.BINPUT, [0]).text("model").op(.BINGET, [0]).op(.SETITEM)
      .op(.STOP)),
  BadPickle(
    "name twice", "t", says: "duplicate tensor",
    PickleBytes.plain { $0.text("t").tensor("0", storageCount: 6, shape: [6], strides: [1]) }),
]

/// A list of 1,000 pairs is made into a dictionary again and again.
private let manyDictionaries: PickleBytes = {
  var pickle = PickleBytes().op(.EMPTY_LIST).op(.MARK)
  for _ in 0..<1_000 { pickle = pickle.op(.NONE).op(.NONE).op(.TUPLE2) }
  pickle = pickle.op(.APPENDS).op(.TUPLE1).op(.BINPUT, [0])
    .global("collections", "OrderedDict").op(.BINPUT, [1])
  let round = PickleBytes(protocolVersion: nil).op(.BINGET, [1]).op(.BINGET, [0]).op(.REDUCE)
  return pickle.then(repeated(round.bytes, count: 2_048))
}()

/// Storages and tensors that are not what they say.
private let tensors: [BadPickle] = {
  func tensor(_ name: String, says: String, _ pickle: PickleBytes) -> BadPickle {
    BadPickle(name, "pickle.REDUCE", says: says, pickle)
  }
  func plain(_ tensor: PickleBytes) -> PickleBytes {
    PickleBytes().dictionary { $0.text("t").then(tensor) }.op(.STOP)
  }
  let none = PickleBytes(protocolVersion: nil)
  func view(_ count: Int, _ offset: Int, _ shape: [Int], _ strides: [Int]) -> PickleBytes {
    plain(
      none.tensor("0", storageCount: count, offset: offset, shape: shape, strides: strides))
  }
  func id(_ name: String, says: String, _ id: PickleBytes) -> BadPickle {
    BadPickle(name, "pickle.BINPERSID", says: says, PickleBytes().then(id).op(.STOP))
  }
  return [
    tensor("beyond the storage", says: "element 6 of the storage", view(6, 0, [7], [1])),
    tensor("offset beyond", says: "element 6", view(6, 1, [2, 3], [3, 1])),
    tensor("stride beyond", says: "element 7", view(6, 0, [2, 3], [5, 1])),
    tensor("negative offset", says: "negative", view(6, -1, [2, 3], [3, 1])),
    tensor("negative stride", says: "negative", view(6, 5, [6], [-1])),
    tensor("negative dimension", says: "negative", view(6, 0, [-2, -3], [3, 1])),
    tensor("overflowing stride", says: "beyond 2^63", view(6, 0, [3, 2], [1 << 62, 1])),
    tensor("overflowing offset", says: "beyond 2^63", view(6, .max, [3, 2], [1, 1])),
    tensor(
      "overflowing shape", says: "below 2^63", view(6, 0, [1 << 32, 1 << 32], [0, 0])),
    tensor("more strides than dimensions", says: "other arguments", view(6, 0, [6], [1, 1])),
    tensor(
      "too many dimensions", says: "more than 64 dimensions",
      view(6, 0, .init(repeating: 1, count: 65), .init(repeating: 1, count: 65))),
    tensor(
      "conjugate bit", says: "conjugate",
      plain(
        none.global("torch._utils", "_rebuild_tensor_v2").op(.MARK).storage("0", 6).int(0)
          .ints([6]).ints([1]).op(.NEWFALSE).op(.NONE).dictionary { $0.text("conj").op(.NEWTRUE) }
          .op(.TUPLE).op(.REDUCE))),
    tensor(
      "type beyond 64 bits", says: "torch complex128",
      plain(
        none.global("torch._utils", "_rebuild_tensor_v3").op(.MARK)
          .storage("0", 24, type: "torch.storage UntypedStorage").int(0).ints([1]).ints([1])
          .op(.NEWFALSE).op(.NONE).global("torch", "complex128").op(.TUPLE).op(.REDUCE))),
    id(
      "persistent id that is a text", says: "a text as persistent id",
      none.text("storage").op(.BINPERSID)),
    id("persistent id of a module", says: #"("module""#, none.storage("0", 6, kind: "module")),
    id(
      "storage without a type", says: "persistent id",
      none.op(.MARK).text("storage").text("torch FloatStorage").text("0").text("cpu").int(6)
        .op(.TUPLE).op(.BINPERSID)),
    id("negative count", says: "-1 elements", none.storage("0", -1)),
    id("overflowing count", says: "below 2^63", none.storage("0", 1 << 62)),
    id(
      "two types of one storage", says: "two types or sizes",
      none.storage("0", 6).storage("0", 6, type: "torch IntStorage")),
    id(
      "two sizes of one storage", says: "two types or sizes",
      none.storage("0", 6).storage("0", 5)),
    id(
      "view of a storage", says: "before 0.4",
      none.op(.MARK).text("storage").global("torch", "FloatStorage").text("0").text("cpu").int(6)
        .op(.EMPTY_TUPLE).op(.TUPLE).op(.BINPERSID)),
  ]
}()

private func failure(_ bytes: [UInt8]) throws -> FormatError? {
  let folder = TemporaryFolder()
  do {
    _ = try PyTorchFile(folder.write("model.pt", bytes))
    return nil
  } catch {
    return error
  }
}

/// Refused in both forms, with the instruction's name and position; nothing ran.
@Test(arguments: calls + grammar + tensors)
private func refusesPickle(_ bad: BadPickle) throws {
  let folder = TemporaryFolder()
  _ = folder
  let zip = try #require(try failure(ZIPBytes.torch(bad.bytes).bytes))
  #expect(zip.field == bad.field, "\(zip)")
  #expect("\(zip)".contains(bad.says), "\(zip)")
  #expect("\(zip)".utf8.count < 1_000)
  if bad.field.hasPrefix("pickle.") { #expect(zip.fileOffset != nil) }
  #expect(!DirectoryListing.exists(canary))
  // In the legacy form other pickles follow, so what is cut short there is read on.
  guard !["empty", "no STOP", "bytes behind STOP"].contains(bad.name) else { return }
  let hasStorage = bad.field.hasPrefix("pickle.") || bad.name == "name twice"
  let file =
    hasStorage
    ? LegacyBytes.file(bad.bytes) : LegacyBytes.file(bad.bytes, keys: [], storages: [])
  let legacy = try #require(try failure(file))
  #expect(legacy.field == bad.field || bad.says.hasPrefix("needs"), "\(legacy)")
  #expect(!DirectoryListing.exists(canary))
}

/// The position is that of the instruction in the file.
@Test func namesThePosition() throws {
  let payload = PickleBytes().op(.NONE).global("nt", "system")
  let bytes = LegacyBytes.magic.bytes + LegacyBytes.version.bytes + LegacyBytes.info().bytes
  let error = try #require(try failure(bytes + payload.bytes))
  #expect(error.fileOffset == UInt64(bytes.count + 3))
  #expect("\(error)".contains("safetensors"))
}

/// A pickle inside bytes is bytes.
@Test func passesOverNestedPickles() throws {
  let payload = command(PickleBytes().global("posix", "system")).op(.REDUCE).op(.STOP).bytes
  let pickle = PickleBytes.plain {
    $0.text("layer._extra_state").global("_io", "BytesIO").op(.EMPTY_TUPLE).op(.NEWOBJ)
      .op(.SHORT_BINBYTES, [UInt8(payload.count)] + payload).int(0).op(.NONE).op(.TUPLE3).op(.BUILD)
  }
  let folder = TemporaryFolder()
  let file = try PyTorchFile(folder.write("model.pt", ZIPBytes.torch(pickle).bytes))
  #expect(file.tensors.map(\.name) == ["t"])
  #expect(file.notes.count == 1)
  #expect(!DirectoryListing.exists(canary))
}

/// Python 2 wrote dictionaries as lists of pairs and texts as bytes.
@Test func readsWhatPython2Wrote() throws {
  let pickle = PickleBytes().global("collections", "OrderedDict").op(.EMPTY_LIST).op(.MARK)
    .op(.EMPTY_LIST).op(.MARK).op(.SHORT_BINSTRING, [1] + Array("t".utf8))
    .tensor("0", storageCount: 6, shape: [3, 2], strides: [1, 3]).op(.APPENDS).op(.APPENDS)
    .op(.TUPLE1).op(.REDUCE).op(.STOP)
  let folder = TemporaryFolder()
  let file = try PyTorchFile(folder.write("model.pt", LegacyBytes.file(pickle)))
  #expect(file.tensors.map(\.name) == ["t"])
  var bytes = [UInt8](repeating: 0, count: 24)
  try bytes.withUnsafeMutableBytes { try file.read(file.tensors[0], at: 0, into: $0) }
  #expect(bytes == [0, 3, 1, 4, 2, 5].flatMap { littleEndian(Float($0).bitPattern) })
}

/// Large bytes and texts that no tensor needs are not kept.
@Test func keepsNoLargeTexts() throws {
  let count = 40 << 20
  let pickle = PickleBytes.plain {
    $0.text("note").number(.BINUNICODE, UInt32(count)).then([UInt8](repeating: 0x61, count: count))
  }
  let folder = TemporaryFolder()
  let path = folder.write("model.pt", ZIPBytes.torch(pickle).bytes)
  let file = try PyTorchFile(path)
  #expect(file.tensors.count == 1)
}
