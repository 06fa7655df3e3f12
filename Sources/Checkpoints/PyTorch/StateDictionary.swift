import ByteIO
import Tensors

/// The named tensors of a pickle's value.
///
/// A training script wraps them: the dictionary under `state_dict`, `model` or `module` is taken
/// where there is exactly one of them, and again inside it. Entries that are no tensors are left
/// out and named in a note.
struct StateDictionary {
  static let wrapperKeys: [ExactString] = ["state_dict", "model", "module"]
  static let maximumDepth = 4
  /// Names of entries that a note shows.
  private static let shownCount = 5

  var tensors: [(name: ExactString, tensor: PickledTensor)] = []
  var notes: [String] = []

  init(_ root: PickleValue, _ heap: PickleHeap, file: String) throws(FormatError) {
    guard case .dictionary(var dictionary) = root else {
      throw FormatError(
        file: file, field: "pickle",
        reason: .unsupported(found: root.kind, allowed: "a dictionary of tensors"))
    }
    var path: [String] = []
    while let (key, inner) = try Self.wrapped(dictionary, heap, file: file) {
      path.append(key)
      dictionary = inner
      guard path.count <= Self.maximumDepth else {
        throw FormatError(
          file: file, field: path.joined(separator: "."),
          reason: .outOfRange(
            found: "more than \(Self.maximumDepth) dictionaries inside each other",
            allowed: "at most \(Self.maximumDepth)"))
      }
    }
    if !path.isEmpty { notes.append("tensors are those under \"\(path.joined(separator: "."))\"") }
    try read(dictionary, heap, file: file)
  }

  /// The one dictionary inside that holds the tensors, if the tensors are not here.
  private static func wrapped(_ dictionary: Int, _ heap: PickleHeap, file: String)
    throws(FormatError) -> (key: String, dictionary: Int)?
  {
    var found: [(key: String, dictionary: Int)] = []
    for (key, value) in heap.entries(dictionary) {
      if let key = heap.text(key), wrapperKeys.contains(key), case .dictionary(let inner) = value {
        found.append((key.string, inner))
      }
    }
    guard found.count <= 1 else {
      let keys = found.map { "\"\($0.key)\"" }.joined(separator: ", ")
      throw FormatError(
        file: file, field: "pickle",
        reason: .unsupported(found: "dictionaries under \(keys)", allowed: "one of them"),
        advice: "save the dictionary that you mean in a file of its own")
    }
    return found.first
  }

  private mutating func read(_ dictionary: Int, _ heap: PickleHeap, file: String)
    throws(FormatError)
  {
    var names: Set<ExactString> = []
    var skipped: [String] = []
    var skippedCount = 0
    for (key, value) in heap.entries(dictionary) {
      guard let name = heap.text(key), case .tensor(let tensor) = value else {
        if skippedCount < Self.shownCount {
          skipped.append(printable(heap.text(key)?.string ?? key.kind, limit: 60))
        }
        skippedCount += 1
        continue
      }
      guard names.insert(name).inserted else {
        throw FormatError(
          file: file, field: printable(name.string, limit: 120),
          reason: .duplicate("tensor of this name"))
      }
      tensors.append((name, heap.tensors[tensor]))
    }
    if skippedCount > 0 {
      let shown = skipped.joined(separator: ", ")
      let rest = skippedCount > skipped.count ? " and \(skippedCount - skipped.count) more" : ""
      notes.append("left out, because they are no tensors: \(shown)\(rest)")
    }
  }
}
