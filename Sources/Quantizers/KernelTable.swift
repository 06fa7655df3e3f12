import CKernels
import Tensors

/// The quantizers and dequantizers of one instruction set.
///
/// Every table gives the same bytes; `scalar` runs everywhere. The arithmetic is in `CKernels`.
package struct KernelTable: Sendable, Hashable {
  /// As `INGOT_KERNELS` spells it.
  package let name: String
  /// Number in `CKernels`.
  package let set: Int32

  private init(name: String, set: Int) {
    self.name = name
    self.set = Int32(set)
  }

  package static let scalar = KernelTable(name: "scalar", set: INGOT_SCALAR)

  /// From plain to best, whether this machine runs them or not.
  private static let all: [KernelTable] = [
    scalar,
    KernelTable(name: "neon", set: INGOT_NEON),
    KernelTable(name: "avx2", set: INGOT_AVX2),
    KernelTable(name: "avx512", set: INGOT_AVX512),
  ]

  /// What this processor runs: `scalar` first, the best last.
  package static let runnableHere: [KernelTable] = all.filter { ingot_is_runnable($0.set) != 0 }

  /// The table that `INGOT_KERNELS` names, or the best one here when the variable is not set.
  ///
  /// - Parameter name: the variable's value; `nil` or empty when it is not set.
  /// - Throws: `KernelChoiceError` when no table has that name or this machine does not run it.
  package init(forced name: String?) throws(KernelChoiceError) {
    guard let name, !name.isEmpty else {
      self = Self.runnableHere.last ?? .scalar
      return
    }
    guard let table = Self.runnableHere.first(where: { $0.name == name }) else {
      throw KernelChoiceError(
        found: name, isKnown: Self.all.contains { $0.name == name },
        allowed: Self.runnableHere.map(\.name))
    }
    self = table
  }

  /// What the environment asks for, found once.
  ///
  /// A command checks this first and reports the error.
  package static let choice: Result<KernelTable, KernelChoiceError> = {
    let forced = ingot_forced_kernels().map { String(cString: $0) }
    return Result { () throws(KernelChoiceError) in try KernelTable(forced: forced) }
  }()
}

/// `INGOT_KERNELS` names kernels that cannot run here.
package struct KernelChoiceError: Error, Hashable, CustomStringConvertible {
  package var found: String
  /// Whether the name exists on some other machine.
  package var isKnown: Bool
  package var allowed: [String]

  package init(found: String, isKnown: Bool, allowed: [String]) {
    self.found = found
    self.isKnown = isKnown
    self.allowed = allowed
  }

  package var description: String {
    let fault = isKnown ? "which this processor does not run" : "which no kernels have as a name"
    return "INGOT_KERNELS is '\(found)', \(fault); allowed here: "
      + allowed.joined(separator: ", ")
  }
}

extension KernelTable {
  /// Whether `quantize` takes the type; some types ask for importance besides.
  package func canQuantize(_ type: TensorType) -> Bool {
    type == .f32 || quantizer(type) != nil
  }

  /// Whether `quantize` takes the type without importance.
  ///
  /// With 2 bits a weight or fewer a search has nothing to go by but importance.
  package func canQuantizeWithoutImportance(_ type: TensorType) -> Bool {
    switch type {
    case .iq1_S, .iq1_M, .iq2_XXS, .iq2_XS, .iq2_S: false
    default: canQuantize(type)
    }
  }

  package func canDequantize(_ type: TensorType) -> Bool {
    type == .f32 || dequantizer(type) != nil
  }

  /// Quantizes whole rows.
  ///
  /// - Parameters:
  ///   - type: one that `canQuantize`.
  ///   - rows: F32, row-major `[rowCount, columnCount]`. NaN and infinity are allowed and give
  ///     useless blocks, the same in every table.
  ///   - rowCount: may be zero.
  ///   - columnCount: a multiple of `type.weightsPerBlock`.
  ///   - importance: `[columnCount]`, mean squared activation, not negative; `nil` means uniform,
  ///     for a type that `canQuantizeWithoutImportance`.
  ///   - blocks: `rowCount * columnCount / weightsPerBlock * bytesPerBlock` bytes, any alignment.
  ///
  /// Source: formats/quant.
  package func quantize(
    _ type: TensorType, rows: UnsafePointer<Float>, rowCount: Int, columnCount: Int,
    importance: UnsafePointer<Float>?, into blocks: UnsafeMutableRawPointer
  ) {
    precondition(rowCount >= 0 && columnCount >= 0 && columnCount % type.weightsPerBlock == 0)
    precondition(
      importance != nil || canQuantizeWithoutImportance(type), "\(type) needs importance")
    if type == .f32 {
      blocks.copyMemory(from: rows, byteCount: rowCount * columnCount * 4)
      return
    }
    guard let function = quantizer(type) else { preconditionFailure("no quantizer for \(type)") }
    if rowCount == 0 || columnCount == 0 { return }
    function(
      rows, rowCount, columnCount, importance, blocks.assumingMemoryBound(to: UInt8.self))
  }

  /// Restores weights; F16, BF16, F64 and F32 too.
  ///
  /// - Parameters:
  ///   - type: one that `canDequantize`.
  ///   - blocks: whole blocks, any alignment.
  ///   - weightCount: a multiple of `type.weightsPerBlock`.
  ///   - weights: `[weightCount]`.
  ///
  /// Source: formats/quant.
  package func dequantize(
    _ type: TensorType, blocks: UnsafeRawPointer, weightCount: Int,
    into weights: UnsafeMutablePointer<Float>
  ) {
    precondition(weightCount >= 0 && weightCount % type.weightsPerBlock == 0)
    if type == .f32 {
      UnsafeMutableRawPointer(weights).copyMemory(from: blocks, byteCount: weightCount * 4)
      return
    }
    guard let function = dequantizer(type) else {
      preconditionFailure("no dequantizer for \(type)")
    }
    function(blocks.assumingMemoryBound(to: UInt8.self), weightCount, weights)
  }

  /// Index of the first NaN or infinity; `nil` when all values are finite.
  package func firstNonFinite(_ values: UnsafePointer<Float>, count: Int) -> Int? {
    let index = ingot_first_non_finite(set, values, count)
    return index < count ? index : nil
  }

  private func quantizer(_ type: TensorType) -> ingot_quantize? {
    type.ggmlID.flatMap { ingot_find_quantize(set, $0) }
  }

  private func dequantizer(_ type: TensorType) -> ingot_dequantize? {
    type.ggmlID.flatMap { ingot_find_dequantize(set, $0) }
  }
}

extension KernelTable: CustomStringConvertible {
  package var description: String { name }
}
