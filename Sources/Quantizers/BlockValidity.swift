import CKernels
import Tensors

/// Where the F16 numbers of a block lie that scale or shift all its weights.
///
/// Byte offsets in the block. Codes and integer scales are always finite, so a block is valid when
/// these are. Source: the pages of formats/quant, which a test holds against this table.
private let halfOffsets: [TensorType: [Int]] = [
  .f16: [0],
  .q4_0: [0],
  .q4_1: [0, 2],
  .q5_0: [0],
  .q5_1: [0, 2],
  .q8_0: [0],
  .q2_K: [80, 82],
  .q3_K: [108],
  .q4_K: [0, 2],
  .q5_K: [0, 2],
  .q6_K: [208],
  .iq1_S: [0],
  .iq2_XXS: [0],
  .iq2_XS: [0],
  .iq2_S: [0],
  .iq3_XXS: [0],
  .iq3_S: [0],
  .iq4_NL: [0],
  .iq4_XS: [0],
  .tq1_0: [52],
  .tq2_0: [64],
  .q1_0: [0],
  .q2_0: [0],
]

extension KernelTable {
  /// Offsets in a block of its F16 scales; `nil` for types without or not known.
  package static func scaleOffsets(_ type: TensorType) -> [Int]? { halfOffsets[type] }

  /// Whether `firstInvalidBlock` knows the type.
  package func canValidate(_ type: TensorType) -> Bool {
    switch type {
    case .f32, .bf16, .f64, .mxfp4, .nvfp4, .iq1_M: true
    default: halfOffsets[type] != nil
    }
  }

  /// Index of the first block whose scales (or values) are not finite.
  ///
  /// For an archive, and for blocks just written: a scale may overflow half precision.
  ///
  /// - Parameters:
  ///   - type: one that `canValidate`.
  ///   - blocks: `blockCount * type.bytesPerBlock` bytes, any alignment.
  ///   - blockCount: may be zero.
  /// - Returns: `nil` when every block is valid.
  package func firstInvalidBlock(
    _ type: TensorType, blocks: UnsafeRawPointer, blockCount: Int
  ) -> Int? {
    precondition(blockCount >= 0)
    switch type {
    case .f32:
      return firstIndex(below: blockCount) { index in
        !Float(
          bitPattern: blocks.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self)
        ).isFinite
      }
    case .bf16:
      return firstIndex(below: blockCount) { index in
        let upper = blocks.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self)
        return upper & 0x7F80 == 0x7F80
      }
    case .f64:
      return firstIndex(below: blockCount) { index in
        !Double(
          bitPattern: blocks.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self)
        ).isFinite
      }
    case .iq1_M:
      // Four bits of the F16 d in the high bits of each 16-bit word from 48 on, lowest first: it is
      // not finite when the high five bits but the sign are set.
      return firstIndex(below: blockCount) { index in
        let words = blocks + (index * type.bytesPerBlock + 48)
        return words.load(fromByteOffset: 7, as: UInt8.self) & 0x70 == 0x70
          && words.load(fromByteOffset: 5, as: UInt8.self) & 0xC0 == 0xC0
      }
    case .mxfp4:
      return firstIndex(below: blockCount) { index in
        blocks.load(fromByteOffset: index * type.bytesPerBlock, as: UInt8.self) == 0xFF
      }
    case .nvfp4:
      // Every byte is a scale: what would be NaN means 0.
      return nil
    default:
      guard let offsets = halfOffsets[type] else {
        preconditionFailure("no validity rule for \(type)")
      }
      let bytes = blocks.assumingMemoryBound(to: UInt8.self)
      var first = blockCount
      for offset in offsets where first > 0 {
        first = ingot_first_non_finite_half(bytes + offset, type.bytesPerBlock, first)
      }
      return first < blockCount ? first : nil
    }
  }
}

private func firstIndex(below count: Int, where isWanted: (Int) -> Bool) -> Int? {
  (0..<count).first(where: isWanted)
}
