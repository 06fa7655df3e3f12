import ByteIO
import Tensors

/// One file of `torch.save` as a source of tensors; nothing in it is ever executed.
///
/// Both forms are read: the ZIP archive that torch writes since 1.6, and the older one. Strides,
/// offsets, shared and expanded storages are honoured: every tensor is delivered row-major.
///
/// Source: formats/pytorch.md
package struct PyTorchFile: TensorSource {
  package let file: PositionalFile
  package let form: PyTorchForm
  package let tensors: [TensorDescriptor]
  /// What the user should know about how the file was read.
  package let notes: [String]
  private let views: [ExactString: StorageView]
  private let checks: RecordChecks

  package var files: [String] { [file.path] }
  package var fileByteCounts: [UInt64] { [file.byteCount] }

  /// Opens the file and reads the names, shapes and places of its tensors; no weight is read.
  ///
  /// - Throws: `FormatError` for everything that is no plain dictionary of tensors.
  package init(_ path: String) throws(FormatError) {
    try self.init(PositionalFile(path))
  }

  private init(_ file: PositionalFile) throws(FormatError) {
    self.file = file
    let content: PyTorchContent
    form = try PyTorchForm(file)
    switch form {
    case .zip: content = try PyTorchContent(zip: file)
    case .legacy: content = try PyTorchContent(legacy: file)
    }
    let dictionary = try StateDictionary(content.root, content.heap, file: file.path)
    var tensors: [TensorDescriptor] = []
    var views: [ExactString: StorageView] = [:]
    tensors.reserveCapacity(dictionary.tensors.count)
    for (name, tensor) in dictionary.tensors {
      let record = content.records[tensor.storage]
      let view = StorageView(tensor, record: tensor.storage, recordOffset: record.fileOffset)
      views[name] = view
      tensors.append(
        TensorDescriptor(
          name: name, shape: tensor.shape, type: tensor.type,
          regions: [
            .init(file: 0, fileOffset: view.entries.start, byteCount: view.entries.spanByteCount)
          ]))
    }
    self.tensors = tensors
    self.views = views
    notes = dictionary.notes
    checks = RecordChecks(content.records)
  }

  package func read(
    _ tensor: TensorDescriptor, at byteOffset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    precondition(byteOffset >= 0 && byteOffset <= tensor.byteCount - buffer.count)
    guard let view = views[tensor.name] else { preconditionFailure("no tensor \(tensor.name)") }
    try view.entries.read(at: byteOffset, into: buffer) { runs, bytes throws(FormatError) in
      try file.read(runs, into: bytes, field: tensor.name.string)
    }
    if view.entries.isContiguous {
      let start = view.entries.start - checks.records[view.record].fileOffset
      checks.update(view.record, at: start + UInt64(byteOffset), UnsafeRawBufferPointer(buffer))
    } else {
      checks.touch(view.record)
    }
  }

  package func read(
    _ tensor: TensorDescriptor, runs: ByteRuns, into buffer: UnsafeMutableRawBufferPointer
  ) throws(FormatError) {
    guard let view = views[tensor.name], view.entries.isContiguous else {
      try readEach(tensor, runs, into: buffer)
      return
    }
    let inFile = runs.moved(by: Int(view.entries.start))
    try file.read(inFile, into: buffer, field: tensor.name.string)
    let recordOffset = Int(checks.records[view.record].fileOffset)
    checks.update(
      view.record, runs: inFile.moved(by: -recordOffset), UnsafeRawBufferPointer(buffer))
  }

  package func prefetch(_ tensor: TensorDescriptor, at byteOffset: Int, byteCount: Int) {
    guard let view = views[tensor.name], view.entries.isContiguous else { return }
    file.prefetch(at: view.entries.start + UInt64(byteOffset), byteCount: byteCount)
  }

  /// The checksum of a tensor that is one whole record; `nil` for others, and where there is none.
  func digest(of tensor: TensorDescriptor) -> RecordDigest? {
    guard let view = views[tensor.name], view.entries.isContiguous else { return nil }
    let record = checks.records[view.record]
    guard let crc32 = record.crc32, view.entries.start == record.fileOffset,
      UInt64(tensor.byteCount) == record.byteCount
    else { return nil }
    return RecordDigest(crc32: crc32, byteCount: record.byteCount)
  }

  /// Whether two tensors are the same entries of the same record.
  func isSameView(_ first: TensorDescriptor, _ second: TensorDescriptor) -> Bool {
    guard first.type == second.type, first.shape == second.shape else { return false }
    return views[first.name] == views[second.name]
  }

  /// Has the checksum of a tensor's record compared in the end, as if the tensor were read.
  func touch(_ tensor: TensorDescriptor) {
    if let view = views[tensor.name] { checks.touch(view.record) }
  }

  /// Throws when the file was changed, or when a record that was read has another checksum than
  /// the file's directory says.
  package func checkUnchanged() throws(FormatError) {
    try checks.finish(file)
    try file.checkUnchanged()
  }
}

/// What tells one record's bytes from another's.
struct RecordDigest: Hashable, Sendable {
  var crc32: UInt32
  var byteCount: UInt64
}

/// What both forms of the file come down to.
struct PyTorchContent {
  var root: PickleValue
  var heap: PickleHeap
  /// One per storage of the heap.
  var records: [StorageRecord]
}

/// The two forms that `torch.save` writes.
package enum PyTorchForm: Sendable {
  case zip, legacy

  /// Bytes at the start of a file that tell its form.
  package static let magicByteCount = 262

  /// The form that a file's first bytes look like; `nil` for anything else.
  package init?(magic: [UInt8]) {
    if magic.starts(with: [0x50, 0x4B, 3, 4]) || magic.starts(with: [0x50, 0x4B, 5, 6]) {
      self = .zip
    } else if magic.count >= 2, magic[0] == PickleOpcode.PROTO.rawValue, magic[1] < 16 {
      self = .legacy
    } else if Self.isTar(magic) {
      self = .legacy
    } else {
      return nil
    }
  }

  private static func isTar(_ magic: [UInt8]) -> Bool {
    magic.count >= magicByteCount && magic[257...].starts(with: Array("ustar".utf8))
  }

  init(_ file: PositionalFile) throws(FormatError) {
    try file.refuseGitPointer()
    let magic = try file.read(at: 0, count: Int(min(UInt64(Self.magicByteCount), file.byteCount)))
    guard !Self.isTar(magic) else {
      throw FormatError(
        file: file.path, fileOffset: 257, field: "file",
        reason: .unsupported(
          found: "a tar archive, as torch before 0.1.10 saved", allowed: "the forms since then"),
        advice: "load it with torch and save it again")
    }
    guard let form = PyTorchForm(magic: magic) else {
      throw FormatError(
        file: file.path, fileOffset: 0, field: "file",
        reason: .unsupported(found: "no file of torch.save", allowed: "a ZIP archive or a pickle"),
        advice: "the file may not be downloaded completely")
    }
    self = form
  }
}
