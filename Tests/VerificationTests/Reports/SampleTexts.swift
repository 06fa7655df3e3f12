/// What reports have to look like, to be read as a whole.
enum SampleTexts {
  static let passed = """
    TODO
    """
}
