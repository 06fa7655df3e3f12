import ByteIO
import Planning
import Quantizers
import Tensors

/// How large an archive may become.
public enum FitTarget: Hashable, Sendable {
  /// Bytes of the whole file, never exceeded.
  case byteCount(UInt64)
  /// 8 × tensor bytes / weights, over all tensors.
  case bitsPerWeight(Double)
  /// What runs on this hardware.
  case memory(MemoryTarget)

  /// For messages, and for an archive's metadata.
  public var title: String { "fit to " + name }

  /// What is to be fitted.
  package var name: String {
    switch self {
    case .byteCount(let count): "\(count) bytes"
    case .bitsPerWeight(let bits): "\(bits) bits per weight"
    case .memory(let memory): memory.title
    }
  }
}

/// Types chosen for the tensors of a plan, so that they do the least harm within a size.
public struct Fit: Sendable {
  /// By tensor name in the archive.
  package var types: [ExactString: TensorType]
  /// Bytes of the file, of the tensors where bits per weight were asked for, or of those tensors that
  /// lie in the memory that is to be fitted.
  package var byteCount: UInt64
  package var byteLimit: UInt64
  /// Sum of the expected divergences of all types, chosen and given, in nats.
  package var expectedDivergence: Double
  /// What of it types do that options gave.
  package var givenDivergence = 0.0
  /// How much of `expectedDivergence` a better choice could save at most, 0 to 1, apart from tensors
  /// that stay with the processor.
  package var gap: Double
  /// Tensors that a type was chosen for.
  package var unitCount: Int

  /// Adds what tensors do that were no part of the choice.
  package mutating func addHarm(_ harm: Double) {
    let sum = expectedDivergence + harm
    if sum > 0 { gap *= expectedDivergence / sum }
    expectedDivergence = sum
  }

  /// No choice is within the limit.
  package struct TooSmall: Error, Hashable, Sendable {
    /// Bytes of the smallest choice that is possible with the types allowed.
    package var smallest: UInt64
    package var byteLimit: UInt64
  }

  /// Tensors that a choice is made for: matrices whose type no option decided.
  package static func freeTensors(_ plan: ConversionPlan) -> [Int] {
    plan.tensors.indices.filter { plan.tensors[$0].isFree }
  }

  /// Bytes of a tensor in the file.
  package static func padded(_ byteCount: Int, to alignment: Int) -> Int {
    (byteCount + alignment - 1) / alignment * alignment
  }
}

extension ConversionPlan.Tensor {
  /// Whether a type's quantizer has the importance that it asks for, if it asks for any.
  package func hasWhatItNeeds(for type: TensorType) -> Bool {
    importance != nil || KernelTable.scalar.canQuantizeWithoutImportance(type)
  }

  /// Whether an option gave it a type that does not hold everything that the input has.
  package var losesByOption: Bool { isForced && !isPlainCopy && type != .f32 }
}
