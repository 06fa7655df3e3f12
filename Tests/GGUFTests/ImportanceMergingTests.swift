import ByteIO
import GGUF
import TestSupport
import Testing

private func part(
  _ entries: [ExactString: ImportanceSums.Entry], chunkSize: Int? = 4, file: String = "a"
) -> ImportanceSums {
  ImportanceSums(
    entries: entries, datasets: [file + ".txt"], chunkCount: 1, chunkSize: chunkSize, file: file)
}

@Test func sumsAndCountsAddUp() throws {
  let merged = try ImportanceSums.merged([
    part(["x": .init(sums: [1, 2], counts: [8]), "y": .init(sums: [5], counts: [4])]),
    part(["x": .init(sums: [10, 20], counts: [4])], chunkSize: 2, file: "b"),
  ])
  #expect(merged.entries["x"] == .init(sums: [11, 22], counts: [12]))
  #expect(merged.entries["y"] == .init(sums: [5], counts: [4]))
  #expect(merged.datasets == ["a.txt", "b.txt"])
  // 12 tokens in chunks of the first file's size.
  #expect(merged.chunkSize == 4 && merged.chunkCount == 3)
}

@Test func oneCountHoldsForAllExperts() throws {
  let stacked = part(["x": .init(sums: [1, 2, 3, 4], counts: [1, 0])])
  let old = part(["x": .init(sums: [10, 10, 10, 10], counts: [5])], file: "b")
  for parts in [[stacked, old], [old, stacked]] {
    let merged = try ImportanceSums.merged(parts)
    #expect(merged.entries["x"] == .init(sums: [11, 12, 13, 14], counts: [6, 5]))
  }
}

@Test func aCallOfTheOlderFormIsAChunk() throws {
  let old = part(["x": .init(sums: [1, 3], counts: [2])], chunkSize: nil)
  let new = part(["x": .init(sums: [1, 1], counts: [4])], file: "b")
  let merged = try ImportanceSums.merged([old, new])
  #expect(merged.entries["x"] == .init(sums: [5, 13], counts: [12]))
  #expect(try ImportanceSums.merged([old]).entries["x"]?.counts == [1024])
  #expect(try ImportanceSums.merged([old], chunkSize: 8).entries["x"]?.counts == [16])
}

@Test func otherSizesAreRefused() throws {
  let one = part(["x": .init(sums: [1, 2], counts: [1])])
  let others = [
    ImportanceSums.Entry(sums: [1, 2, 3], counts: [1]),
    ImportanceSums.Entry(sums: [1, 2, 3, 4], counts: [1, 1]),
  ]
  for other in others {
    do {
      _ = try ImportanceSums.merged([one, part(["x": other], file: "b")])
      Issue.record("accepted")
    } catch {
      #expect(error.file == "b" && error.field == "imatrix[x]")
    }
  }
  // Two models whose layers have one size.
  let entry = ImportanceSums.Entry(sums: [1], counts: [1])
  let (short, long) = (part(["blk.1.x": entry]), part(["blk.1.x": entry, "blk.2.x": entry]))
  #expect(throws: FormatError.self) { try ImportanceSums.merged([short, long]) }
  let large = part(["x": .init(sums: [.greatestFiniteMagnitude], counts: [1])])
  #expect(throws: FormatError.self) { try ImportanceSums.merged([large, large]) }
}

/// What is read from a file of the tool is written as the tool wrote it, byte for byte.
@Test(arguments: ["llama2", "llama3", "llama2-eval", "llama3-eval"])
func writesWhatTheToolWrites(_ name: String) throws {
  let folder = TemporaryFolder()
  let path = Fixtures.path("models/imatrix/\(name).gguf")
  let output = try OutputFile(folder.file("copy"))
  let byteCount = try ImportanceSums(path).write(to: output)
  try output.commit()
  let bytes = try Fixtures.bytes("models/imatrix/\(name).gguf")
  #expect(byteCount == UInt64(bytes.count))
  #expect(try PositionalFile.readAll(folder.file("copy"), limit: 1 << 20) == bytes)
}

/// `llama2.dat` was made from `llama2.gguf`; the tool's context was 512.
@Test func theOlderFormBecomesSumsAgain() throws {
  let new = try ImportanceSums(Fixtures.path("models/imatrix/llama2.gguf"))
  let old = try ImportanceSums.merged([
    try ImportanceSums(Fixtures.path("models/imatrix/llama2.dat"))
  ])
  for (name, entry) in new.entries {
    let other = try #require(old.entries[name])
    // The tool rounded 32,512 tokens up to whole chunks of 512, and their sums with them.
    #expect(other.counts == [32_768])
    for (a, b) in zip(other.sums, entry.sums) {
      #expect(abs(a / 32_768 - b / 32_512) <= 4 * Float.ulpOfOne * b / 32_512)
    }
  }
}

/// An expert without data gets the others' average: by columns where inputs are shared.
@Test func missingExpertsAreEstimated() throws {
  var sums = part([
    "blk.0.ffn_up_exps.weight": .init(sums: [2, 4, 0, 0, 4, 20], counts: [1, 0, 2]),
    "blk.0.ffn_down_exps.weight": .init(sums: [2, 4, 0, 0, 4, 20], counts: [1, 0, 2]),
    "blk.0.attn_q.weight": .init(sums: [1, 2], counts: [3]),
    "blk.1.ffn_up_exps.weight": .init(sums: [0, 0], counts: [0, 0]),
  ])
  let found = sums.estimateMissing()
  #expect(found.map(\.matrix) == ["blk.0.ffn_down_exps.weight", "blk.0.ffn_up_exps.weight"])
  #expect(found.allSatisfy { $0.experts == [1] })
  #expect(
    sums.entries["blk.0.ffn_up_exps.weight"]
      == .init(sums: [2, 4, 2, 8, 4, 20], counts: [1, 1, 2]))
  #expect(
    sums.entries["blk.0.ffn_down_exps.weight"]
      == .init(sums: [2, 4, 5, 5, 4, 20], counts: [1, 1, 2]))
  #expect(sums.entries["blk.0.attn_q.weight"] == .init(sums: [1, 2], counts: [3]))
  // Nobody to take an average of.
  #expect(sums.entries["blk.1.ffn_up_exps.weight"] == .init(sums: [0, 0], counts: [0, 0]))
}
