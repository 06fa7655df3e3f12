import ByteIO
import StrictJSON
import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

private let llama3 = Fixtures.path("models/llama3")

/// Runs the command with a shell's redirections.
private func shell(_ redirection: String, _ arguments: [String]) -> CommandResult {
  Command.run(["/bin/sh", "-c", "exec \"$0\" \"$@\" \(redirection)", Command.ingot] + arguments)
}

private let commands: [[String]] = [
  ["inspect", llama3], ["inspect", llama3, "--json", "--tensors"],
  ["convert", llama3, "-o", "OUT", "--dry-run"], ["convert", llama3, "-o", "OUT"],
  ["check", "ARCHIVE"], ["check", "ARCHIVE", "--json"],
]

/// A result that could not be written is no success.
@Test(
  .enabled(if: access("/dev/full", W_OK) == 0), arguments: commands,
  [">/dev/full", ">&-", "1</dev/null"])
func resultThatCannotBeWrittenIsAnError(_ command: [String], _ redirection: String) throws {
  let folder = TemporaryFolder()
  let archive = folder.file("archive.gguf")
  #expect(Command.ingot("convert", llama3, "-o", archive, "--type", "Q8_0").status == 0)
  let arguments = command.map { ["OUT": folder.file("out.gguf"), "ARCHIVE": archive][$0] ?? $0 }
  let result = shell(redirection, arguments)
  #expect(result.status == 74, "\(result)")
  #expect(result.error.hasPrefix("error: cannot write standard output"), "\(result.error)")
}

/// A reader that has seen enough is no reason for a message, and none for a signal.
@Test func closedPipeEndsQuietly() {
  let result = Command.run([
    "/bin/sh", "-c", "(sleep 0.2; \"$0\" inspect \"$1\" --tensors; echo $? >&2) | :",
    Command.ingot, llama3,
  ])
  #expect(result.error == "74\n")
}

/// Messages never reach the archive, whichever streams are closed.
@Test(arguments: ["2>&-", "1>&- 2>&-", "0<&-", "0<&- 1>&- 2>&-", "2>/dev/full"])
func closedStreamsDoNotReachTheArchive(_ redirection: String) throws {
  let folder = TemporaryFolder()
  let plain = folder.file("a/x.gguf")
  let other = folder.file("b/x.gguf")
  for name in ["a", "b"] { mkdir(folder.file(name), 0o755) }
  #expect(Command.ingot("convert", llama3, "-o", plain, "--type", "Q8_0").status == 0)
  let result = shell(
    redirection, ["convert", llama3, "-o", other, "--type", "Q8_0", "--progress", "json"])
  #expect(result.status == (redirection.contains("1>&-") ? 74 : 0))
  #expect(
    try PositionalFile.readAll(plain, limit: 64 << 20)
      == PositionalFile.readAll(other, limit: 64 << 20))
  let failed = shell(redirection, ["inspect", folder.file("none")])
  #expect(failed.status == 66)
}

/// Neither the time zone nor the language nor the folder changes a byte.
@Test func bytesDoNotDependOnTheEnvironment() throws {
  let folder = TemporaryFolder()
  folder.link("elsewhere/llama3", to: llama3)
  var files: [[UInt8]] = []
  for (number, (settings, input)) in [
    (["TZ=UTC", "LANG=C"], llama3),
    (["TZ=Asia/Kathmandu", "LANG=tr_TR.UTF-8", "LC_ALL=tr_TR.UTF-8"], llama3),
    (["TZ=America/St_Johns", "LC_ALL=de_DE.ISO-8859-1", "LC_NUMERIC=de_DE"], llama3),
    (["HOME=/nowhere", "TMPDIR=/nowhere", "COLUMNS=1"], folder.file("elsewhere/llama3")),
    (["-i"], llama3),
  ].enumerated() {
    let output = folder.file("\(number).gguf")
    let result = Command.run(
      ["/usr/bin/env"] + settings + [Command.ingot, "convert", input, "-o", output])
    #expect(result.status == 0, "\(settings): \(result.error)")
    files.append(try PositionalFile.readAll(output, limit: 64 << 20))
  }
  for file in files.dropFirst() { #expect(file == files[0]) }
}

/// Nothing that the checkpoint consists of can be overwritten by the result.
@Test func outputNeverReplacesAFileOfTheCheckpoint() throws {
  let variant = CheckpointVariant()
  let names = variant.folder.list("checkpoint")
  for name in names {
    let result = Command.ingot("convert", variant.path, "-o", variant.path + "/" + name)
    #expect(result.status == 64, "\(name): \(result.error)")
  }
  #expect(variant.folder.list("checkpoint") == names)
  for modelfile in [
    variant.output, variant.outputFolder + "/./out.gguf",
    variant.path + "/" + CheckpointVariant.firstShard,
  ] {
    let result = variant.convert(["--modelfile", modelfile])
    #expect(result.status == 64, "\(modelfile): \(result.error)")
    #expect(variant.outputs.isEmpty)
  }
  // An archive inside the checkpoint's folder is as good as anywhere.
  let inside = Command.ingot("convert", variant.path, "-o", variant.path + "/model.gguf")
  #expect(inside.status == 0, "\(inside.error)")
}

/// A file that is refused takes no memory to speak of, whatever its header claims.
///
/// The whole address space is limited to 128 MiB, program and libraries included; an allocation
/// beyond that would end the process by a signal.
@Test func refusedFilesTakeLittleMemory() throws {
  let folder = TemporaryFolder()
  let lying = folder.write(
    "lying.gguf",
    Array("GGUF".utf8) + [3, 0, 0, 0] + [UInt8](repeating: 0xFF, count: 16)
      + [UInt8](repeating: 0, count: 4096))
  let variant = CheckpointVariant()
  try variant.editShard(CheckpointVariant.firstShard) { $0.declaredByteCount = 99_999_999 }
  let large = CheckpointVariant()
  try large.configure("vocab_size", "16777216")
  try large.configure("num_hidden_layers", "512")
  let nested = CheckpointVariant()
  nested.write("config.json", [UInt8](repeating: UInt8(ascii: "["), count: 8 << 20))
  for arguments in [
    ["inspect", lying], ["check", lying], ["convert", lying, "-o", variant.output, "--dry-run"],
    ["inspect", variant.path], ["convert", variant.path, "-o", variant.output, "--dry-run"],
    ["convert", large.path, "-o", large.output, "--dry-run"],
    ["convert", nested.path, "-o", nested.output, "--dry-run"],
  ] {
    let result = Command.ingot(addressSpace: 128, arguments)
    expectRefusal(result, status: 65, says: [], leaving: [], "\(arguments)")
  }
}
