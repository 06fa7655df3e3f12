/// Splits a text as a split expression does, each character looked at a few times at most.
///
/// The alternatives of an expression are tried in their order, as in the expression; a method that
/// returns an end says that its alternative matches up to there.
struct SplitScanner {
  let text: ScalarText
  let rule: SplitRule
  /// Bounds of the piece that is split: nothing outside it is seen, not even by a look ahead.
  let bounds: Range<Int>
  /// Whether U+017F counts as an s in a contraction, as it does without regard to case.
  let foldsLongS: Bool

  /// Appends the pieces of `bounds` to `pieces`.
  func split(into pieces: inout [Range<Int>]) {
    var position = bounds.lowerBound
    if case .digits = rule.kind { return splitDigits(into: &pieces) }
    while position < bounds.upperBound {
      // Every character is matched by one of them; the other term is for safety's sake.
      let end = next(position) ?? position + 1
      pieces.append(position..<end)
      position = end
    }
  }

  private func next(_ position: Int) -> Int? {
    switch rule.kind {
    case .plain:
      contraction(position, ignoresCase: false) ?? run(position, .letter) ?? run(position, .number)
        ?? other(position, tail: .none) ?? spaces(position)
    case .letters:
      contraction(position, ignoresCase: true) ?? word(position) ?? number(position)
        ?? other(position, tail: .lineEnds) ?? lines(position) ?? spaces(position)
    case .cased(let keepsContractions):
      casedWord(position, keepsContractions) ?? number(position)
        ?? other(position, tail: .lineEndsAndSlashes) ?? lines(position) ?? spaces(position)
    case .digits: nil
    }
  }

  private func classes(_ position: Int) -> CharacterClass? {
    position < bounds.upperBound ? text.classes[position] : nil
  }

  private func has(_ position: Int, _ wanted: CharacterClass) -> Bool {
    position < bounds.upperBound && !text.classes[position].isDisjoint(with: wanted)
  }

  private func isCharacter(_ position: Int, _ character: Unicode.Scalar) -> Bool {
    position < bounds.upperBound && text.scalars[position] == character.value
  }

  private func end(_ position: Int, of wanted: CharacterClass) -> Int {
    var end = position
    while has(end, wanted) { end += 1 }
    return end
  }

  // MARK: Alternatives

  /// `'s|'t|'re|'ve|'m|'ll|'d`.
  private func contraction(_ position: Int, ignoresCase: Bool) -> Int? {
    guard isCharacter(position, "'") else { return nil }
    func letter(_ offset: Int) -> UInt32 {
      guard position + offset < bounds.upperBound else { return 0 }
      let scalar = text.scalars[position + offset]
      guard ignoresCase else { return scalar }
      if foldsLongS, scalar == 0x17F { return 0x73 }
      return 0x41...0x5A ~= scalar ? scalar + 0x20 : scalar
    }
    switch (Unicode.Scalar(letter(1)), Unicode.Scalar(letter(2))) {
    case ("s", _), ("t", _), ("m", _), ("d", _): return position + 2
    case ("r", "e"), ("v", "e"), ("l", "l"): return position + 3
    default: return nil
    }
  }

  /// Letters or numbers: ` ?\p{L}+`, ` ?\p{N}+`.
  private func run(_ position: Int, _ wanted: CharacterClass) -> Int? {
    let start = isCharacter(position, " ") ? position + 1 : position
    return has(start, wanted) ? end(start, of: wanted) : nil
  }

  /// `[^\r\n\p{L}\p{N}]?`: the position after it, or `nil` when the character is none of these.
  private func afterPrefix(_ position: Int) -> Int? {
    guard let classes = classes(position), classes.isDisjoint(with: [.lineEnd, .letter, .number])
    else { return nil }
    return position + 1
  }

  /// `[^\r\n\p{L}\p{N}]?\p{L}+`.
  private func word(_ position: Int) -> Int? {
    let start = afterPrefix(position) ?? position
    return has(start, .letter) ? end(start, of: .letter) : nil
  }

  /// `\p{N}{1,limit}`.
  private func number(_ position: Int) -> Int? {
    guard has(position, .number) else { return nil }
    var end = position + 1
    while end - position < rule.digitLimit, has(end, .number) { end += 1 }
    return end
  }

  private enum Tail { case none, lineEnds, lineEndsAndSlashes }

  /// ` ?[^\s\p{L}\p{N}]+` and what may follow it.
  private func other(_ position: Int, tail: Tail) -> Int? {
    var end = isCharacter(position, " ") ? position + 1 : position
    guard let first = classes(end), first.isOther else { return nil }
    while let next = classes(end), next.isOther { end += 1 }
    if tail == .none { return end }
    while has(end, .lineEnd) || tail == .lineEndsAndSlashes && isCharacter(end, "/") { end += 1 }
    return end
  }

  /// `\s*[\r\n]+`: white space up to the last line end in it.
  private func lines(_ position: Int) -> Int? {
    var end: Int?
    var index = position
    while has(index, .space) {
      index += 1
      if has(index - 1, .lineEnd) { end = index }
    }
    return end
  }

  /// `\s+(?!\S)|\s+`: white space, but for its last character when something follows.
  private func spaces(_ position: Int) -> Int? {
    let end = end(position, of: .space)
    guard end > position else { return nil }
    return end < bounds.upperBound && end - position > 1 ? end - 1 : end
  }

  private func splitDigits(into pieces: inout [Range<Int>]) {
    var start = bounds.lowerBound
    for position in bounds where has(position, .number) {
      if start < position { pieces.append(start..<position) }
      pieces.append(position..<(position + 1))
      start = position + 1
    }
    if start < bounds.upperBound { pieces.append(start..<bounds.upperBound) }
  }

  // MARK: Cased words

  /// `P?U*L+C?|P?U+L*C?`, with P any character but letters, numbers and line ends, U upper, L lower,
  /// C a contraction.
  ///
  /// Characters without case are U as well as L, and marks, which are no letters, also P. So P is
  /// tried as present and then as absent, and U gives characters back until an L can follow.
  private func casedWord(_ position: Int, _ keepsContractions: Bool) -> Int? {
    let prefixed = afterPrefix(position)
    let word =
      prefixed.flatMap(upperThenLower) ?? upperThenLower(position)
      ?? prefixed.flatMap(upperOnly) ?? upperOnly(position)
    guard let word, keepsContractions else { return word }
    return contraction(word, ignoresCase: true) ?? word
  }

  /// `U*L+`.
  private func upperThenLower(_ start: Int) -> Int? {
    let upperEnd = end(start, of: .upper)
    if has(upperEnd, .lower) { return end(upperEnd, of: .lower) }
    // What follows the last character without case is upper case only: L+ takes that one.
    var index = upperEnd
    while index > start {
      if has(index - 1, .lower) { return index }
      index -= 1
    }
    return nil
  }

  /// `U+L*`.
  private func upperOnly(_ start: Int) -> Int? {
    let upperEnd = end(start, of: .upper)
    return upperEnd > start ? end(upperEnd, of: .lower) : nil
  }
}
