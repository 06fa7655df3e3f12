import ByteIO
import Tensors

/// The vocabulary that a tokenizer has once its configuration is applied.
///
/// The model's tokens keep their ids. Added tokens follow, in this order: those of
/// `tokenizer.json`, those of `added_tokens_decoder` by id, and special tokens that configuration
/// files name. One whose text the model or an earlier list has keeps that id; any other gets the
/// next free id after the vocabulary. A new text with another id is refused, and so is another id
/// inside `tokenizer.json`, because programs would disagree about its meaning.
struct LoadedVocabulary {
  /// By id.
  private(set) var added: [Int: AddedToken] = [:]
  private var addedIDs: [ExactString: Int] = [:]
  private var greatestAddedID = -1
  let model: BytePairModel

  init(_ file: TokenizerFile, startsWith tokens: [AddedToken]) throws(FormatError) {
    model = file.model
    for token in tokens {
      try add(token, file: file.path, field: "added_tokens")
    }
  }

  /// One past the greatest id in use.
  var end: Int { max(Int(model.ids.max() ?? -1), greatestAddedID) + 1 }

  /// Adds a token of a configuration file.
  ///
  /// A text that is known keeps its id, with a note if the file says another: the reference ignores
  /// the file's id there.
  mutating func add(_ token: AddedToken, file: String, field: String, notes: inout [String])
    throws(FormatError)
  {
    guard let known = knownID(of: token.content), known != token.id else {
      return try add(token, file: file, field: field)
    }
    notes.append(
      "\(field): token \"\(printable(token.content, limit: 80))\" has id \(token.id) there, but id"
        + " \(known) in tokenizer.json, which is kept")
    var token = token
    token.id = known
    insert(token)
  }

  /// Adds a token with the id that its file gives it.
  mutating func add(_ token: AddedToken, file: String, field: String) throws(FormatError) {
    guard !token.content.isEmpty else { return }
    let id = nextID(for: token.content)
    guard id == token.id else {
      throw FormatError(
        file: file, field: field,
        reason: .inconsistent(
          "token \"\(printable(token.content, limit: 80))\" has id \(token.id) here, but the"
            + " vocabulary gives it \(id)"))
    }
    insert(token)
  }

  /// Id of a text: its own, or the next one that is free.
  func nextID(for text: String) -> Int {
    if let id = knownID(of: text) { return id }
    return greatestAddedID >= model.tokens.count ? greatestAddedID + 1 : model.tokens.count
  }

  private func knownID(of text: String) -> Int? {
    addedIDs[ExactString(text)] ?? model.id(of: text.utf8)
  }

  func isAdded(_ text: String) -> Bool { addedIDs[ExactString(text)] != nil }

  /// For each id below `count`, the position of the model's token with that id, or -1.
  ///
  /// - Throws: `FormatError` when two tokens share an id, or one has an id from `count` on.
  func modelPositions(count: Int, file: String) throws(FormatError) -> [Int32] {
    var positions = [Int32](repeating: -1, count: count)
    for (position, id) in model.ids.enumerated() {
      guard id < count else {
        throw FormatError(
          file: file, field: "model.vocab",
          reason: .outOfRange(
            found: "id \(id) of \"\(printable(model.tokens.text(position), limit: 80))\"",
            allowed: "0 to \(count - 1)"),
          advice: "compare vocab_size in config.json")
      }
      guard positions[Int(id)] < 0 else {
        throw FormatError(file: file, field: "model.vocab", reason: .duplicate("id \(id)"))
      }
      positions[Int(id)] = Int32(position)
    }
    return positions
  }

  /// Leaves out added tokens whose ids the model has no output for.
  mutating func dropAdded(from limit: Int, _ notes: inout [String]) {
    for token in added.values.filter({ $0.id >= limit }).sorted(by: { $0.id < $1.id }) {
      added[token.id] = nil
      addedIDs[ExactString(token.content)] = nil
      notes.append(
        "token \"\(printable(token.content, limit: 80))\" stands for a picture and is left out")
    }
    greatestAddedID = added.keys.max() ?? -1
  }

  mutating func insert(_ token: AddedToken) {
    added[token.id] = token
    addedIDs[ExactString(token.content)] = token.id
    greatestAddedID = max(greatestAddedID, token.id)
  }
}
