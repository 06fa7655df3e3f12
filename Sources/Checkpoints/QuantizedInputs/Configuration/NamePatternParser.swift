/// The parts of an expression of `NamePattern`.
indirect enum NamePatternNode {
  case bytes(ByteSet)
  case start, end
  case sequence([NamePatternNode])
  case either(NamePatternNode, NamePatternNode)
  /// `maximum` is `nil` where there is none.
  case repeated(NamePatternNode, minimum: Int, maximum: Int?)
}

/// Reads an expression; everything is `nil` where it is not of the known parts.
struct NamePatternParser {
  private let bytes: [UInt8]
  private var position = 0
  private var depth = 0

  /// Longest expression, and deepest group in it.
  private static let byteCountLimit = 1024
  private static let depthLimit = 16
  private static let repetitionLimit = 64

  init(_ text: String) { bytes = Array(text.utf8) }

  var isAtEnd: Bool { position == bytes.count }
  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard next == byte else { return false }
    position += 1
    return true
  }

  /// Alternatives.
  mutating func expression() -> NamePatternNode? {
    guard bytes.count <= Self.byteCountLimit, var node = sequence() else { return nil }
    while take(UInt8(ascii: "|")) {
      guard let other = sequence() else { return nil }
      node = .either(node, other)
    }
    return node
  }

  private mutating func sequence() -> NamePatternNode? {
    var nodes: [NamePatternNode] = []
    while let byte = next, byte != UInt8(ascii: "|"), byte != UInt8(ascii: ")") {
      guard let one = atom(), let node = repeated(one) else { return nil }
      nodes.append(node)
    }
    return .sequence(nodes)
  }

  private mutating func atom() -> NamePatternNode? {
    guard let byte = next else { return nil }
    position += 1
    switch byte {
    case UInt8(ascii: "^"): return .start
    case UInt8(ascii: "$"): return .end
    case UInt8(ascii: "."): return .bytes(ByteSet([UInt8(ascii: "\n")]).opposite)
    case UInt8(ascii: "\\"): return escape().map { .bytes($0) }
    case UInt8(ascii: "["): return byteClass()
    case UInt8(ascii: "("):
      if take(UInt8(ascii: "?")), !take(UInt8(ascii: ":")) { return nil }
      depth += 1
      guard depth <= Self.depthLimit, let node = expression(), take(UInt8(ascii: ")")) else {
        return nil
      }
      depth -= 1
      return node
    case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"), UInt8(ascii: "{"):
      return nil
    default: return .bytes(ByteSet([byte]))
    }
  }

  /// What follows a backslash.
  private mutating func escape() -> ByteSet? {
    guard let byte = next else { return nil }
    position += 1
    switch byte {
    case UInt8(ascii: "d"): return Self.digits
    case UInt8(ascii: "D"): return Self.digits.opposite
    case UInt8(ascii: "w"): return Self.word
    case UInt8(ascii: "W"): return Self.word.opposite
    case UInt8(ascii: "s"): return Self.space
    case UInt8(ascii: "S"): return Self.space.opposite
    default:
      // An escaped letter or digit means something else.
      return Self.word.contains(byte) && byte != UInt8(ascii: "_") ? nil : ByteSet([byte])
    }
  }

  private static let digits = ByteSet(UInt8(ascii: "0")...UInt8(ascii: "9"))
  private static let word = digits.union(ByteSet(UInt8(ascii: "a")...UInt8(ascii: "z")))
    .union(ByteSet(UInt8(ascii: "A")...UInt8(ascii: "Z"))).union(ByteSet([UInt8(ascii: "_")]))
    .union(ByteSet(0x80...0xFF))
  private static let space = ByteSet([0x20, 0x09, 0x0A, 0x0B, 0x0C, 0x0D])

  private mutating func byteClass() -> NamePatternNode? {
    let isOpposite = take(UInt8(ascii: "^"))
    var set = ByteSet()
    var isFirst = true
    while let byte = next, byte != UInt8(ascii: "]") || isFirst {
      isFirst = false
      // Letters beyond ASCII have more than one byte.
      guard byte < 0x80 else { return nil }
      position += 1
      if byte == UInt8(ascii: "\\") {
        guard let escaped = escape() else { return nil }
        set = set.union(escaped)
      } else if next == UInt8(ascii: "-"), position + 1 < bytes.count,
        bytes[position + 1] != UInt8(ascii: "]")
      {
        let last = bytes[position + 1]
        guard last >= byte, last < 0x80, last != UInt8(ascii: "\\") else { return nil }
        position += 2
        set = set.union(ByteSet(byte...last))
      } else {
        set.insert(byte)
      }
    }
    guard take(UInt8(ascii: "]")) else { return nil }
    return .bytes(isOpposite ? set.opposite : set)
  }

  /// A part with what says how often it may come.
  private mutating func repeated(_ node: NamePatternNode) -> NamePatternNode? {
    let counts: (Int, Int?)
    if take(UInt8(ascii: "*")) {
      counts = (0, nil)
    } else if take(UInt8(ascii: "+")) {
      counts = (1, nil)
    } else if take(UInt8(ascii: "?")) {
      counts = (0, 1)
    } else if take(UInt8(ascii: "{")) {
      guard let minimum = number() else { return nil }
      var maximum: Int? = minimum
      if take(UInt8(ascii: ",")) { maximum = number() }
      guard take(UInt8(ascii: "}")), maximum.map({ $0 >= minimum }) ?? true else { return nil }
      counts = (minimum, maximum)
    } else {
      return node
    }
    // Fewest first is no other name.
    _ = take(UInt8(ascii: "?"))
    if let byte = next, [UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "{")].contains(byte) {
      return nil
    }
    return .repeated(node, minimum: counts.0, maximum: counts.1)
  }

  private mutating func number() -> Int? {
    var value: Int?
    while let byte = next, byte &- UInt8(ascii: "0") < 10 {
      value = (value ?? 0) * 10 + Int(byte - UInt8(ascii: "0"))
      position += 1
      guard let value, value <= Self.repetitionLimit else { return nil }
    }
    return value
  }
}
