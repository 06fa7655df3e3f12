import ByteIO
import StrictJSON

/// How a file was packed: sizes, frames and codecs, of everything and of each type.
public struct PackingReport: Sendable {
  /// What one type of weights, or everything else, takes.
  public struct Share: Sendable {
    /// As the ecosystem spells it; `other` for what is not weights.
    public var type: String
    public var contentByteCount: UInt64 = 0
    /// Of the frames.
    public var byteCount: UInt64 = 0
    public var frameCount = 0
    /// Planes by the name of their codec, of the frames that were looked at.
    public var planeCounts: [String: Int] = [:]

    public var ratio: Double {
      contentByteCount > 0 ? Double(byteCount) / Double(contentByteCount) : 1
    }
  }

  /// `ingot` or `seekable-zstd`.
  public var form: String
  public var contentByteCount: UInt64
  public var fileByteCount: UInt64
  public var frameCount: Int
  /// Files in a packed folder; `nil` for a packed file.
  public var fileCount: Int?
  /// Frames whose headers were read to count planes.
  public var lookedAtFrameCount = 0
  /// Most content first.
  public var shares: [Share]

  public var ratio: Double {
    contentByteCount > 0 ? Double(fileByteCount) / Double(contentByteCount) : 1
  }

  /// Frames whose headers are read; of larger files an even sample.
  private static let lookLimit = 16_384

  /// Reads the tables of a packed file.
  ///
  /// - Returns: `nil` for what is not packed as a whole, files and folders in a packed folder among it.
  public init?(_ path: String) throws(FormatError) {
    let opened: OpenedPacked
    if let inner = try PackedPath(path) {
      guard inner.exists else {
        throw FormatError(file: path, field: "file", reason: .fileNotFound)
      }
      guard inner.name == "" else { return nil }
      opened = .archive(inner.archive)
    } else {
      guard !DirectoryListing.isFolder(path), let file = try? PositionalFile(plain: path),
        let packed = try OpenedPacked(file)
      else { return nil }
      opened = packed
    }
    contentByteCount = opened.content.contentByteCount
    fileByteCount = opened.content.file.byteCount
    frameCount = opened.content.frameCount
    shares = []
    switch opened {
    case .archive(let archive):
      form = PackingOptions.Format.ingot.rawValue
      fileCount =
        archive.directory.kind == .folder
        ? archive.directory.entries.count { $0.kind == .file } : nil
      try addShares(archive)
    case .seekableZstd: form = PackingOptions.Format.seekableZstd.rawValue
    }
  }

  private mutating func addShares(_ archive: PackedArchive) throws(FormatError) {
    var shares: [String: Share] = [:]
    let step = max(1, frameCount / Self.lookLimit)
    for region in archive.directory.regions {
      let type = region.typeName.map { archive.directory.typeNames[$0] } ?? "other"
      var share = shares[type] ?? Share(type: type)
      share.contentByteCount += region.byteCount
      share.frameCount += region.frameCount
      let frames = region.firstFrame..<region.firstFrame + region.frameCount
      let start = try archive.frame(frames.lowerBound).place.lowerBound
      let end = try archive.frame(frames.upperBound - 1).place.upperBound
      // Each page is checked against the one before it only.
      guard end >= start else {
        throw FormatError(
          file: archive.file.path, fileOffset: end, field: "frame table",
          reason: .inconsistent("frames \(frames) end before they begin"))
      }
      share.byteCount += end - start
      for frame in frames where frame % step == 0 {
        lookedAtFrameCount += 1
        for plane in try archive.planes(ofFrame: frame) {
          share.planeCounts[plane.codec.name, default: 0] += 1
        }
      }
      shares[type] = share
    }
    self.shares = shares.values.sorted {
      ($0.contentByteCount, $1.type) > ($1.contentByteCount, $0.type)
    }
  }
}

extension PackingReport {
  private static let codecs = PackedCodec.allCases.map(\.name)

  /// Text for people.
  public var text: String {
    var lines = [
      "packed (\(form)): \(fileByteCount) bytes for \(contentByteCount), \(Self.percent(ratio)); "
        + "\(frameCount) frames" + (fileCount.map { ", \($0) files" } ?? "")
    ]
    if !shares.isEmpty {
      let sample = lookedAtFrameCount < frameCount ? " (of \(lookedAtFrameCount) frames)" : ""
      lines +=
        TextTable(
          ["type", "bytes", "packed", "ratio", "frames", "planes by codec" + sample],
          shares.map { share in
            [
              share.type, "\(share.contentByteCount)", "\(share.byteCount)",
              Self.percent(share.ratio), "\(share.frameCount)",
              Self.codecs.compactMap { name in
                share.planeCounts[name].map { "\(name) \($0)" }
              }.joined(separator: ", "),
            ]
          }, rightAligned: [1, 2, 3, 4]
        ).lines
    }
    return lines.joined(separator: "\n")
  }

  static func percent(_ ratio: Double) -> String { fixed(100 * ratio, 2) + " %" }

  /// The members of a JSON object.
  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("form")
      json.value(form)
      json.key("fileBytes")
      json.value(fileByteCount)
      json.key("contentBytes")
      json.value(contentByteCount)
      json.key("ratio")
      json.value(ratio)
      json.key("frames")
      json.value(frameCount)
      json.key("framesLookedAt")
      json.value(lookedAtFrameCount)
      if let fileCount {
        json.key("files")
        json.value(fileCount)
      }
      json.key("types")
      json.array { json in for share in shares { share.write(to: &json) } }
    }
  }

  public var json: String {
    var writer = JSONWriter()
    writer.object { json in
      json.key("packing")
      write(to: &json)
    }
    return writer.text
  }
}

extension PackingReport.Share {
  fileprivate func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("type")
      json.value(type)
      json.key("contentBytes")
      json.value(contentByteCount)
      json.key("packedBytes")
      json.value(byteCount)
      json.key("ratio")
      json.value(ratio)
      json.key("frames")
      json.value(frameCount)
      json.key("planes")
      json.object { json in
        for codec in PackedCodec.allCases {
          json.key(codec.name)
          json.value(planeCounts[codec.name] ?? 0)
        }
      }
    }
  }
}
