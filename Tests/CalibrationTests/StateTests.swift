import ByteIO
import Calibration
import GGUF
import Tensors
import TestSupport
import Testing

private let run = ["context 8", "3 chunks"]

private func example() -> CalibrationState {
  CalibrationState(
    run: run, chunkCount: 2, groupChunkCount: 1,
    inputs: [
      InputSums(matrices: ["a.weight", "b.weight"], sums: [1, 2.5, 3, 0], counts: [7, 0]),
      InputSums(matrices: ["c.weight"], sums: [1.0 / 3], counts: [9]),
    ])
}

@Test func aStateComesBackExactly() throws {
  let folder = TemporaryFolder()
  let path = folder.file("state")
  try example().write(path)
  let read = try #require(try CalibrationState(path, run: run, totalChunkCount: 3))
  #expect(read.chunkCount == 2 && read.groupChunkCount == 1 && read.run == run)
  #expect(read.inputs.map(\.matrices) == [["a.weight", "b.weight"], ["c.weight"]])
  #expect(read.inputs.map(\.allSums) == [[1, 2.5, 3, 0], [1.0 / 3]])
  #expect(read.inputs.map(\.allCounts) == [[7, 0], [9]])
  #expect(try CalibrationState(folder.file("none"), run: run, totalChunkCount: 3) == nil)
}

@Test func aStateOfAnotherRunIsRefused() throws {
  let folder = TemporaryFolder()
  let path = folder.file("state")
  try example().write(path)
  do {
    _ = try CalibrationState(path, run: ["context 16", "3 chunks"], totalChunkCount: 3)
    Issue.record("accepted")
  } catch {
    #expect(error.field == CalibrationState.Key.run)
    #expect("\(error)".contains("it had 'context 8', this one has 'context 16'"))
  }
  // All of its chunks cannot be done: the run would have ended.
  #expect(throws: FormatError.self) {
    try CalibrationState(path, run: run, totalChunkCount: 2)
  }
}

/// Whatever a byte becomes, the state is read or refused.
@Test func damagedStatesAreRefused() throws {
  let folder = TemporaryFolder()
  let path = folder.file("state")
  try example().write(path)
  let whole = try PositionalFile.readAll(path, limit: 1 << 16)
  // Behind the last number there is padding only.
  let ends = try GGUFFile(path).tensors.map { Int($0.regions[0].fileOffset) + $0.byteCount }
  for count in 0..<(try #require(ends.max())) {
    let cut = folder.write("cut", whole[..<count])
    #expect(throws: FormatError.self, "cut at \(count)") {
      try CalibrationState(cut, run: run, totalChunkCount: 3)
    }
  }
  var refused = 0
  for index in whole.indices {
    for value in [UInt8(0), 0xFF, whole[index] ^ 0x10] where value != whole[index] {
      var bytes = whole
      bytes[index] = value
      let path = folder.write("changed", bytes)
      do throws(FormatError) {
        _ = try CalibrationState(path, run: run, totalChunkCount: 3)
      } catch {
        refused += 1
      }
    }
  }
  #expect(refused > whole.count)
}

/// The page and the code name the same keys with the same types.
@Test func stateKeysMatchThePage() throws {
  let folder = TemporaryFolder()
  try example().write(folder.file("state"))
  let metadata = try GGUFFile(folder.file("state")).metadata
  let rows = try MarkdownTable(
    page: "imatrix.md", columns: ["key", "type"], after: "## State of an interrupted calibration"
  ).rows
  #expect(rows.map { $0["key"] } == metadata.keys.map(\.string))
  #expect(rows.map { $0["type"] } == metadata.entries.map { $0.value.pageName })
}

extension MetadataValue {
  fileprivate var pageName: String { strings == nil ? "\(ggufType)" : "array of string" }
}
