import ByteIO

/// Where unpacked content goes.
protocol UnpackingTarget: Sendable {
  /// Writes a frame's content, which begins at `contentOffset` of everything. Safe from any thread.
  func write(_ bytes: UnsafeRawBufferPointer, at contentOffset: UInt64) throws
  func commit() throws
  func discard()
}

/// Checking without writing.
struct DiscardingTarget: UnpackingTarget {
  func write(_ bytes: UnsafeRawBufferPointer, at contentOffset: UInt64) {}
  func commit() {}
  func discard() {}
}

struct FileTarget: UnpackingTarget {
  let file: OutputFile

  func write(_ bytes: UnsafeRawBufferPointer, at contentOffset: UInt64) throws {
    try file.write(bytes, at: contentOffset)
    let window = FileTarget.writeBackByteCount
    // Each window is asked for by the frame that ends in the one after the next.
    let end = contentOffset + UInt64(bytes.count)
    if end / window != contentOffset / window, end / window >= 2 {
      file.startWriteBack(at: (end / window - 2) * window, byteCount: window)
    }
  }

  private static let writeBackByteCount: UInt64 = 32 << 20

  func commit() throws { try file.commit() }
  func discard() { file.discard() }
}

/// The files of a folder, each open only while frames of it are missing.
final class FolderTarget: UnpackingTarget {
  private let directory: PackedDirectory
  private let folder: OutputFolder
  private let open = Guarded<[Int: Open]>([:])
  private struct Open: Sendable {
    var file: FolderFile
    var missingByteCount: UInt64
  }

  /// Makes the folders, and the files that have no content.
  init(_ directory: PackedDirectory, _ folder: OutputFolder) throws {
    self.directory = directory
    self.folder = folder
    for entry in directory.entries {
      if entry.kind == .emptyFolder {
        try folder.makeFolder(entry.name.string)
      } else if entry.byteCount == 0 {
        try folder.makeFile(entry.name.string).sync()
      }
    }
  }

  func write(_ bytes: UnsafeRawBufferPointer, at contentOffset: UInt64) throws {
    let index = directory.indexOfEntry(holding: contentOffset)
    let entry = directory.entries[index]
    let file = try file(index)
    try file.write(bytes, at: contentOffset - entry.contentStart)
    let isComplete = open.withLock { open in
      guard var entry = open[index] else { return false }
      entry.missingByteCount -= UInt64(bytes.count)
      open[index] = entry.missingByteCount > 0 ? entry : nil
      return entry.missingByteCount == 0
    }
    if isComplete { try file.sync() }
  }

  private func file(_ index: Int) throws -> FolderFile {
    let result: Result<FolderFile, any Error> = open.withLock { open in
      if let known = open[index] { return .success(known.file) }
      let entry = directory.entries[index]
      return Result {
        let file = try folder.makeFile(entry.name.string)
        open[index] = Open(file: file, missingByteCount: entry.byteCount)
        return file
      }
    }
    return try result.get()
  }

  func commit() throws { try folder.commit() }
  func discard() { folder.discard() }
}
