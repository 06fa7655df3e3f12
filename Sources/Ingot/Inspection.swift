import Checkpoints
import GGUF
import Packing
import StrictJSON

/// What headers say about a file or a checkpoint directory; no tensor data is read.
public struct Inspection: Sendable {
  /// `GGUF v3`, `safetensors`, `PyTorch zip`, `PyTorch legacy`, `Meta directory` or
  /// `Hugging Face directory`.
  public let format: String
  public let files: [String]
  /// Key-value pairs: an archive's metadata; empty for checkpoints.
  public let metadata: Metadata
  public let tensors: [TensorDescriptor]
  public let notes: [String]

  /// Opens `path` and reads its headers.
  public init(_ path: String) throws(FormatError) {
    switch try InputKind(path) {
    case .archive:
      let archive = try GGUFFile(path)
      format = "GGUF v\(archive.parts[0].header.version)"
      files = archive.files
      metadata = archive.metadata
      tensors = archive.tensors
      notes = []
    case .safetensors:
      let file = try SafetensorsFile(path)
      format = "safetensors"
      files = file.files
      var metadata = Metadata()
      for (key, value) in file.header.metadata { metadata[key] = .string(value) }
      self.metadata = metadata
      tensors = file.tensors
      notes = [AdapterFiles.note(file: path, tensors: file.tensors)].compactMap { $0 }
    case .pytorch:
      let file = try PyTorchFile(path)
      format = "PyTorch \(file.form)"
      files = file.files
      metadata = Metadata()
      tensors = file.tensors
      notes =
        file.notes + [AdapterFiles.note(file: path, tensors: file.tensors)].compactMap { $0 }
    case .directory:
      if let folder = try MetaDirectory.folder(of: path) {
        let directory = try MetaDirectory(folder, readsData: false)
        format = "Meta directory"
        files = directory.files
        metadata = Metadata()
        tensors = directory.tensors
        notes = directory.notes
        return
      }
      let directory = try CheckpointDirectory(path)
      format = "Hugging Face directory"
      files = directory.files
      metadata = Metadata()
      tensors = directory.tensors
      notes = directory.notes
    }
  }

  public var weightCount: UInt64 { tensors.reduce(0) { $0 + UInt64($1.elementCount) } }
  public var byteCount: UInt64 { tensors.reduce(0) { $0 + UInt64($1.byteCount) } }

  /// Tensors, weights and bytes of each type, most bytes first.
  public var typeTotals: [TypeTotal] {
    TypeTotal.list(tensors.map { ($0.type, UInt64($0.elementCount), UInt64($0.byteCount)) })
  }
}

extension Inspection {
  /// Text for people.
  public func table(showsTensors: Bool, showsMetadata: Bool) -> String {
    var lines = [
      "\(format), \(tensors.count) tensors, \(weightCount) weights, \(byteCount) bytes of tensors"
    ]
    lines += files.count > 1 ? ["\(files.count) files:"] + files.map { "  " + printable($0) } : []
    lines += notes.map { "note: " + $0 }
    lines += TypeTotal.table(typeTotals)
    if showsMetadata {
      lines.append("")
      lines += metadata.entries.map { "\(printable($0.key.string)) = \($0.value.summary)" }
    }
    if showsTensors {
      lines.append("")
      lines +=
        TextTable(
          ["tensor", "shape", "type", "bytes", "offset"],
          tensors.map {
            [
              printable($0.name.string), "\($0.shape)", $0.type.name, "\($0.byteCount)",
              $0.regions.first.map { "\($0.fileOffset)" } ?? "",
            ]
          }, rightAligned: [3, 4]
        ).lines
    }
    return lines.joined(separator: "\n")
  }

  /// Stable JSON; arrays of metadata with over 32 elements are given by element type and count.
  public func json(showsTensors: Bool, showsMetadata: Bool, packing: PackingReport? = nil)
    -> String
  {
    var writer = JSONWriter()
    writer.object { json in
      json.key("format")
      json.value(format)
      json.key("files")
      json.array { json in for file in files { json.value(file) } }
      json.key("tensorCount")
      json.value(tensors.count)
      json.key("weightCount")
      json.value(weightCount)
      json.key("tensorBytes")
      json.value(byteCount)
      json.key("types")
      TypeTotal.write(typeTotals, to: &json)
      json.key("notes")
      json.array { json in for note in notes { json.value(note) } }
      if let packing {
        json.key("packing")
        packing.write(to: &json)
      }
      if showsMetadata {
        json.key("metadata")
        json.object { json in
          for (key, value) in metadata.entries {
            json.key(key.string)
            value.write(to: &json)
          }
        }
      }
      if showsTensors {
        json.key("tensors")
        json.array { json in
          for tensor in tensors { tensor.write(to: &json, files: files) }
        }
      }
    }
    return writer.text
  }
}

extension TensorDescriptor {
  fileprivate func write(to json: inout JSONWriter, files: [String]) {
    json.object { json in
      json.key("name")
      json.value(name.string)
      json.key("type")
      json.value(type.name)
      json.key("shape")
      json.array { json in for dimension in shape.dimensions { json.value(dimension) } }
      json.key("bytes")
      json.value(byteCount)
      if let region = regions.first {
        json.key("file")
        json.value(files[region.file])
        json.key("offset")
        json.value(region.fileOffset)
      }
    }
  }
}
