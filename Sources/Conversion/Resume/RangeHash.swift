import ByteIO
import CKernels
import Quantizers

/// The hash of a written range that journals keep: XXH3 of sums of its pages.
///
/// Every byte takes part, at an eighth of the instructions of XXH3 over all of them: adding takes one
/// for 32 bytes, and a 64th of the bytes is left to hash. It is for damage, not for forgers: what
/// changes a page and none of its sums has to change words that lie below each other by as much as
/// it changes them back.
///
///     page     64 rows of 64 bytes; the last page of a range ends with zeros
///     sums     one row: of each of the 8 columns of 64-bit words, modulo 2^64
///     hash     XXH3-64 of the sums of all pages
///
/// Source: formats/journal.md
package enum RangeHash {
  package static let chosen = (try? KernelTable.choice.get()) ?? .scalar
  private static let pageByteCount = Int(INGOT_PAGE_BYTES)
  private static let sumByteCount = Int(INGOT_PAGE_SUM_BYTES)

  /// Of at most `JournalRecord.rangeByteLimit` bytes, which keeps the sums few.
  ///
  /// - Parameters:
  ///   - bytes: the range.
  ///   - kernels: to add with; all give the same.
  /// - Returns: the hash.
  package static func hash64(_ bytes: UnsafeRawBufferPointer, kernels: KernelTable = chosen)
    -> UInt64
  {
    let wholeCount = bytes.count / pageByteCount
    let rest = bytes.count % pageByteCount
    let pageCount = wholeCount + (rest > 0 ? 1 : 0)
    return withUnsafeTemporaryAllocation(
      byteCount: max(1, pageCount * sumByteCount), alignment: 64
    ) { sums in
      guard let target = sums.bindMemory(to: UInt8.self).baseAddress,
        let pages = bytes.bindMemory(to: UInt8.self).baseAddress
      else { return XXH3.hash64([]) }
      ingot_sum_pages(kernels.set, pages, wholeCount, target)
      if rest > 0 {
        withUnsafeTemporaryAllocation(byteCount: pageByteCount, alignment: 64) { page in
          page.initializeMemory(as: UInt8.self, repeating: 0)
          page.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[(bytes.count - rest)...]))
          if let last = page.bindMemory(to: UInt8.self).baseAddress {
            ingot_sum_pages(kernels.set, last, 1, target + wholeCount * sumByteCount)
          }
        }
      }
      return XXH3.hash64(UnsafeRawBufferPointer(rebasing: sums[..<(pageCount * sumByteCount)]))
    }
  }
}
