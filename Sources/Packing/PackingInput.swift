import ByteIO

/// The files that are packed, in the order of their names, each with its runs.
///
/// Files are opened when they are read, since a folder may have more than a process may open.
final class PackingInput: Sendable {
  struct File: Sendable {
    var name: ExactString
    var path: String
    var identity: PositionalFile.Identity
    var byteCount: UInt64
  }

  let directory: PackedDirectory
  /// Content of a frame.
  let frameByteCount: Int
  /// One for each entry; `nil` for empty folders.
  let files: [File?]
  /// Packed files in a plain folder are packed as they are; everything else is unpacked first.
  private let readsPlain: Bool
  /// What is packed once more; held, so that its directory is read once.
  private let packed: PackedArchive?
  private let open = Guarded<[Int: PositionalFile]>([:])
  private static let openLimit = 64

  /// Lists a file or everything in a folder, and reads headers.
  ///
  /// - Parameters:
  ///   - path: of the file or folder.
  ///   - options: the format tells weights from other bytes or does not, and how large frames are.
  /// - Throws: `FormatError` about what cannot be packed, `PackingRefusal` for too much of it.
  init(_ path: String, _ options: PackingOptions) throws {
    packed = try PackedPath(path)?.archive
    var names: [(name: ExactString, path: String?)] = []
    let isFolder = DirectoryListing.isFolder(path)
    readsPlain = isFolder && packed == nil
    if isFolder {
      var walk = FolderWalk()
      try walk.visit(path, name: "", depth: 0)
      names = walk.found.sorted { $0.name < $1.name }
    } else {
      names = [(ExactString(OutputFile.name(of: path)), path)]
    }
    var builder = DirectoryBuilder(
      kind: isFolder ? .folder : .file, rootName: Self.rootName(path))
    var largestFrame = 0
    var files: [File?] = []
    for (name, path) in names {
      guard let path else {
        builder.addEmptyFolder(name)
        files.append(nil)
        continue
      }
      let file = try Self.open(path, readsPlain)
      guard let frame = options.frameByteCount(contentByteCount: file.byteCount) else {
        throw PackingRefusal(
          "\(printable(path)) has \(file.byteCount) bytes: --format seekable-zstd has room for "
            + "\(SeekableZstd.contentByteLimit); without it files of any size are packed")
      }
      largestFrame = max(largestFrame, frame)
      try builder.add(
        name, byteCount: file.byteCount, frameByteCount: frame,
        runs: options.format == .ingot ? ContentRuns.of(file) : ContentRuns.plain(file))
      files.append(
        File(name: name, path: path, identity: file.identity, byteCount: file.byteCount))
    }
    directory = builder.directory
    frameByteCount = largestFrame
    self.files = files
    guard directory.entries.count <= PackedFormat.entryCountLimit,
      UInt64(directory.bytes.count) <= PackedFormat.directoryByteLimit
    else {
      throw PackingRefusal("\(printable(path)) holds more files and tensors than an archive may")
    }
  }

  /// Last component of a path, or of where it leads.
  private static func rootName(_ path: String) -> String {
    if let name = DirectoryListing.packedName(of: path) { return name }
    var name = OutputFile.name(of: path)
    if [".", "..", "/", ""].contains(name), let real = DirectoryListing.realPath(path) {
      name = OutputFile.name(of: real)
    }
    return PackedName.fault(Array(name.utf8)) == nil && !name.contains("/") ? name : "root"
  }

  private static func open(_ path: String, _ readsPlain: Bool) throws(FormatError)
    -> PositionalFile
  {
    readsPlain ? try PositionalFile(plain: path) : try PositionalFile(path)
  }

  /// The file that an entry is read from.
  func file(_ entry: Int) throws -> PositionalFile {
    if let file = open.withLock({ $0[entry] }) { return file }
    guard let known = files[entry] else { preconditionFailure("an empty folder has no content") }
    let file = try Self.open(known.path, readsPlain)
    guard file.identity == known.identity, file.byteCount == known.byteCount else {
      throw Self.changed(known)
    }
    open.withLock { open in
      // Files are read in order, so the first ones are done with.
      while open.count >= Self.openLimit, let first = open.keys.min() { open[first] = nil }
      open[entry] = file
    }
    return file
  }

  /// Throws when a file is not what it was when it was listed.
  func checkUnchanged() throws {
    for known in files {
      guard let known else { continue }
      do throws(FormatError) {
        let file = try Self.open(known.path, readsPlain)
        if file.identity == known.identity { continue }
      } catch {
        if case .readFailed = error.reason { throw error }
      }
      throw Self.changed(known)
    }
  }

  private static func changed(_ file: File) -> FormatError {
    FormatError(
      file: file.path, field: "file",
      reason: .inconsistent("was changed while it was being packed"),
      advice: "wait until the download is complete, then start again")
  }
}

/// Goes through a folder; links are followed, and what they lead to is packed in their place.
private struct FolderWalk {
  var found: [(name: ExactString, path: String?)] = []
  /// Real paths of the folders that the present one lies in.
  private var above: [String] = []

  mutating func visit(_ folder: String, name: String, depth: Int) throws {
    guard depth < PackedFormat.componentLimit else {
      throw refusal(
        folder,
        .outOfRange(
          found: "more", allowed: "at most \(PackedFormat.componentLimit) folders in each other"))
    }
    let real = DirectoryListing.realPath(folder) ?? folder
    guard !above.contains(real) else {
      throw refusal(folder, .malformed("a link leads back to a folder that it lies in"))
    }
    above.append(real)
    defer { above.removeLast() }
    let names = try DirectoryListing.names(in: folder, leavesOutOthers: false)
    if names.isEmpty, !name.isEmpty { found.append((ExactString(name), nil)) }
    for component in names {
      let path = DirectoryListing.join(folder, component)
      let inner = name.isEmpty ? component : name + "/" + component
      if let fault = PackedName.fault(Array(inner.utf8)) {
        throw refusal(path, .malformed("its name \(fault)"))
      }
      if DirectoryListing.isDanglingLink(path) {
        throw refusal(path, .malformed("is a link to nothing"))
      }
      if isPlainFolder(path) {
        try visit(path, name: inner, depth: depth + 1)
      } else {
        found.append((ExactString(inner), path))
      }
      guard found.count <= PackedFormat.entryCountLimit else {
        throw refusal(
          folder,
          .outOfRange(
            found: "more", allowed: "at most \(PackedFormat.entryCountLimit) files"))
      }
    }
  }

  /// A packed folder inside is a file to be packed like others.
  private func isPlainFolder(_ path: String) -> Bool {
    DirectoryListing.isFolder(path) && DirectoryListing.packedName(of: path) == nil
  }

  private func refusal(_ path: String, _ reason: FormatError.Reason) -> FormatError {
    FormatError(file: path, field: "folder", reason: reason)
  }
}
