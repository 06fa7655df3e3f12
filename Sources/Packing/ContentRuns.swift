import ByteIO
import Checkpoints
import GGUF
import Tensors

/// What a file to be packed is made of: runs of weights of one type, and other bytes.
struct ContentRun: Hashable, Sendable {
  var byteCount: UInt64
  var layout: PackedLayout
  /// Of the weights; `nil` for other bytes.
  var typeName: String?
}

extension PackedLayout {
  /// The layout that weights of a type are packed in; blocks are left as they come.
  package init(_ type: TensorType) {
    self =
      switch type {
      case .f16, .bf16: .floats16
      case .f32, .c64: .floats32
      case .f64: .floats64
      case .i16, .u16: .words16
      case .i32, .u32: .words32
      case .i64, .u64: .words64
      default: .bytes
      }
  }
}

enum ContentRuns {
  /// Runs shorter than this join the one before, if that has the same type: a frame of its own would
  /// cost more than it is worth.
  static let joinedByteLimit: UInt64 = 64 << 10
  /// Padding between tensors, which goes with the tensor before it.
  static let paddingByteLimit: UInt64 = 256

  /// The runs of a file, whose bytes tell its format.
  ///
  /// A file that is damaged, or of no known format, is one run of other bytes: packing keeps
  /// whatever there is.
  static func of(_ file: PositionalFile) throws(FormatError) -> [ContentRun] {
    guard file.byteCount > 0 else { return [] }
    let magic = try file.read(
      at: 0, count: Int(min(UInt64(WeightFormat.magicByteCount), file.byteCount)), field: "magic")
    let tensors: [TensorDescriptor]
    if magic.starts(with: Array("GGUF".utf8)) {
      tensors = try known { () throws(FormatError) in try GGUFHeader(file).tensors }
    } else {
      switch WeightFormat(magic: magic) {
      case .safetensors:
        tensors = try known { () throws(FormatError) in try SafetensorsHeader(file).tensors }
      case .pytorch:
        tensors = try known { () throws(FormatError) in try PyTorchFile(file.path).tensors }
      case nil: tensors = []
      }
    }
    return joined(
      tensors.flatMap { tensor in tensor.regions.map { (tensor.type, $0) } },
      fileByteCount: file.byteCount)
  }

  /// What a header says, nothing where it is damaged; a disk that fails makes no other archive.
  private static func known(_ tensors: () throws(FormatError) -> [TensorDescriptor])
    throws(FormatError) -> [TensorDescriptor]
  {
    do throws(FormatError) {
      return try tensors()
    } catch {
      if case .readFailed = error.reason { throw error }
      return []
    }
  }

  /// The whole file as other bytes.
  static func plain(_ file: PositionalFile) -> [ContentRun] {
    joined([], fileByteCount: file.byteCount)
  }

  /// Orders the tensors, gives what lies between them to runs of other bytes, and joins neighbours.
  static func joined(
    _ tensors: [(type: TensorType, region: TensorDescriptor.Region)], fileByteCount: UInt64
  ) -> [ContentRun] {
    var runs: [ContentRun] = []
    var covered: UInt64 = 0
    func cover(to end: UInt64) {
      guard end > covered else { return }
      append(ContentRun(byteCount: end - covered, layout: .bytes, typeName: nil), to: &runs)
      covered = end
    }
    for (type, region) in tensors.sorted(by: { $0.region.fileOffset < $1.region.fileOffset }) {
      let layout = PackedLayout(type)
      // Storages of PyTorch may be shared; what an earlier tensor covers is not packed twice.
      let start = max(region.fileOffset, covered)
      let (end, overflow) = region.fileOffset.addingReportingOverflow(UInt64(region.byteCount))
      let word = UInt64(layout.wordByteCount)
      guard !overflow, end <= fileByteCount, end > start, (end - start) % word == 0,
        (start - region.fileOffset) % word == 0
      else { continue }
      cover(to: start)
      append(
        ContentRun(byteCount: end - start, layout: layout, typeName: type.name), to: &runs)
      covered = end
    }
    cover(to: fileByteCount)
    return runs
  }

  private static func append(_ run: ContentRun, to runs: inout [ContentRun]) {
    if let last = runs.last {
      let isSmallAndAlike =
        run.byteCount < joinedByteLimit && last.layout == run.layout
        && last.typeName == run.typeName
      let isPadding =
        run.typeName == nil && last.typeName != nil && run.byteCount < paddingByteLimit
        && run.byteCount % UInt64(last.layout.wordByteCount) == 0
      if isSmallAndAlike || isPadding {
        runs[runs.count - 1].byteCount += run.byteCount
        return
      }
    }
    runs.append(run)
  }
}
