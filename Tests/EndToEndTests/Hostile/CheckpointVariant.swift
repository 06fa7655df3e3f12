import ByteIO
import StrictJSON
import SystemPackage
import TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A copy of a bundled checkpoint in a folder of its own; files are links until they are replaced.
final class CheckpointVariant {
  static let firstShard = "model-00001-of-00002.safetensors"
  static let secondShard = "model-00002-of-00002.safetensors"
  static let index = "model.safetensors.index.json"

  let folder = TemporaryFolder()
  private let model: String
  var path: String { folder.file("checkpoint") }
  /// Where outputs go: an empty folder beside the checkpoint.
  var outputFolder: String { folder.file("out") }
  var output: String { folder.file("out/out.gguf") }

  init(_ model: String = "llama3") {
    self.model = Fixtures.path("models/\(model)")
    mkdir(folder.file("checkpoint"), 0o755)
    mkdir(folder.file("out"), 0o755)
    for name in Self.names(self.model) {
      folder.link("checkpoint/" + name, to: self.model + "/" + name)
    }
  }

  private static func names(_ model: String) -> [String] {
    let single = ["model.safetensors", "tokenizer.model"]
    let sharded = [
      firstShard, secondShard, index, "tokenizer.json", "special_tokens_map.json",
    ]
    return ["config.json", "generation_config.json", "tokenizer_config.json"]
      + (model.hasSuffix("llama2") ? single : sharded)
  }

  func original(_ name: String) throws -> [UInt8] {
    try PositionalFile.readAll(model + "/" + name, limit: 64 << 20)
  }

  func remove(_ name: String) { unlink(path + "/" + name) }

  func write(_ name: String, _ bytes: [UInt8]) {
    remove(name)
    folder.write("checkpoint/" + name, bytes)
  }

  func write(_ name: String, _ text: String) { write(name, Array(text.utf8)) }

  func link(_ name: String, to target: String) {
    remove(name)
    folder.link("checkpoint/" + name, to: target)
  }

  /// Replaces the first occurrence of a text in a file, which has to be there.
  func edit(_ name: String, _ old: String, _ new: String) throws {
    let present = try PositionalFile.readAll(path + "/" + name, limit: 64 << 20)
    let text = String(decoding: present, as: UTF8.self)
    precondition(!text.ranges(of: old).isEmpty, "\(old) is not in \(name)")
    write(name, text.replacing(old, with: new, maxReplacements: 1))
  }

  /// Changes a member of `config.json` whose value stands on one line.
  func configure(_ member: String, _ value: String) throws {
    var text = String(decoding: try original("config.json"), as: UTF8.self)
    if let range = text.ranges(of: "\"\(member)\": ").first {
      let end = text[range.upperBound...].firstIndex { $0 == "," || $0 == "\n" } ?? text.endIndex
      text.replaceSubrange(range.upperBound..<end, with: value)
    } else {
      text = text.replacing("{\n", with: "{\n  \"\(member)\": \(value),\n", maxReplacements: 1)
    }
    write("config.json", text)
  }

  func editShard(_ name: String, _ change: (inout SafetensorsImage) throws -> Void) throws {
    var image = SafetensorsImage(try original(name))
    try change(&image)
    write(name, image.bytes)
  }

  /// Runs `ingot convert` on it.
  func convert(_ options: [String] = []) -> CommandResult {
    Command.run([Command.ingot, "convert", path, "-o", output] + options)
  }

  var outputs: [String] { folder.list("out") }
}

/// A safetensors file taken apart.
struct SafetensorsImage {
  var header: String
  var data: [UInt8]
  /// What the length field says, if not the truth.
  var declaredByteCount: UInt64?

  init(_ bytes: [UInt8]) {
    let count = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
    header = String(decoding: bytes[8..<8 + count], as: UTF8.self)
    data = Array(bytes[(8 + count)...])
  }

  init(_ tensors: [(name: String, type: String, shape: [Int], data: [UInt8])]) {
    var entries: [String] = []
    data = []
    for tensor in tensors {
      let begin = data.count
      data += tensor.data
      entries.append(
        "\"\(tensor.name)\":{\"dtype\":\"\(tensor.type)\",\"shape\":\(tensor.shape),"
          + "\"data_offsets\":[\(begin),\(data.count)]}")
    }
    header = "{" + entries.joined(separator: ",") + "}"
  }

  var bytes: [UInt8] {
    let text = Array(header.utf8)
    let count = declaredByteCount ?? UInt64(text.count)
    return (0..<8).map { UInt8(truncatingIfNeeded: count >> ($0 * 8)) } + text + data
  }

  mutating func replace(_ old: String, _ new: String) {
    precondition(!header.ranges(of: old).isEmpty, "\(old) is not in the header")
    header = header.replacing(old, with: new, maxReplacements: 1)
  }

  var tensors: [(name: String, type: String, shape: [Int], data: [UInt8])] {
    get throws {
      let document = try JSONValue(parsing: Array(header.utf8), file: "header")
      return (document.object?.members ?? []).compactMap { name, entry in
        guard let type = entry["dtype"]?.string, let shape = entry["shape"]?.array,
          let offsets = entry["data_offsets"]?.array?.compactMap(\.int), offsets.count == 2
        else { return nil }
        return (name, type, shape.compactMap(\.int), Array(data[offsets[0]..<offsets[1]]))
      }
    }
  }

  /// Overwrites the bytes of one weight.
  mutating func set(_ name: String, row: Int, column: Int, _ weight: [UInt8]) throws {
    let document = try JSONValue(parsing: Array(header.utf8), file: "header")
    guard let entry = document[name], let begin = entry["data_offsets"]?.array?[0].int,
      let columns = entry["shape"]?.array?.last?.int
    else { preconditionFailure("no tensor \(name)") }
    let start = begin + (row * columns + column) * weight.count
    data.replaceSubrange(start..<start + weight.count, with: weight)
  }
}
