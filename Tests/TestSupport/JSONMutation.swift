import StrictJSON

extension JSONValue {
  /// The document with one to three values or members changed; the text stays sound JSON, but for a
  /// member that may be there twice.
  package func mutated(by generator: inout SplitMix64) -> [UInt8] {
    var copy = self
    var nodeCount = copy.nodeCount
    for _ in 0...generator.below(3) {
      var place = generator.below(nodeCount)
      copy.change(&place, &generator, root: self)
      nodeCount = copy.nodeCount
    }
    var writer = JSONWriter()
    writer.value(copy)
    return Array(writer.text.utf8)
  }

  private var nodeCount: Int {
    switch self {
    case .array(let values): values.reduce(1) { $0 + $1.nodeCount }
    case .object(let object): object.members.reduce(1) { $0 + $1.value.nodeCount }
    default: 1
    }
  }

  /// Changes the node that is `place` steps away, in the order of the text.
  private mutating func change(
    _ place: inout Int, _ generator: inout SplitMix64, root: JSONValue
  ) {
    if place == 0 {
      self = changed(&generator, root: root)
      place = -1
      return
    }
    place -= 1
    switch self {
    case .array(var values):
      for index in values.indices where place >= 0 {
        values[index].change(&place, &generator, root: root)
      }
      self = .array(values)
    case .object(let object):
      var copy = JSONObject()
      for (key, value) in object.members {
        var value = value
        if place >= 0 { value.change(&place, &generator, root: root) }
        copy.set(key, value)
      }
      self = .object(copy)
    default: break
    }
  }

  private func changed(_ generator: inout SplitMix64, root: JSONValue) -> JSONValue {
    func number(_ text: String) -> JSONValue {
      let isInteger = text.allSatisfy { $0.isNumber || $0 == "-" }
      return .number(JSONNumber(text: text, isIntegerLiteral: isInteger))
    }
    let numbers = [
      "0", "-1", "1", "2", "255", "65536", "2147483648", "4294967296", "9223372036854775807",
      "9223372036854775808", "18446744073709551616", "1e308", "1e999", "-0", "0.5", "1e-320",
    ]
    switch (generator.below(4), self) {
    case (0, .object(let object)) where !object.members.isEmpty:
      // A member less, or one under another's name.
      let index = generator.below(object.members.count)
      var copy = JSONObject()
      for (at, member) in object.members.enumerated() where at != index {
        copy.set(member.key, member.value)
      }
      if generator.below(2) == 0 { copy.set("other", object.members[index].value) }
      return .object(copy)
    case (0...1, .array(let values)) where !values.isEmpty:
      let value = values[generator.below(values.count)]
      switch generator.below(3) {
      case 0: return .array(Array(values.dropFirst()))
      case 1: return .array(values + [value])
      default: return .array(values + Array(repeating: value, count: 200))
      }
    case (0...2, .string(let text)):
      let texts = [
        "", "/", "..", "\u{0}", "e\u{301}", "\u{FFFD}", text + text, String(text.dropLast()),
        String(repeating: "x", count: 5000),
      ]
      return .string(texts[generator.below(texts.count)])
    case (0...2, .number): return number(numbers[generator.below(numbers.count)])
    default: break
    }
    switch generator.below(7) {
    case 0: return .null
    case 1: return .bool(true)
    case 2: return number(numbers[generator.below(numbers.count)])
    case 3: return .string("")
    case 4: return .array([])
    case 5: return .object(JSONObject())
    default: return root.node(generator.below(root.nodeCount))
    }
  }

  /// The node that is `place` steps away.
  private func node(_ place: Int) -> JSONValue {
    if place == 0 { return self }
    var place = place - 1
    let children: [JSONValue]
    switch self {
    case .array(let values): children = values
    case .object(let object): children = object.members.map(\.value)
    default: return self
    }
    for child in children {
      let count = child.nodeCount
      if place < count { return child.node(place) }
      place -= count
    }
    return self
  }
}
