import ByteIO
import FuzzedReaders
import TestSupport
import Testing

/// What the fuzzer keeps is read in every build: a trap would end the test's process.
@Test(arguments: FuzzedReader.allCases)
func readsKeptCorpus(_ reader: FuzzedReader) throws {
  let names = try DirectoryListing.names(in: Fixtures.path("fuzz/\(reader.rawValue)")).sorted()
  let bench = FuzzBench()
  var accepted = 0
  for name in names {
    // Packed files as they lie there, not what is in them.
    let file = try PositionalFile(plain: Fixtures.path("fuzz/\(reader.rawValue)/\(name)"))
    let bytes = try file.read(at: 0, count: Int(file.byteCount))
    do {
      try reader.read(bytes, bench)
      accepted += 1
    } catch {
      let text = "\(error)"
      #expect(!text.contains("\n") && text.utf8.count < 4_000, "\(name): \(text)")
    }
  }
  // A corpus of one side only would not reach beyond the first check, or never meet it.
  #expect(accepted > 0 && names.count >= 4, "\(accepted) of \(names.count)")
  if reader != .card { #expect(accepted < names.count) }
}
