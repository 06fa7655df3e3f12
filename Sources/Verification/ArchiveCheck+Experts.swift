import GGUF
import Tensors

extension ModelDimensions {
  /// Compares what the keys say of experts with the tensors that stack them.
  ///
  /// Where all of those agree on something else, that is one finding about the key, and the tensors
  /// are checked as they are: else each would be one.
  mutating func checkExperts(
    of archive: GGUFFile, architecture: String, _ report: inout CheckReport
  ) {
    checkUsedCount(archive.metadata, architecture: architecture, &report)
    var counts: Set<Int> = []
    var layers: Set<Int> = []
    for tensor in archive.tensors {
      let parts = tensor.name.string.split(separator: ".", omittingEmptySubsequences: false)
      guard parts.count == 4, parts[0] == "blk", parts[3] == "weight",
        ["ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"].contains(parts[2]),
        let layer = Int(parts[1]), (0..<layerCount).contains(layer), tensor.shape.rank == 3
      else { continue }
      counts.insert(tensor.shape.dimensions[0])
      layers.insert(layer)
    }
    guard let count = counts.first, counts.count == 1, count > 0 else { return }
    if count != expertCount {
      let key = "\(architecture).expert_count"
      report.error(
        key, archive.metadata[key] == nil ? "is missing" : "is \(expertCount)",
        allowed: "\(count), as the experts' tensors have")
      expertCount = count
    }
    let key = stepKey(architecture)
    guard let first = layers.min(), first + 1 != expertLayerStep,
      KeyTable.rows(of: architecture).contains(where: { $0.key == key }),
      layers == Set((0..<layerCount).filter { ($0 + 1) % (first + 1) == 0 })
    else { return }
    // A key that is not there or impossible is a finding already.
    if archive.metadata[key]?.int == expertLayerStep {
      report.error(
        key, "is \(expertLayerStep)",
        allowed: "\(first + 1), as the layers with experts' tensors have")
    }
    expertLayerStep = first + 1
  }

  private func stepKey(_ architecture: String) -> String {
    "\(architecture).interleave_moe_layer_step"
  }

  private func checkUsedCount(
    _ metadata: Metadata, architecture: String, _ report: inout CheckReport
  ) {
    let key = "\(architecture).expert_used_count"
    guard let value = metadata[key] else {
      if expertCount > 0 { report.error(key, "is missing", allowed: "1 to \(expertCount)") }
      return
    }
    guard value.array?.count ?? 0 <= KeyTable.maximumLayerElementCount else { return }
    let allowed = expertCount > 0 ? 1...expertCount : 0...0
    guard let used = wholeNumbers(value).first(where: { !allowed.contains($0) }) else { return }
    report.error(
      key, "is \(used)",
      allowed: expertCount > 0 ? "1 to the expert count, \(expertCount)" : "0 without experts")
  }
}
