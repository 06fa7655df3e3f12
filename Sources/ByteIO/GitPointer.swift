extension PositionalFile {
  private static let gitPointerMark = Array("version https://git-lfs".utf8)

  /// Throws when a clone without git-lfs left a short text in place of the file.
  package func refuseGitPointer() throws(FormatError) {
    let mark = Self.gitPointerMark
    guard byteCount >= UInt64(mark.count),
      try read(at: 0, count: mark.count, field: "file") == mark
    else { return }
    throw FormatError(
      file: path, fileOffset: 0, field: "file",
      reason: .malformed("is a git-lfs pointer, not the file that it stands for"),
      advice: "run `git lfs pull` in its directory")
  }
}
