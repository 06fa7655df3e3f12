/// Parts of one size that make up a tensor, one behind the other.
struct EqualParts {
  var byteCount: Int

  /// Goes through a range of the whole, part by part.
  ///
  /// - Parameters:
  ///   - range: bytes of the whole.
  ///   - body: takes the part's index, where in it to begin, and which bytes of `range` these are.
  /// - Throws: what `body` throws.
  func forEach<Failure: Error>(
    in range: Range<Int>, _ body: (Int, Int, Range<Int>) throws(Failure) -> Void
  ) throws(Failure) {
    guard byteCount > 0 else { return }
    var done = 0
    while done < range.count {
      let (index, offset) = (range.lowerBound + done).quotientAndRemainder(dividingBy: byteCount)
      let count = min(byteCount - offset, range.count - done)
      try body(index, offset, done..<(done + count))
      done += count
    }
  }
}
