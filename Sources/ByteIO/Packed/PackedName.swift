/// Names of the files in a packed folder: relative, of plain components, with `/` between them.
package enum PackedName {
  /// Why bytes are no name that may be stored; `nil` when they are one.
  package static func fault(_ name: some Collection<UInt8>) -> String? {
    guard !name.isEmpty else { return "is empty" }
    guard name.count <= PackedFormat.nameByteLimit else {
      return "is longer than \(PackedFormat.nameByteLimit) bytes"
    }
    guard !name.contains(0) else { return "holds a NUL" }
    guard name.first != UInt8(ascii: "/") else { return "is absolute" }
    let components = name.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    guard components.count <= PackedFormat.componentLimit else {
      return "has more than \(PackedFormat.componentLimit) components"
    }
    for component in components {
      if component.isEmpty { return "has an empty component" }
      if component.elementsEqual(".".utf8) || component.elementsEqual("..".utf8) {
        return "has a component . or .."
      }
      if component.count > PackedFormat.componentByteLimit {
        return "has a component longer than \(PackedFormat.componentByteLimit) bytes"
      }
    }
    return nil
  }
}
