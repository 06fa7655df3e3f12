import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A packed file that is open, whichever form it has.
package enum OpenedPacked: Sendable {
  case archive(PackedArchive)
  case seekableZstd(SeekableZstd)

  /// Opens what begins as a packed file does; `nil` for every other file.
  package init?(_ file: PositionalFile) throws(FormatError) {
    guard file.byteCount >= 8 else { return nil }
    let magic = try file.read(at: 0, count: 8, field: "magic")
    if magic == PackedFormat.magic {
      self = .archive(try PackedArchive(file))
    } else if SeekableZstd.mayBegin(integer(magic, at: 0, as: UInt32.self)),
      try SeekableZstd.isIn(file)
    {
      self = .seekableZstd(try SeekableZstd(file))
    } else {
      return nil
    }
  }

  /// All content, of whatever files.
  package var content: any FramedContent {
    switch self {
    case .archive(let archive): archive
    case .seekableZstd(let file): file
    }
  }

  /// The content of a packed single file; `nil` for a folder.
  package var singleFile: PackedContent? {
    switch self {
    case .archive(let archive):
      archive.directory.kind == .folder
        ? nil
        : PackedContent(content: archive, start: 0, byteCount: archive.contentByteCount)
    case .seekableZstd(let file):
      PackedContent(content: file, start: 0, byteCount: file.contentByteCount)
    }
  }
}

/// Packed folders that are looked into: their directories are read once, however often a path into
/// them is asked for.
private final class OpenArchives: Sendable {
  static let shared = OpenArchives()

  /// An archive that somebody reads, or that is held here.
  ///
  /// Weak references are loaded and cleared atomically; the other one changes under the lock.
  private final class Known: @unchecked Sendable {
    let path: String
    weak var archive: PackedArchive?
    var held: PackedArchive?

    init(_ path: String, _ archive: PackedArchive, isHeld: Bool) {
      self.path = path
      self.archive = archive
      held = isHeld ? archive : nil
    }
  }
  /// The last one first.
  private let archives = Guarded<[Known]>([])
  /// Enough for what compares one model with another.
  private static let heldCount = 2

  /// The archive under a path, opened unless it is open and the file has not changed.
  ///
  /// - Parameters:
  ///   - path: leads to a regular file.
  ///   - identity: of that file as it is now.
  /// - Returns: `nil` when the file is no packed folder.
  /// - Throws: when it is one and damaged.
  func archive(at path: String, _ identity: PositionalFile.Identity) throws(FormatError)
    -> PackedArchive?
  {
    let known = archives.withLock { archives -> PackedArchive? in
      guard let index = archives.firstIndex(where: { $0.path == path }) else { return nil }
      let known = archives.remove(at: index)
      guard let archive = known.archive, archive.file.identity == identity else { return nil }
      archives.insert(known, at: 0)
      return archive
    }
    if let known { return known }
    // As it was before it was read: what changes it from now on changes its times.
    let isSettled = identity.isSettled
    guard case .archive(let archive) = try OpenedPacked(PositionalFile(plain: path)),
      archive.directory.kind == .folder
    else { return nil }
    archives.withLock { archives in
      archives.removeAll { $0.path == path || $0.archive == nil }
      archives.insert(
        Known(path, archive, isHeld: isSettled && archive.file.identity == identity), at: 0)
      for known in archives.filter({ $0.held != nil }).dropFirst(Self.heldCount) {
        known.held = nil
      }
    }
    return archive
  }
}

/// A path that leads into a packed folder: `model.ingot`, `model.ingot/config.json`.
package struct PackedPath: Sendable {
  /// Path of the packed file.
  package let container: String
  package let archive: PackedArchive
  /// Name within the folder; empty for the folder itself.
  package let name: ExactString

  /// Finds the packed folder in a path.
  ///
  /// - Returns: `nil` when no component of the path is one, also when there is nothing at all.
  /// - Throws: when there is a packed folder and it is damaged.
  package init?(_ path: String) throws(FormatError) {
    guard let (container, inner, identity) = Self.split(path),
      let archive = try OpenArchives.shared.archive(at: container, identity)
    else { return nil }
    self.container = container
    self.archive = archive
    name = inner
  }

  /// The prefix of a path that is a regular file, what follows it, and which file it is.
  private static func split(_ path: String) -> (
    container: String, inner: ExactString, identity: PositionalFile.Identity
  )? {
    var prefix = FilePath(path)
    var inner: [String] = []
    var status = stat()
    while stat(prefix.string, &status) != 0 {
      guard errno == ENOTDIR, let last = prefix.lastComponent, prefix.removeLastComponent() else {
        return nil
      }
      inner.insert(last.string, at: 0)
    }
    guard status.st_mode & S_IFMT == S_IFREG else { return nil }
    var names: [String] = []
    for name in inner where name != "." {
      if name == ".." {
        // Above the packed folder there is nothing of it.
        guard names.popLast() != nil else { return nil }
      } else {
        names.append(name)
      }
    }
    return (
      prefix.string, ExactString(names.joined(separator: "/")), PositionalFile.Identity(status)
    )
  }

  package var isFolder: Bool {
    if name == "" { return true }
    if let entry = archive.directory.entry(named: name) { return entry.kind == .emptyFolder }
    return !entriesInside.isEmpty
  }

  package var exists: Bool { isFolder || archive.directory.entry(named: name) != nil }

  /// Indices of the entries that lie in the folder of this name, at any depth.
  private var entriesInside: Range<Int> {
    let entries = archive.directory.entries
    if name == "" { return entries.indices }
    let prefix = ExactString(name.string + "/")
    let first = archive.directory.firstEntry(from: prefix)
    var end = first
    while end < entries.count, entries[end].name.utf8.starts(with: prefix.utf8) { end += 1 }
    return first..<end
  }

  /// Names directly in the folder, in the order of their bytes.
  package var names: [String] {
    let skipped = name == "" ? 0 : name.utf8.count + 1
    var names: Set<ExactString> = []
    for entry in archive.directory.entries[entriesInside] {
      let component = entry.name.utf8.dropFirst(skipped).prefix { $0 != UInt8(ascii: "/") }
      if let component = ExactString(utf8: component) { names.insert(component) }
    }
    return names.sorted().map(\.string)
  }

  /// The content of the file of this name; `nil` where there is none.
  var file: PackedContent? {
    guard let entry = archive.directory.entry(named: name), entry.kind == .file else { return nil }
    return PackedContent(content: archive, start: entry.contentStart, byteCount: entry.byteCount)
  }
}
