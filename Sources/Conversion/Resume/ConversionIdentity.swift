import Architectures
import ByteIO
import Planning
import Tensors

/// Everything that the bytes of a conversion depend on: two runs that agree in it write the same.
///
/// A line each, so that what differs can be named.
package struct ConversionIdentity: Hashable, Sendable {
  /// The same on every machine.
  package let run: [String]
  /// When the inputs were last changed: the same for every run on one file system.
  package let local: [String]

  /// - Parameters:
  ///   - plan: what will be written.
  ///   - source: the plan's input.
  ///   - importance: rows by tensor name.
  ///   - allowsNonFinite: whether NaN and infinity are written.
  ///   - version: of this program.
  ///   - shareCount: in how many shares the plan is written.
  /// - Throws: `FormatError` when an input cannot be read, or is no longer what was opened.
  package init(
    plan: ConversionPlan, source: any TensorSource, importance: [ExactString: [Float]],
    allowsNonFinite: Bool, version: String, shareCount: Int
  ) throws(FormatError) {
    var run = ["ingot \(version)", shareCount == 1 ? "all at once" : "in \(shareCount) parts"]
    var local: [String] = []
    let files = try source.files.map { path throws(FormatError) in try PositionalFile(path) }
    for file in files {
      let name = OutputFile.name(of: file.path)
      run.append(
        "input \(name) of \(file.byteCount) bytes, samples \(hex(try Self.sample(file)))")
      local.append(
        "input \(name) changed \(file.identity.modifiedSeconds)."
          + "\(file.identity.modifiedNanoseconds)")
    }
    run.append("weights samples \(hex(try Self.sample(source.tensors, of: files)))")
    try source.checkUnchanged()
    run.append("recipe \(plan.recipe)")
    run.append("types " + Self.types(plan))
    run.append("importance " + (importance.isEmpty ? "none" : hex(Self.hash(importance))))
    run.append("weights that are not finite " + (allowsNonFinite ? "kept" : "refused"))
    for output in plan.outputs {
      run.append(
        "\(output.kind.rawValue) \(OutputFile.name(of: output.path)) of \(output.byteCount) bytes, "
          + "metadata and tokenizer \(hex(XXH3.hash64(output.header)))")
    }
    run.append("\(plan.tensors.count) tensors \(hex(Self.hash(plan, source)))")
    self.run = run
    self.local = local
  }

  /// Hash of a file's beginning, its end, and pages between them.
  ///
  /// Weights that were trained on have other bytes nearly everywhere, with the same header.
  private static func sample(_ file: PositionalFile) throws(FormatError) -> UInt64 {
    let (headCount, pageCount, pageByteCount): (UInt64, UInt64, UInt64) = (64 << 10, 16, 4096)
    var bytes = try file.read(at: 0, count: Int(min(headCount, file.byteCount)))
    if file.byteCount > headCount {
      let last = file.byteCount - min(pageByteCount, file.byteCount)
      for page in 1...pageCount {
        // Not rounded to pages: a position in each of equal parts, and the end.
        let offset = last / pageCount * page + last % pageCount * page / pageCount
        bytes += try file.read(at: offset, count: Int(pageByteCount))
      }
    }
    return XXH3.hash64(bytes)
  }

  /// Hash of a few bytes at the beginning, in the middle and at the end of every tensor: a tensor
  /// that was trained on has other bytes nearly everywhere.
  private static func sample(_ tensors: [TensorDescriptor], of files: [PositionalFile])
    throws(FormatError) -> UInt64
  {
    let byteCount = 512
    var hashes: [UInt64] = []
    for tensor in tensors {
      // Most tensors are one region.
      for region in tensor.regions.count > 1
        ? [tensor.regions[0], tensor.regions[tensor.regions.count - 1]] : tensor.regions
      {
        let count = min(byteCount, region.byteCount)
        for offset in [0, (region.byteCount - count) / 2, region.byteCount - count] {
          hashes.append(
            XXH3.hash64(
              try files[region.file].read(at: region.fileOffset + UInt64(offset), count: count)))
        }
      }
    }
    return hashes.withUnsafeBytes { XXH3.hash64($0) }
  }

  private static func types(_ plan: ConversionPlan) -> String {
    var counts: [TensorType: Int] = [:]
    for tensor in plan.tensors { counts[tensor.type, default: 0] += 1 }
    return counts.sorted { $0.key.rawValue < $1.key.rawValue }
      .map { "\($0.key.name) \($0.value)" }.joined(separator: ", ")
  }

  private static func hash(_ importance: [ExactString: [Float]]) -> UInt64 {
    var text = ""
    for (name, values) in importance.sorted(by: { $0.key < $1.key }) {
      let hash = values.withUnsafeBytes { XXH3.hash64($0) }
      text += "\(name.string) \(values.count) \(hex(hash))\n"
    }
    return XXH3.hash64(Array(text.utf8))
  }

  private static func hash(_ plan: ConversionPlan, _ source: any TensorSource) -> UInt64 {
    let inputs = source.tensors
    var text = ""
    for tensor in plan.tensors {
      text +=
        "\(tensor.name) \(tensor.shape.dimensions) \(tensor.sourceType.name) \(tensor.type.name) "
        + "\(tensor.transform) \(tensor.output) \(tensor.fileOffset) \(tensor.byteCount) "
        + "\(tensor.importance?.string ?? "") \(tensor.importanceExpert) \(tensor.firstSourceRow) "
      switch tensor.source {
      case .input(let index):
        let input = inputs[index]
        text += "\(input.name) \(input.shape.dimensions) \(input.type.name)"
        for region in input.regions {
          text += " \(region.file) \(region.fileOffset) \(region.byteCount)"
        }
      case .generated(let index):
        text += hex(plan.generated[index].withUnsafeBytes { XXH3.hash64($0) })
      }
      text += "\n"
    }
    return XXH3.hash64(Array(text.utf8))
  }

  /// The first line in which a journal's run differs from this one; `nil` where none does.
  package static func difference(_ known: [String], _ wanted: [String]) -> String? {
    if known == wanted { return nil }
    guard let pair = zip(known, wanted).first(where: { $0 != $1 }) else {
      return "it had \(known.count) inputs and outputs, this one has \(wanted.count)"
    }
    return "it had '\(printable(pair.0, limit: 200))', this one has "
      + "'\(printable(pair.1, limit: 200))'"
  }
}

private func hex(_ hash: UInt64) -> String {
  let digits = String(hash, radix: 16)
  return String(repeating: "0", count: 16 - digits.count) + digits
}
