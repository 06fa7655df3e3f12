import ByteIO
import Planning
import Quantizers
import Tensors

/// Types that tensors may get when they are chosen for a size.
package struct CandidateTypes: Hashable, Sendable {
  /// From few bits to many, or in the order in which they were named.
  package var types: [TensorType]
  /// Whether somebody asked for these types.
  private var isNamed = false

  /// Types that programs compute with well, without those for special models.
  package static let standard = CandidateTypes(types: [
    .iq1_S, .iq1_M, .iq2_XXS, .iq2_XS, .iq2_S, .q2_K, .iq3_XXS, .iq3_S, .q3_K, .iq4_XS, .iq4_NL,
    .q4_0, .q4_K, .q5_0, .q5_K, .q6_K, .q8_0, .f16, .bf16,
  ])

  /// What probes use unless told otherwise: a type whose harm is well above rounding, in the middle
  /// of what is chosen from.
  package static let probe: TensorType = .q3_K

  /// - Parameters:
  ///   - names: types that are allowed; empty for the standard ones.
  ///   - minimum: no type with fewer bits.
  ///   - maximum: no type with more.
  ///   - places: kinds of hardware on which none of the types may be slow.
  /// - Throws: `OptionError` for a name that is none, or when nothing is left.
  package init(
    names: [String], minimum: String?, maximum: String?, fastOn places: [String] = []
  ) throws(OptionError) {
    var types = try names.isEmpty ? Self.standard.types : Self.types(names, option: "--types")
    if let minimum {
      let bits = try OutputType.type(minimum, option: "--min-type").bitsPerWeight
      types.removeAll { $0.bitsPerWeight < bits }
    }
    if let maximum {
      let bits = try OutputType.type(maximum, option: "--max-type").bitsPerWeight
      types.removeAll { $0.bitsPerWeight > bits }
    }
    guard !types.isEmpty else {
      throw OptionError(
        option: minimum == nil ? "--max-type" : "--min-type", found: minimum ?? maximum ?? "",
        problem: "leaves no type to choose from")
    }
    for place in places {
      let slow = try SlowTypes.slow(on: place)
      guard !types.allSatisfy(slow.contains) else {
        throw OptionError(
          option: "--fast-on", found: place, problem: "leaves no type to choose from")
      }
      types.removeAll(where: slow.contains)
    }
    self.types = types
    isNamed = !names.isEmpty
  }

  /// Types to probe with.
  package init(probeNames: [String]) throws(OptionError) {
    types =
      try probeNames.isEmpty ? [Self.probe, .q8_0] : Self.types(probeNames, option: "--probe")
    isNamed = !probeNames.isEmpty
  }

  /// Of a tensor: those to probe with, one at least.
  package func probes(of tensor: ConversionPlan.Tensor, candidates: [TensorType]) -> [TensorType] {
    let fitting = types(of: tensor, importance: tensor.importance != nil)
    if !fitting.isEmpty { return fitting }
    let nearest = candidates.filter(\.isBlockType).min {
      abs($0.bitsPerWeight - 4) < abs($1.bitsPerWeight - 4)
    }
    return nearest.map { [$0] } ?? []
  }

  private static func types(_ names: [String], option: String) throws(OptionError) -> [TensorType] {
    var result: [TensorType] = []
    for name in names {
      let type = try OutputType.type(name, option: option)
      if !result.contains(type) { result.append(type) }
    }
    return result
  }

  private init(types: [TensorType]) { self.types = types }

  /// Of a tensor: types whose blocks fill its rows and whose quantizer has what it needs.
  package func types(of tensor: ConversionPlan.Tensor, importance: Bool) -> [TensorType] {
    types.filter { type in
      guard tensor.columnCount % type.weightsPerBlock == 0,
        importance || KernelTable.scalar.canQuantizeWithoutImportance(type)
      else { return false }
      // Blocks of 32 are for rows that larger ones do not fill, unless somebody asked for them.
      // Of the two of 16 bits the one that can be what the tensor is stored in.
      if !isNamed, type == .f16 { return [.f16, .f32].contains(tensor.sourceType) }
      if !isNamed, type == .bf16 { return tensor.sourceType != .f16 }
      let isSubstitute = type == .q4_0 || type == .q5_0 || type == .iq4_NL
      return isNamed || !isSubstitute || tensor.columnCount % 256 != 0
    }
  }
}
