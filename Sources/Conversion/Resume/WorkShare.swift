import Planning
import Tensors

/// One of the shares in which several machines write one plan: `--part K/N`.
public struct WorkShare: Hashable, Sendable {
  /// From 1.
  public let number: Int
  public let count: Int

  /// Most shares that a plan may be cut into.
  public static let countLimit = 9999

  public init?(number: Int, of count: Int) {
    guard (1...Self.countLimit).contains(count), (1...count).contains(number) else { return nil }
    self.number = number
    self.count = count
  }

  /// Takes `K/N`.
  public init?(_ text: String) {
    let numbers = text.split(separator: "/", omittingEmptySubsequences: false).map { Int($0) }
    guard numbers.count == 2, let number = numbers[0], let count = numbers[1] else { return nil }
    self.init(number: number, of: count)
  }
}

/// The bytes of a plan's files that one share writes: a range of each file, empty for most.
///
/// Shares follow each other through the files in their order. Cuts lie at multiples of 64 KiB, so
/// that no two machines write one page of memory, whose owner a network file system may not know.
/// They follow from the plan alone, not from threads or memory. Where the plan has files enough,
/// shares are whole files.
///
/// Source: formats/many-machines.md
package struct ShareRanges: Hashable, Sendable {
  /// One for each output of the plan.
  package let ranges: [Range<UInt64>]

  static let alignment: UInt64 = 64 << 10
  /// How much more than the mean the largest share may have for the sake of whole files, in percent.
  static let wholeFilesPercent: UInt64 = 125

  /// Everything.
  package init(whole plan: ConversionPlan) { ranges = plan.outputs.map { 0..<$0.byteCount } }

  package init(_ plan: ConversionPlan, share: WorkShare) {
    let places = Self.cuts(plan, count: share.count)
    let (from, to) = (places[share.number - 1], places[share.number])
    ranges = plan.outputs.indices.map { output in
      let end = plan.outputs[output].byteCount
      let lower = output < from.output ? end : output == from.output ? from.offset : 0
      let upper = output < to.output ? end : output == to.output ? to.offset : 0
      return lower < upper ? lower..<upper : 0..<0
    }
  }

  /// The end of one share and the beginning of the next one.
  fileprivate struct Cut {
    var output: Int
    var offset: UInt64
    /// Bytes read and written before it.
    var cost: UInt64
  }

  private static func cuts(_ plan: ConversionPlan, count: Int) -> [Cut] {
    let tensors = plan.tensors.filter { $0.byteCount > 0 }.sorted {
      ($0.output, $0.fileOffset) < ($1.output, $1.fileOffset)
    }
    func cost(_ tensor: ConversionPlan.Tensor) -> UInt64 {
      UInt64(tensor.byteCount)
        + UInt64(tensor.sourceType.byteCount(weightCount: tensor.elementCount) ?? 0)
    }
    let total = tensors.reduce(0) { $0 + cost($1) }
    let first = Cut(output: 0, offset: 0, cost: 0)
    let last = Cut(output: plan.outputs.count, offset: 0, cost: total)
    var fileStarts = [first]
    var cuts = [first]
    var before: UInt64 = 0
    for tensor in tensors {
      if let known = fileStarts.last, known.output < tensor.output {
        fileStarts.append(Cut(output: tensor.output, offset: 0, cost: before))
      }
      let after = before + cost(tensor)
      while cuts.count < count {
        let wanted =
          total / UInt64(count) * UInt64(cuts.count)
          + total % UInt64(count) * UInt64(cuts.count) / UInt64(count)
        guard wanted < after else { break }
        let product = UInt64(tensor.byteCount).multipliedFullWidth(by: wanted - before)
        let offset = tensor.fileOffset + (after - before).dividingFullWidth(product).quotient
        cuts.append(
          Cut(output: tensor.output, offset: offset / alignment * alignment, cost: wanted))
      }
      before = after
    }
    while cuts.count < count { cuts.append(last) }
    cuts.append(last)
    fileStarts.append(last)
    let whole = cuts.map { cut in
      fileStarts.min { cut.distance(to: $0) < cut.distance(to: $1) } ?? cut
    }
    let largest = zip(whole, whole.dropFirst()).map { $1.cost - $0.cost }.max() ?? 0
    let mean = total / UInt64(count)
    return largest <= mean / 100 * wholeFilesPercent ? whole : cuts
  }
}

extension ShareRanges.Cut {
  fileprivate func distance(to other: Self) -> UInt64 {
    cost < other.cost ? other.cost - cost : cost - other.cost
  }
}
