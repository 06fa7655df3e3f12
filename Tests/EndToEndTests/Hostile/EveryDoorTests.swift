import ByteIO
import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

private let llama3 = Fixtures.path("models/llama3")
private let text = Fixtures.path("text/eval.txt")

/// One error, no signal, no hang, nothing written.
private func expectNoHarm(_ arguments: [String], _ folder: TemporaryFolder, _ comment: String) {
  let result = Command.run([Command.ingot] + arguments)
  let errors = result.error.split(separator: "\n").filter { $0.hasPrefix("error: ") }
  #expect([65, 64].contains(result.status), "\(comment): \(result.status) \(result.error)")
  #expect(errors.count == 1, "\(comment): \(result.error)")
  #expect(folder.list("out").isEmpty, "\(comment): \(folder.list("out"))")
}

/// Every option that takes a file meets pipes, sockets, folders and files without end.
@Test(arguments: SpecialFile.allCases)
func refusesWhatIsNoFileAtEveryOption(_ kind: SpecialFile) throws {
  let folder = TemporaryFolder()
  folder.makeFolder("out")
  let out = folder.file("out/out")
  let archive = folder.file("a.gguf")
  #expect(
    Command.ingot("convert", llama3, "-o", archive, "--type", "Q8_0", "--progress", "none").status
      == 0)
  let special = folder.file("special")
  kind.put(at: special)
  let convert = ["convert", llama3, "-o", out]
  let verify = ["verify", llama3, archive, "--context", "32", "--chunks", "2"]
  for arguments in [
    convert + ["--imatrix", special], convert + ["--recipe", special],
    convert + ["--tensor-type-file", special], convert + ["--chat-template", special],
    verify + ["--text", special], verify + ["--text", text, "--policy", special],
    ["verify", special, archive, "--text", text], ["verify", llama3, special, "--text", text],
    ["calibrate", llama3, "-o", out, "--text", special],
    ["calibrate", "-o", out, "--merge", special],
    ["plan", llama3, "--target-bpw", "5", "-o", out, "--text", special],
    ["plan", llama3, "--target-bpw", "5", "-o", out, "--imatrix", special],
    ["plan", special, "--target-bpw", "5", "-o", out],
    ["tokenize", llama3, "--file", special], ["tokenize", special, "--text", "a"],
    ["check", archive, "--manifest", special], ["check", special], ["manifest", special],
    ["inspect", special],
  ] {
    // A policy and a text are read whole; nothing is at the end of /dev/null, which is no file.
    expectNoHarm(arguments, folder, "\(kind) \(arguments)")
  }
  rmdir(special)
}

/// Nothing is written through a special file either, and an output is never one.
@Test(arguments: SpecialFile.allCases)
func outputIsNoSpecialFile(_ kind: SpecialFile) throws {
  let folder = TemporaryFolder()
  folder.makeFolder("out")
  let special = folder.file("out/special")
  kind.put(at: special)
  let archive = folder.file("a.gguf")
  for arguments in [
    ["convert", llama3, "-o", special],
    ["convert", llama3, "-o", archive, "--manifest", special],
    ["convert", llama3, "-o", archive, "--modelfile", special],
  ] {
    let result = Command.run([Command.ingot] + arguments)
    #expect([64, 73].contains(result.status), "\(kind) \(arguments): \(result.error)")
    #expect(folder.list("out") == ["special"])
    #expect(!folder.list().contains("a.gguf"))
  }
  rmdir(special)
}

/// The numbers of an archive's header at their extremes, at every command that opens one.
@Test(arguments: 0..<24)
func extremeHeadersHarmNoCommand(_ word: Int) throws {
  let folder = TemporaryFolder()
  folder.makeFolder("out")
  let archive = folder.file("a.gguf")
  #expect(
    Command.ingot("convert", llama3, "-o", archive, "--type", "F16", "--progress", "none").status
      == 0)
  let sound = try PositionalFile.readAll(archive, limit: 64 << 20)
  let place = word < 6 ? word * 4 : 24 + (word - 6) * 11
  for value in [UInt32.max, 0, 1 << 31] {
    var bytes = sound
    for index in 0..<4 { bytes[place + index] = UInt8(truncatingIfNeeded: value >> (index * 8)) }
    if bytes == sound { continue }
    let path = folder.write("bad.gguf", bytes)
    for arguments in [
      ["inspect", path], ["check", path], ["manifest", path], ["tokenize", path, "--text", "a"],
      ["verify", llama3, path, "--max-tensor-error", "0.5"],
      ["convert", path, "-o", folder.file("out/o.gguf"), "--type", "Q8_0", "--dry-run"],
      ["plan", path, "--target-bpw", "9", "-o", folder.file("out/r.json")],
      [
        "calibrate", path, "--text", text, "--chunks", "1", "--context", "32", "-o",
        folder.file("out/i.gguf"),
      ],
    ] {
      let result = Command.run([Command.ingot] + arguments)
      // A key that nothing needs may have changed.
      #expect(
        [0, 1, 64, 65].contains(result.status),
        "\(word) \(value) \(arguments): \(result.status) \(result.error)")
      if result.status > 1 {
        let errors = result.error.split(separator: "\n").filter { $0.hasPrefix("error: ") }
        #expect(errors.count == 1, "\(arguments): \(result.error)")
        #expect(folder.list("out").isEmpty)
      }
      for name in folder.list("out") { unlink(folder.file("out/" + name)) }
    }
  }
}
