import ByteIO
import Ingot
import TestSupport
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A file of a checkpoint that is changed at random, and what is done with the result.
enum MutatedFile: String, CaseIterable, Sendable {
  case configuration = "config.json"
  case tokenizer = "tokenizer.json"
  case tokenizerSettings = "tokenizer_config.json"
  case vocabulary = "tokenizer.model"
  case index = "model.safetensors.index.json"
  case weights = "model.safetensors"
  case card = "README.md"
  case archive = "model.gguf"

  var model: String { self == .vocabulary ? "llama2" : "llama3" }

  /// Cases of an ordinary run; `INGOT_MUTATIONS=n` makes it `n` of each.
  var caseCount: Int {
    if let text = getenv("INGOT_MUTATIONS"), let count = Int(String(cString: text)) { return count }
    switch self {
    case .tokenizer, .vocabulary, .archive: return 300
    default: return 800
    }
  }
}

/// Changes that keep most of a file's structure, so that they reach beyond the first check.
struct Mutator {
  var generator: SplitMix64
  /// Words that are put where others stand.
  var words: [[UInt8]]

  private static let numbers = [
    "0", "-1", "1", "2", "255", "256", "32767", "65536", "2147483647", "2147483648", "4294967295",
    "4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551615",
    "18446744073709551616", "1e308", "1e-320", "1e999", "0.5", "-0", "1.0", "99999999999999999999",
    "null", "true", "[]", "{}", "\"\"", "NaN", "\"\\ud800\"", "[[[[]]]]",
  ].map { Array($0.utf8) }

  init(seed: UInt64, words: [[UInt8]] = []) {
    generator = SplitMix64(seed: seed)
    self.words = words
  }

  private mutating func below(_ limit: Int) -> Int { Int(generator.next() % UInt64(max(1, limit))) }

  /// One to four changes of text: values and keys replaced, removed, repeated, exchanged.
  mutating func text(_ original: [UInt8]) -> [UInt8] {
    var bytes = original
    for _ in 0...below(4) { changeText(&bytes) }
    return bytes
  }

  private mutating func changeText(_ bytes: inout [UInt8]) {
    guard !bytes.isEmpty else { return }
    let range = token(in: bytes)
    switch below(8) {
    case 0, 1, 2:
      bytes.replaceSubrange(range, with: Self.numbers[below(Self.numbers.count)])
    case 3: bytes.replaceSubrange(range, with: bytes[token(in: bytes)])
    case 4: bytes.removeSubrange(range)
    case 5: bytes.insert(contentsOf: bytes[range], at: range.lowerBound)
    case 6: bytes[below(bytes.count)] = UInt8(truncatingIfNeeded: generator.next())
    default:
      let start = below(bytes.count)
      let end = min(bytes.count, start + below(200))
      if below(2) == 0 {
        bytes.removeSubrange(start..<end)
      } else {
        bytes.insert(contentsOf: bytes[start..<end], at: below(bytes.count))
      }
    }
  }

  /// A run of bytes between punctuation, somewhere.
  private mutating func token(in bytes: [UInt8]) -> Range<Int> {
    let marks = Set("{}[]:,\n".utf8)
    var start = below(bytes.count)
    var end = start
    while start > 0, end - start < 100, !marks.contains(bytes[start - 1]) { start -= 1 }
    while end < bytes.count, end - start < 200, !marks.contains(bytes[end]) { end += 1 }
    while start < end, bytes[start] == UInt8(ascii: " ") { start += 1 }
    return start..<end
  }

  /// One to four changes of binary data before `limit`: extreme integers, bytes, bits, moves.
  mutating func binary(_ original: [UInt8], limit: Int) -> [UInt8] {
    var bytes = original
    for _ in 0...below(4) {
      let place = below(min(limit, bytes.count))
      switch below(6) {
      case 0: bytes[place] ^= 1 << UInt8(below(8))
      case 1: bytes[place] = [0, 1, 0x7F, 0x80, 0xFF][below(5)]
      case 2, 3:
        let width = below(2) == 0 ? 4 : 8
        let value = extreme()
        for index in 0..<width where place + index < bytes.count {
          bytes[place + index] = UInt8(truncatingIfNeeded: value >> (index * 8))
        }
      case 4:
        let end = min(bytes.count, place + 1 + below(16))
        bytes.insert(contentsOf: bytes[place..<end], at: below(min(limit, bytes.count)))
      default: bytes.remove(at: place)
      }
      if bytes.isEmpty { break }
    }
    return bytes
  }

  private mutating func extreme() -> UInt64 {
    let base = UInt64(1) << UInt64(below(64))
    return [base, base &- 1, base &+ 1, 0 &- base, UInt64(below(300)), .max][below(6)]
  }
}

/// The checkpoint around the file: a small one where the whole file is rewritten every time.
private struct Subject {
  private let file: MutatedFile
  private let variant: CheckpointVariant?
  private let folder = TemporaryFolder()
  var path: String { variant?.path ?? folder.file("tiny") }

  init(_ file: MutatedFile) {
    self.file = file
    variant = [.weights, .archive].contains(file) ? nil : CheckpointVariant(file.model)
    if variant == nil { SmallModel.all[0].write(to: folder) }
  }

  func write(_ bytes: [UInt8]) {
    if let variant {
      variant.write(file.rawValue, bytes)
    } else {
      folder.write("tiny/" + file.rawValue, bytes)
    }
  }
}

/// Whatever stands in a file, it is planned or refused: a trap would end the test's process.
@Test(arguments: MutatedFile.allCases)
func survivesMutation(_ file: MutatedFile) throws {
  let subject = Subject(file)
  let original: [UInt8]
  switch file {
  case .archive:
    _ = try Converter(
      checkpoint: subject.path, output: subject.path + "/model.gguf", memoryLimit: testMemoryLimit
    ).run()
    original = try PositionalFile.readAll(subject.path + "/model.gguf", limit: 64 << 20)
  case .card:
    original = Array(
      """
      ---
      license: llama3.2
      base_model:
      - meta-llama/Llama-3.2-1B
      - a/b
      language: [en, de]
      tags: [x, "y", 'z']
      datasets:
        - name: one
          url: https://huggingface.co/a/b
      pipeline_tag: text-generation
      ---
      # Model
      """.utf8)
  default:
    original = try PositionalFile.readAll(subject.path + "/" + file.rawValue, limit: 64 << 20)
  }
  var mutator = Mutator(seed: 1)
  // Metadata and tensor infos of the small archive; its data is no structure.
  let headerByteCount = file == .weights ? 2_000 : 120_000
  var accepted = 0
  for number in 0..<file.caseCount {
    let changed: [UInt8]
    switch file {
    case .vocabulary: changed = mutator.binary(original, limit: original.count)
    case .archive: changed = mutator.binary(original, limit: headerByteCount)
    case .weights:
      if number % 4 == 0 {
        changed = mutator.binary(original, limit: headerByteCount)
      } else {
        // The header's length follows, so that the change is read as JSON.
        var image = SafetensorsImage(original)
        image.header = String(
          decoding: mutator.text(Array(image.header.utf8)), as: UTF8.self)
        changed = image.bytes
      }
    default: changed = mutator.text(original)
    }
    subject.write(changed)
    let input = subject.path + (file == .archive ? "/model.gguf" : "")
    do {
      var recipe = Recipe()
      recipe.type = file == .archive ? "copy" : "Q4_K_M"
      let converter = try Converter(
        checkpoint: input, output: subject.path + ".gguf", recipe: recipe,
        memoryLimit: testMemoryLimit)
      accepted += 1
      _ = converter.plan.json
      _ = converter.plan.table
      _ = try Inspection(input).json(showsTensors: true, showsMetadata: true)
      _ = try Inspection(input).table(showsTensors: true, showsMetadata: true)
    } catch let error as FormatError {
      let text = "\(error)"
      #expect(text.hasPrefix(subject.path), "\(text)")
      #expect(!text.contains("\n") && text.utf8.count < 4_000)
    }
    if file == .archive { _ = try? ArchiveReport(checking: input, threadCount: 1).json }
  }
  // Some changes are harmless; if none or all were, the mutator would miss its aim. A bad model
  // card, though, costs only what it would have said.
  #expect(accepted > 0, "\(accepted)")
  #expect(accepted < file.caseCount || file == .card, "\(accepted)")
}
