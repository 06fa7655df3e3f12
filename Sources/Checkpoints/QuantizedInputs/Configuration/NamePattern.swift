/// A regular expression over names of modules, as `targets` with `re:` have it.
///
/// Matching steps through all alternatives at once: what it costs is the product of both lengths,
/// whatever the expression. Names and expressions are bytes. Known are literals, `.`, classes, `\d`
/// `\w` `\s` and their opposites, groups, `|`, `^`, `$` and repetitions; what an expression of Python
/// may have besides (assertions, references) is not.
package struct NamePattern: Sendable {
  private enum Instruction {
    case byte(ByteSet)
    case split(Int, Int)
    case start, end, match
  }

  /// Largest program, which repetitions with counts make long.
  private static let instructionLimit = 1 << 12

  private var instructions: [Instruction] = []
  /// Parts that were compiled, also those that need no instruction.
  private var partCount = 0

  /// Steps that a match of a name of `count` bytes may take.
  func stepLimit(_ count: Int) -> Int { (count + 1) * instructions.count }

  /// Compiles an expression; `nil` where it is not of the known parts or becomes too long.
  package init?(_ expression: String) {
    var parser = NamePatternParser(expression)
    guard let node = parser.expression(), parser.isAtEnd, emit(node) else { return nil }
    instructions.append(.match)
  }

  // MARK: Compiling

  /// Whether there is room.
  private mutating func emit(_ node: NamePatternNode) -> Bool {
    partCount += 1
    guard instructions.count < Self.instructionLimit, partCount < 4 * Self.instructionLimit else {
      return false
    }
    switch node {
    case .bytes(let set): instructions.append(.byte(set))
    case .start: instructions.append(.start)
    case .end: instructions.append(.end)
    case .sequence(let nodes): return nodes.allSatisfy { emit($0) }
    case .either(let first, let second): return emit(first, or: second)
    case .repeated(let inner, let minimum, let maximum):
      for _ in 0..<minimum { guard emit(inner) else { return false } }
      guard let maximum else {
        let split = instructions.count
        instructions.append(.split(split + 1, split))
        guard emit(inner) else { return false }
        // Back to the choice.
        instructions.append(.split(split, split))
        instructions[split] = .split(split + 1, instructions.count)
        return true
      }
      for _ in minimum..<max(minimum, maximum) {
        guard emit(inner, or: .sequence([])) else { return false }
      }
    }
    return true
  }

  private mutating func emit(_ first: NamePatternNode, or second: NamePatternNode) -> Bool {
    let split = instructions.count
    instructions.append(.split(split + 1, split))
    guard emit(first) else { return false }
    let jump = instructions.count
    instructions.append(.split(jump, jump))
    instructions[split] = .split(split + 1, instructions.count)
    guard emit(second) else { return false }
    instructions[jump] = .split(instructions.count, instructions.count)
    return true
  }

  // MARK: Matching

  /// Whether the expression fits the beginning of a name.
  package func matchesStart(of name: [UInt8]) -> Bool {
    var current: [Int] = []
    var next: [Int] = []
    var seenAt = [Int](repeating: -1, count: instructions.count)
    var stack = [0]
    for position in 0...name.count {
      // Follows everything that takes no byte.
      while let index = stack.popLast() {
        guard seenAt[index] != position else { continue }
        seenAt[index] = position
        switch instructions[index] {
        case .byte: current.append(index)
        case .split(let first, let second): stack += first == second ? [first] : [first, second]
        case .start: if position == 0 { stack.append(index + 1) }
        case .end: if position == name.count { stack.append(index + 1) }
        case .match: return true
        }
      }
      guard position < name.count else { break }
      for index in current {
        if case .byte(let set) = instructions[index], set.contains(name[position]) {
          next.append(index + 1)
        }
      }
      current.removeAll(keepingCapacity: true)
      swap(&stack, &next)
      if stack.isEmpty { break }
    }
    return false
  }
}

/// A set of bytes.
struct ByteSet: Hashable, Sendable {
  private var words: SIMD4<UInt64> = .zero

  init() {}
  init(_ bytes: some Sequence<UInt8>) { for byte in bytes { insert(byte) } }

  mutating func insert(_ byte: UInt8) { words[Int(byte >> 6)] |= 1 << UInt64(byte & 63) }
  func contains(_ byte: UInt8) -> Bool { words[Int(byte >> 6)] >> UInt64(byte & 63) & 1 != 0 }

  var opposite: ByteSet {
    var set = self
    set.words = ~words
    return set
  }

  func union(_ other: ByteSet) -> ByteSet {
    var set = self
    set.words |= other.words
    return set
  }
}
