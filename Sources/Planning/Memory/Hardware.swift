import Formats

/// Accelerators of one kind, or memory of a size that was named: where a model shall run.
///
/// Facts come from `formats/hardware/hardware.tsv`; its page explains the columns.
package struct Hardware: Sendable, Hashable {
  /// How a program reaches the memory, which decides over padding and extra buffers.
  package enum Kind: String, Sendable, Hashable, CaseIterable {
    case cuda, rocm, metal
    /// The processor's own memory: nothing is offloaded.
    case host
  }

  /// As the table spells it, or the size that was named.
  package var name: String
  package var title: String
  package var kind: Kind
  /// What a program can have of one device's memory.
  package var deviceByteCount: Int
  package var deviceCount: Int

  package init(
    name: String, title: String, kind: Kind, deviceByteCount: Int, deviceCount: Int = 1
  ) {
    self.name = name
    self.title = title
    self.kind = kind
    self.deviceByteCount = deviceByteCount
    self.deviceCount = deviceCount
  }

  /// The name with the count, as `init(name:)` reads it.
  package var fullName: String { deviceCount == 1 ? name : "\(name)x\(deviceCount)" }

  package var byteCount: Int { boundedProduct(deviceByteCount, deviceCount) }

  /// Most devices that llama.cpp takes.
  package static let deviceLimit = 16

  /// Most devices of this kind: a machine has one unified memory.
  package var deviceLimit: Int {
    switch kind {
    case .cuda, .rocm: Self.deviceLimit
    case .metal, .host: 1
    }
  }

  /// Memory of a size, on devices that behave like CUDA's.
  package static func memory(_ byteCount: Int, deviceCount: Int = 1) -> Hardware {
    let mebibytes = byteCount >> 20
    let name = mebibytes % 1024 == 0 ? "\(mebibytes >> 10)GiB" : "\(mebibytes)MiB"
    return Hardware(
      name: name, title: name, kind: .cuda, deviceByteCount: byteCount, deviceCount: deviceCount)
  }

  /// Finds hardware by its name in any case, with `xN` behind it for several.
  ///
  /// - Returns: `nil` for a name that the table does not have, and for more devices than possible.
  package init?(name: String) {
    let wanted = name.lowercased()
    if let one = Self.byName[wanted] {
      self = one
      return
    }
    guard let cross = wanted.lastIndex(of: "x"),
      let count = Int(wanted[wanted.index(after: cross)...]),
      let one = Self.byName[String(wanted[..<cross])], (1...one.deviceLimit).contains(count)
    else { return nil }
    self = one
    deviceCount = count
  }

  /// Every row of the table, one device each.
  package static let all: [Hardware] = rows.map(\.hardware)

  private static let byName: [String: Hardware] = Dictionary(
    uniqueKeysWithValues: rows.flatMap { row in row.names.map { ($0, row.hardware) } })

  private static let rows: [(names: [String], hardware: Hardware)] = {
    let table = FormatTable(
      Formats.hardware, name: "hardware/hardware.tsv",
      columns: ["name", "aliases", "kind", "usable-mib", "reported-mib", "title", "source"])
    return table.rows.map { row in
      guard let kind = Kind(rawValue: row["kind"]), let usable = Int(row["usable-mib"]) else {
        preconditionFailure("formats/hardware/hardware.tsv: line \(row.line)")
      }
      return (
        [row["name"]] + row.list("aliases"),
        Hardware(
          name: row["name"], title: row["title"], kind: kind, deviceByteCount: usable << 20)
      )
    }
  }()

  /// Where layers go; an even split over the devices, as llama.cpp makes it for equal ones.
  package func placement(layerCount: Int) -> DevicePlacement {
    var placement = DevicePlacement(
      layerCount: layerCount, acceleratorCount: kind == .host ? 0 : deviceCount)
    if kind == .metal {
      placement.acceleratorAlignment = DevicePlacement.hostAlignment
      placement.rowPadding = 1
      placement.unpacksCache = false
      placement.isPipelined = false
    }
    return placement
  }
}
