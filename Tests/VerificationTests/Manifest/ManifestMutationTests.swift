import ByteIO
import StrictJSON
import TestSupport
import Testing
import Verification

/// A trap would end the process; what is accepted keeps the rules of the page.
@Test func changedManifestsAreRefusedOrSound() throws {
  var generator = SplitMix64(seed: 3)
  let page = String(
    decoding: try PositionalFile.readAll(
      Fixtures.root + "/formats/manifest.md", limit: 1 << 20), as: UTF8.self)
  let text = page.split(separator: "\n").filter { $0.hasPrefix("    ") }.joined(separator: "\n")
  let sound = try JSONValue(parsing: Array(text.utf8), file: "manifest.md")
  let folder = TemporaryFolder()
  let archive = folder.write("model.gguf", try ExampleModel().bytes())
  var accepted = 0
  let cases = 3000
  for index in 0..<cases {
    let bytes = sound.mutated(by: &generator)
    do throws(FormatError) {
      let manifest = try ArchiveManifest(parsing: bytes, file: "m.json")
      accepted += 1
      #expect(Set(manifest.tensors.map(\.name)).count == manifest.tensors.count)
      for file in manifest.files {
        #expect(!file.name.isEmpty && !file.name.contains("/") && file.sha256.utf8.count == 64)
      }
      for tensor in manifest.tensors {
        let file = manifest.files[tensor.file]
        #expect(tensor.fileOffset + UInt64(tensor.byteCount) <= file.byteCount)
      }
      // None describes this archive, and comparing says so.
      if accepted % 20 == 0 {
        let check = ArchiveCheck(rules: .forTests)
        #expect(!(try check.run(archive, against: manifest).passed))
      }
    } catch {
      #expect(!"\(error)".contains("\n"), "case \(index): \(error)")
    }
  }
  #expect(accepted > 30 && accepted < cases, "\(accepted)")
}
