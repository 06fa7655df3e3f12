import ByteIO
import SystemPackage

/// Parts of files that downloads leave while they run, or when they are cut short.
///
///     NAME.incomplete                                    beside the file
///     FOLDER/.cache/huggingface/download/….incomplete    of a download into FOLDER
///     CACHE/models--…/blobs/….incomplete                 of a snapshot in CACHE/models--…/snapshots/
enum UnfinishedDownload {
  /// Of the Hugging Face hub, browsers and download managers.
  private static let suffixes = [".incomplete", ".part", ".crdownload", ".aria2"]
  /// How far above a folder the start of its download may be: `original/mp16`.
  private static let searchedDepth = 3

  /// The name of the file that a part belongs to; `nil` for other names.
  static func wholeName(of name: String) -> String? {
    suffixes.first { name.hasSuffix($0) }.map { String(name.dropLast($0.count)) }
  }

  /// What to do about files that are missing from a folder.
  static func advice(_ folder: String, present: [String]) -> String {
    isIn(folder, present: present)
      ? "the download is not finished" : "download the checkpoint again"
  }

  /// Whether there are parts of files of the folder.
  static func isIn(_ folder: String, present: [String]) -> Bool {
    func hasParts(_ folder: FilePath) -> Bool {
      let names = (try? DirectoryListing.names(in: folder.string)) ?? []
      return names.contains { wholeName(of: $0) != nil }
    }
    if present.contains(where: { wholeName(of: $0) != nil }) { return true }
    guard let real = DirectoryListing.realPath(folder) else { return false }
    var root = FilePath(real)
    var inside: [FilePath.Component] = []
    for _ in 0..<searchedDepth {
      var cache = root.appending(".cache/huggingface/download")
      for component in inside { cache.append(component) }
      if hasParts(cache) { return true }
      let parent = root.removingLastComponent()
      if parent.lastComponent?.string == "snapshots" {
        return hasParts(parent.removingLastComponent().appending("blobs"))
      }
      guard let name = root.lastComponent else { return false }
      inside.insert(name, at: 0)
      root = parent
    }
    return false
  }
}
