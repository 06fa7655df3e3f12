import ByteIO

extension ImportanceSums {
  /// Tokens of a chunk where no file says.
  package static let usualChunkSize = 512

  /// Adds up files as `llama-imatrix --in-file` does: sums, counts and the names of the texts.
  ///
  /// A file of the older form counts calls and not tokens; one call is taken as a chunk.
  ///
  /// - Parameters:
  ///   - parts: at least one, in the order in which their texts are listed.
  ///   - chunkSize: of the result; `nil` takes that of the first part which says.
  /// - Returns: the sum, named like the first part.
  /// - Throws: `FormatError` where an entry has another size than in a part before it, or a part has
  ///   another number of layers.
  package static func merged(_ parts: [ImportanceSums], chunkSize: Int? = nil)
    throws(FormatError) -> ImportanceSums
  {
    let size = max(1, chunkSize ?? parts.lazy.compactMap(\.chunkSize).first ?? usualChunkSize)
    var result = ImportanceSums(
      entries: [:], datasets: [], chunkCount: 0, chunkSize: size, file: parts.first?.file ?? "")
    /// Where each entry came from, for errors.
    var origins: [ExactString: String] = [:]
    for part in parts {
      try part.checkLayers(like: parts[0])
      result.datasets += part.datasets
      // One call of the older form is a chunk.
      let factor: Float = part.chunkSize == nil ? Float(size) : 1
      for (name, entry) in part.entries.sorted(by: { $0.key < $1.key }) {
        var entry = entry
        if factor != 1 { entry.multiply(by: factor) }
        guard let known = result.entries[name] else {
          result.entries[name] = entry
          origins[name] = part.file
          continue
        }
        guard let sum = known.adding(entry) else {
          throw FormatError(
            file: part.file, field: "imatrix[\(name)]",
            reason: .inconsistent(
              "has \(entry.size), and \(known.size) in \(printable(origins[name] ?? ""))"),
            advice: "these are importance data of different models")
        }
        if let index = sum.sums.firstIndex(where: { !$0.isFinite }) {
          throw FormatError(
            file: part.file, field: "imatrix[\(name)]",
            reason: .outOfRange(
              found: "a sum too large for single precision in column "
                + "\(index % sum.columnCount)", allowed: "finite numbers"))
        }
        result.entries[name] = sum
      }
    }
    result.chunkCount = result.largestCount / size
    return result
  }

  private func checkLayers(like other: ImportanceSums) throws(FormatError) {
    let (own, others) = (lastLayer, other.lastLayer)
    guard own != others, let own, let others else { return }
    throw FormatError(
      file: file, field: "imatrix",
      reason: .inconsistent(
        "has layers up to \(own), and \(printable(other.file)) up to \(others)"),
      advice: "these are importance data of different models")
  }

  /// The largest N of all names `blk.N.*`; `nil` without any.
  package var lastLayer: Int? { GGUF.lastLayer(of: entries.keys) }

  /// Most tokens that an expert of any matrix has seen; for a dense matrix, all of them.
  private var largestCount: Int {
    let largest = entries.values.lazy.compactMap { $0.counts.max() }.max() ?? 0
    return Int(exactly: largest) ?? Int(Int32.max)
  }
}

extension ImportanceMatrix {
  /// The largest N of all names `blk.N.*`; `nil` without any.
  package var lastLayer: Int? { GGUF.lastLayer(of: entries.keys) }
}

func lastLayer(of names: some Sequence<ExactString>) -> Int? {
  names.lazy.compactMap { name in
    let parts = name.string.split(separator: ".", maxSplits: 2)
    return parts.count == 3 && parts[0] == "blk" ? Int(parts[1]) : nil
  }.max()
}

extension ImportanceSums.Entry {
  fileprivate var size: String {
    expertCount == 1 ? "\(sums.count) sums" : "\(sums.count) sums for \(expertCount) experts"
  }

  fileprivate mutating func multiply(by factor: Float) {
    for index in sums.indices { sums[index] *= factor }
    for index in counts.indices { counts[index] *= factor }
  }

  /// The sum with another entry; `nil` when their sizes differ.
  ///
  /// Old files have one count for all experts of a matrix: it holds for each of them.
  fileprivate func adding(_ other: Self) -> Self? {
    guard sums.count == other.sums.count,
      expertCount == other.expertCount || expertCount == 1 || other.expertCount == 1
    else { return nil }
    var result = expertCount >= other.expertCount ? self : other
    let addend = expertCount >= other.expertCount ? other : self
    for index in result.sums.indices { result.sums[index] += addend.sums[index] }
    for index in result.counts.indices {
      result.counts[index] += addend.counts[addend.expertCount == 1 ? 0 : index]
    }
    return result
  }
}
