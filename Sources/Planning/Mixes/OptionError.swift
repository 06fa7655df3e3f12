import ByteIO

/// What is wrong with an option that the user gave.
package struct OptionError: Error, Hashable, Sendable, CustomStringConvertible {
  /// As typed, with its dashes.
  package var option: String
  /// The value that was given.
  package var found: String
  package var problem: String
  /// What the user can do next, if there is something.
  package var advice: String?

  package init(option: String, found: String, problem: String, advice: String? = nil) {
    self.option = option
    self.found = found
    self.problem = problem
    self.advice = advice
  }

  package var description: String {
    let text = (found.isEmpty ? option : "\(option) \(printable(found))") + ": \(problem)"
    return advice.map { text + "; " + $0 } ?? text
  }
}
