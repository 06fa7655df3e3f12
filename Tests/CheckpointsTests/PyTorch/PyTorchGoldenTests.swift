import ByteIO
import Checkpoints
import Tensors
import TestSupport
import Testing

/// One tensor of `Fixtures/golden/pytorch/expected.tsv`.
private struct ExpectedTensor {
  var name: String
  var type: String
  var shape: String
  var crc32: UInt32

  /// By file, in the order of the state dictionary.
  static func all() throws -> [String: [ExpectedTensor]] {
    var result: [String: [ExpectedTensor]] = [:]
    let text = String(decoding: try Fixtures.bytes("golden/pytorch/expected.tsv"), as: UTF8.self)
    for line in text.split(separator: "\n").dropFirst(2) {
      let cells = line.split(separator: "\t").map(String.init)
      let crc = try #require(UInt32(cells[4]))
      result[cells[0], default: []].append(
        ExpectedTensor(
          name: cells[1], type: cells[2], shape: cells[3] == "-" ? "" : cells[3], crc32: crc))
    }
    return result
  }
}

private func open(_ name: String) throws -> PyTorchFile {
  try PyTorchFile(Fixtures.path("golden/pytorch/" + name))
}

private func bytes(_ source: some TensorSource, _ tensor: TensorDescriptor, chunk: Int? = nil)
  throws -> [UInt8]
{
  var bytes = [UInt8](repeating: 0xA5, count: tensor.byteCount)
  try bytes.withUnsafeMutableBytes { buffer in
    let step = max(1, chunk ?? buffer.count)
    for start in stride(from: 0, to: buffer.count, by: step) {
      let end = min(start + step, buffer.count)
      try source.read(
        tensor, at: start, into: UnsafeMutableRawBufferPointer(rebasing: buffer[start..<end]))
    }
  }
  return bytes
}

/// Files that torch wrote: strides, offsets, shared and expanded storages, every element type,
/// protocols 2 to 5, parameters with attributes, `_metadata`, wrapped dictionaries.
///
/// Origin: Fixtures/golden/pytorch/make_files.py.
@Test func readsWhatTorchWrote() throws {
  let files = try ExpectedTensor.all()
  #expect(files.count == 15)
  for (name, expected) in files {
    let file = try open(name)
    #expect(file.tensors.map(\.name.string) == expected.map(\.name), "\(name)")
    for (tensor, row) in zip(file.tensors, expected) {
      let comment: Comment = "\(name): \(tensor.name)"
      #expect(tensor.type.name == row.type, comment)
      #expect(tensor.shape.dimensions.map(String.init).joined(separator: ",") == row.shape, comment)
      let bytes = try bytes(file, tensor)
      #expect(bytes.withUnsafeBytes { crc32($0) } == row.crc32, comment)
    }
    try file.checkUnchanged()
  }
}

/// Pieces of any length, also ones that cut elements, give the bytes of the whole.
@Test(arguments: ["views-zip.pt", "views-legacy.pt"])
func readsPiecesOfViews(_ name: String) throws {
  let file = try open(name)
  for tensor in file.tensors {
    let whole = try bytes(file, tensor)
    let lengths = tensor.byteCount > 10_000 ? [4_099, 30_000] : [1, 3, 7, 64, 100, 1_021]
    for length in lengths {
      #expect(try bytes(file, tensor, chunk: length) == whole, "\(tensor.name) by \(length)")
    }
  }
  try file.checkUnchanged()
}

@Test func readsViewsFromManyThreads() async throws {
  let file = try open("views-zip.pt")
  let whole = try file.tensors.map { try bytes(file, $0) }
  try await withThrowingTaskGroup(of: Bool.self) { group in
    for round in 0..<8 {
      group.addTask {
        for (tensor, expected) in zip(file.tensors, whole) where tensor.byteCount < 10_000 {
          let found = try bytes(file, tensor, chunk: 5 + round * 13)
          if found != expected { return false }
        }
        return true
      }
    }
    for try await isEqual in group { #expect(isEqual) }
  }
}

@Test func saysWhatWasLeftOut() throws {
  #expect(try open("nested.pt").notes == ["tensors are those under \"model.module\""])
  let mixed = try open("mixed.pt").notes
  #expect(
    mixed == [
      "left out, because they are no tensors: layer._extra_state, step, rate, flag, nothing and 8 more"
    ])
  #expect(try open("module.pt").notes.isEmpty)
}

// MARK: Checksums

private func flipped(_ name: String, at find: (PyTorchFile) throws -> Int) throws
  -> (TemporaryFolder, PyTorchFile)
{
  let folder = TemporaryFolder()
  var bytes = try Fixtures.bytes("golden/pytorch/" + name)
  bytes[try find(try open(name))] ^= 1
  return (folder, try PyTorchFile(folder.write("x.pt", bytes)))
}

/// A flipped bit of a weight is found at the end of whatever read of that record, in any order.
@Test(arguments: [0, 1, 2, 3])
func findsDamagedRecords(_ way: Int) throws {
  let (folder, file) = try flipped("views-zip.pt") {
    Int($0.tensors[0].regions[0].fileOffset) + 1_000
  }
  try file.checkUnchanged()  // nothing of it was read yet
  let tensors = Dictionary(uniqueKeysWithValues: file.tensors.map { ($0.name.string, $0) })
  let base = try #require(tensors["base"])
  var buffer = [UInt8](repeating: 0, count: 480)
  switch way {
  case 0: _ = try bytes(file, base, chunk: 77)
  case 1:
    for start in [480, 1440, 0, 960] {
      try buffer.withUnsafeMutableBytes { try file.read(base, at: start, into: $0) }
    }
  case 2: _ = try bytes(file, try #require(tensors["transposed"]))
  default:
    // A part that is whole itself: the rest of its record is read at the end.
    try buffer.withUnsafeMutableBytes { try file.read(base, at: 1440, into: $0) }
  }
  let error = try #require(throws: FormatError.self) { try file.checkUnchanged() }
  #expect("\(error)".contains("checksum"), "\(error)")
  #expect("\(error)".contains("zip entry views-zip/data/0"), "\(error)")
  #expect(error.file == folder.file("x.pt"))
}

@Test func acceptsPiecesInAnyOrderAndTwice() throws {
  let file = try open("views-zip.pt")
  let base = file.tensors[0]
  var buffer = [UInt8](repeating: 0, count: 480)
  for start in [960, 0, 1440, 0, 480, 240, 700] {
    try buffer.withUnsafeMutableBytes { try file.read(base, at: start, into: $0) }
  }
  try file.checkUnchanged()
}

@Test func checksumsOfNeighboursJoin() {
  let bytes = (0..<3_000).map { UInt8(truncatingIfNeeded: $0 * $0 >> 3) }
  func sum(_ part: ArraySlice<UInt8>) -> UInt32 { part.withUnsafeBytes { crc32($0) } }
  for cut in [0, 1, 2, 255, 256, 1_999, 2_999, 3_000] {
    let joined = CRC32.joined(
      sum(bytes[..<cut]), sum(bytes[cut...]), secondByteCount: UInt64(3_000 - cut))
    #expect(joined == sum(bytes[...]))
  }
}
