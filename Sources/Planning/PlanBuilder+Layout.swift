import Architectures
import ByteIO
import GGUF
import Tensors

extension PlanBuilder {
  /// Version of the block layouts that all readers of today expect.
  static let quantizationVersion: UInt32 = 2

  /// The three keys that say which part of a split archive a file is, and padding.
  private static let splitKeysByteCount = 256

  /// Distributes the tensors over files and gives each its offset; returns the metadata.
  ///
  /// The input has been checked, so what does not fit a file is the recipe's fault.
  func layOut(_ plan: inout ConversionPlan) throws -> Metadata {
    let metadata = try archiveMetadata(plan)
    do {
      try layOutParts(&plan, metadata)
    } catch let error as FormatError {
      throw UsageError(error.description)
    }
    return metadata
  }

  private func layOutParts(_ plan: inout ConversionPlan, _ metadata: Metadata) throws {
    let infos = plan.tensors.map { GGUFTensorInfo(name: $0.name, shape: $0.shape, type: $0.type) }
    let ranges: [Range<Int>]
    if recipe.keepsSplit {
      ranges = partRanges(plan)
    } else if let limit = recipe.splitByteCount {
      ranges = GGUFSplit.ranges(
        infos, maximumByteCount: limit,
        headerByteCount: try GGUFLayout(metadata: metadata, tensors: infos, file: output)
          .headerBytes.count + Self.splitKeysByteCount,
        alignment: metadata.alignment)
    } else {
      ranges = [infos.indices]
    }
    for (part, range) in ranges.enumerated() {
      let path = outputPath(part: part, of: ranges.count)
      let layout = try GGUFLayout(
        metadata: GGUFSplit.metadata(
          metadata, part: part, of: ranges.count, tensorCount: infos.count,
          order: recipe.keepsSplit ? .quantizer : .splitter, file: path),
        tensors: Array(infos[range]), file: path)
      for (index, offset) in zip(range, layout.tensorOffsets) {
        plan.tensors[index].output = part
        plan.tensors[index].fileOffset = offset
      }
      if let limit = recipe.splitByteCount, layout.fileByteCount > limit {
        plan.notes.append(
          "\(printable(path)) has \(layout.fileByteCount) bytes, more than the limit, because one "
            + "tensor or the metadata alone does")
      }
      plan.outputs.append(
        ConversionPlan.Output(
          path: path, header: layout.headerBytes, byteCount: layout.fileByteCount))
    }
  }

  private func partRanges(_ plan: ConversionPlan) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    var start = 0
    for part in 0..<model.partCount {
      var end = start
      while end < plan.tensors.count, plan.tensors[end].output == part { end += 1 }
      ranges.append(start..<end)
      start = end
    }
    return ranges
  }

  private func outputPath(part: Int, of count: Int) -> String {
    guard count > 1 else { return output }
    let prefix = output.hasSuffix(".gguf") ? String(output.dropLast(5)) : output
    return SplitName(prefix: prefix, part: part, partCount: count).path
  }

  /// The archive's keys in the reference quantizer's order: the input's, what it sets, overrides,
  /// importance, and behind them our own.
  private func archiveMetadata(_ plan: ConversionPlan) throws -> Metadata {
    var metadata = model.metadata
    let fileType: UInt32
    if let mix {
      fileType = recipe.types.isEmpty ? mix.fileType : fileTypeOfMost(plan)
    } else {
      // A checkpoint states none. If it is a quantized release, its blocks name the archive.
      let stored =
        model.isArchive
        ? metadata["general.file_type"]?.int.flatMap { UInt32(exactly: $0) } : nil
      fileType = stored ?? fileTypeOfMost(plan)
    }
    metadata.setLast("general.quantization_version", .uint32(Self.quantizationVersion))
    metadata.setLast("general.file_type", .uint32(fileType))
    metadata.apply(try recipe.metadataOverrides.map { try MetadataOverride(parsing: $0) })
    if let importance, !isCopy { metadata.apply(importance.archiveMetadata) }
    // What the model computes stays; where another archive came from does not.
    for key in metadata.keys
    where key.string.hasPrefix("ingot.") && !key.string.hasPrefix(NonstockAttention.prefix) {
      metadata[key] = nil
    }
    if plan.tensors.contains(where: { SplitExperts.stack(of: $0.name) != nil }) {
      metadata[SplitExperts.key] = .bool(true)
    }
    if recipe.hasProvenance {
      // An archive that serves as a recipe also names tensors whose type nobody chooses.
      let chosen = Set(plan.tensors.filter { $0.isFree || $0.isForced }.map(\.name))
      metadata.merge(
        try Provenance.metadata(
          of: model.source, recipe: recipe, title: plan.recipe,
          expectedDivergence: expectedDivergence(plan), version: version,
          types: recipe.types.filter { chosen.contains($0.key) },
          hasImportance: importance != nil && !isCopy))
    }
    return metadata
  }

  /// What the types were chosen to cost, where these are the types and the importance that this is
  /// said of.
  private func expectedDivergence(_ plan: ConversionPlan) -> Double? {
    // Of a draft the size is promised before its types are chosen, given ones among them.
    if recipe.isDraft { return recipe.expectedDivergence }
    let isKept = plan.tensors.allSatisfy {
      !$0.isForced || recipe.types[$0.name] == $0.type
    }
    return isKept && recipe.typesHaveImportance == (importance != nil)
      ? recipe.expectedDivergence : nil
  }

  private func fileTypeOfMost(_ plan: ConversionPlan) -> UInt32 {
    var byteCounts: [TensorType: Int] = [:]
    for tensor in plan.tensors { byteCounts[tensor.type, default: 0] += tensor.byteCount }
    let blocks = byteCounts.filter { $0.key.isBlockType }
    return Planning.fileType(
      holdingMostOf: model.isArchive || blocks.isEmpty ? byteCounts : blocks)
  }
}

extension Metadata {
  /// Alignment of tensor data, checked by whoever read or lays out the file.
  fileprivate var alignment: Int {
    self[GGUFFormat.Key.alignment]?.int ?? GGUFFormat.defaultAlignment
  }
}
