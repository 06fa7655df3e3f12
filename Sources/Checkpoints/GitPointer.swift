import ByteIO

extension PositionalFile {
  /// Throws when a clone without git-lfs left a short text file in place of the weights.
  package func refuseGitPointer() throws(FormatError) {
    let mark = Array("version https://git-lfs".utf8)
    guard byteCount >= UInt64(mark.count),
      try read(at: 0, count: mark.count, field: "file") == mark
    else { return }
    throw FormatError(
      file: path, fileOffset: 0, field: "file",
      reason: .malformed("is a git-lfs pointer, not the weights"),
      advice: "run `git lfs pull` in the checkpoint's directory")
  }
}
