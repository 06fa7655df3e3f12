import Quantizers
import Tensors
import TestSupport
import Testing

struct ValidityTests {
  @Test(arguments: KernelTable.runnableHere)
  func findsTheFirstNonFinite(_ kernels: KernelTable) {
    let finite = [Float](repeating: .greatestFiniteMagnitude, count: 67)
    #expect(kernels.firstNonFinite(finite, count: 67) == nil)
    #expect(kernels.firstNonFinite(finite, count: 0) == nil)
    for index in [0, 1, 15, 16, 31, 63, 66] {
      for fault in [Float.nan, .infinity, -.infinity, .signalingNaN] {
        var values = finite
        values[index] = fault
        values[66] = .nan
        #expect(kernels.firstNonFinite(values, count: 67) == index)
        #expect(kernels.firstNonFinite(values, count: index) == nil)
      }
    }
  }

  /// Every scale of every block is looked at: breaking any one of them is found.
  @Test(arguments: quantizedTypes.filter { KernelTable.scaleOffsets($0) != nil })
  func findsABrokenScale(_ type: TensorType) throws {
    let kernels = KernelTable.scalar
    let blocks = kernels.blocks(type, adversarialRows[0].weights, columnCount: 512)
    #expect(kernels.firstInvalidBlock(type, blocks) == nil)
    for block in [0, 2, blocks.count / type.bytesPerBlock - 1] {
      for offset in try #require(KernelTable.scaleOffsets(type)) {
        for (low, high) in [(0x00, 0x7C), (0x01, 0x7C), (0x00, 0xFC)] as [(UInt8, UInt8)] {
          var broken = blocks
          broken[block * type.bytesPerBlock + offset] = low
          broken[block * type.bytesPerBlock + offset + 1] = high
          #expect(kernels.firstInvalidBlock(type, broken) == block)
        }
      }
    }
  }

  /// Every value that the four parts of d may take, against the value itself.
  @Test func findsABrokenScaleInFourParts() {
    let kernels = KernelTable.scalar
    let blocks = kernels.blocks(.iq1_M, adversarialRows[0].weights, columnCount: 512)
    #expect(kernels.firstInvalidBlock(.iq1_M, blocks) == nil)
    for half in stride(from: UInt16(0), through: 0xFFC0, by: 0x40) {
      var changed = blocks
      for part in 0..<4 {
        let offset = 2 * TensorType.iq1_M.bytesPerBlock + 49 + 2 * part
        changed[offset] = changed[offset] & 0x0F | UInt8(half >> (4 * part) & 15) << 4
      }
      let isFinite = half & 0x7C00 != 0x7C00
      #expect(kernels.firstInvalidBlock(.iq1_M, changed) == (isFinite ? nil : 2), "\(half)")
      #expect(kernels.weights(.iq1_M, changed).allSatisfy(\.isFinite) == isFinite, "\(half)")
    }
  }

  @Test func typesOfTwoBitsAndFewerNeedImportance() {
    for kernels in KernelTable.runnableHere {
      let refusing = quantizedTypes.filter { !kernels.canQuantizeWithoutImportance($0) }
      #expect(Set(refusing) == [.iq1_S, .iq1_M, .iq2_XXS, .iq2_XS, .iq2_S])
    }
  }

  @Test func findsBrokenElements() {
    let kernels = KernelTable.scalar
    #expect(kernels.firstInvalidBlock(.bf16, [0, 0, 0x80, 0x7F]) == 1)
    #expect(kernels.firstInvalidBlock(.bf16, [0, 0, 0x7F, 0x7F]) == nil)
    #expect(kernels.firstInvalidBlock(.f32, [0, 0, 0, 0, 0, 0, 0x80, 0xFF]) == 1)
    #expect(kernels.firstInvalidBlock(.f64, [0, 0, 0, 0, 0, 0, 0xF0, 0x7F]) == 0)
    #expect(kernels.firstInvalidBlock(.f64, [0, 0, 0, 0, 0, 0, 0xE0, 0x7F]) == nil)
  }

  /// The exponent 255 of MXFP4 is no number; every byte of NVFP4 is a scale.
  @Test func findsBrokenExponents() {
    let kernels = KernelTable.scalar
    for (type, scaleCount, invalid) in [(.mxfp4, 1, 1), (.nvfp4, 4, nil)]
      as [(TensorType, Int, Int?)]
    {
      var blocks = [UInt8](repeating: 0xFE, count: 3 * type.bytesPerBlock)
      #expect(kernels.firstInvalidBlock(type, blocks) == nil)
      for offset in 0..<scaleCount { blocks[type.bytesPerBlock + offset] = 0xFF }
      #expect(kernels.firstInvalidBlock(type, blocks) == invalid)
    }
  }

  /// A scale beyond 65,504 becomes infinite in half precision, and is found.
  @Test(
    arguments: KernelTable.runnableHere,
    quantizedTypes.filter { $0.isBlockType && KernelTable.scaleOffsets($0) != nil })
  func findsAScaleThatOverflowed(_ kernels: KernelTable, _ type: TensorType) {
    var rows = [Float](repeating: 0.5, count: 1024)
    for i in 512..<768 { rows[i] = i % 2 == 0 ? 1e9 : -1e9 }
    let blocks = kernels.blocks(type, rows, columnCount: 512)
    #expect(kernels.firstInvalidBlock(type, blocks) == 512 / type.weightsPerBlock)
  }

  @Test func whatCanBeDequantizedCanBeValidated() {
    for type in TensorType.allCases where KernelTable.scalar.canDequantize(type) {
      #expect(KernelTable.scalar.canValidate(type), "\(type)")
    }
  }
}

struct KernelChoiceTests {
  @Test func scalarIsFirstAndAlwaysThere() {
    #expect(KernelTable.runnableHere.first == .scalar)
    #expect(Set(KernelTable.runnableHere.map(\.name)).count == KernelTable.runnableHere.count)
  }

  @Test func namesForceAndAbsenceTakesTheBest() throws {
    for kernels in KernelTable.runnableHere {
      #expect(try KernelTable(forced: kernels.name) == kernels)
    }
    #expect(try KernelTable(forced: nil) == KernelTable.runnableHere.last)
    #expect(try KernelTable(forced: "") == KernelTable.runnableHere.last)
  }

  @Test func unknownAndUnrunnableNamesAreErrors() {
    for name in ["AVX2", "sse", "scalar "] {
      #expect {
        try KernelTable(forced: name)
      } throws: { error in
        (error as? KernelChoiceError)?.isKnown == false
      }
    }
    let runnable = KernelTable.runnableHere.map(\.name)
    for name in ["avx2", "avx512", "neon"] where !runnable.contains(name) {
      #expect(throws: KernelChoiceError(found: name, isKnown: true, allowed: runnable)) {
        try KernelTable(forced: name)
      }
    }
  }

  /// Every set has the same types: none falls back to nothing.
  @Test func everyTableKnowsTheSameTypes() {
    for kernels in KernelTable.runnableHere {
      for type in TensorType.allCases {
        #expect(kernels.canQuantize(type) == KernelTable.scalar.canQuantize(type))
        #expect(kernels.canDequantize(type) == KernelTable.scalar.canDequantize(type))
      }
    }
  }
}
