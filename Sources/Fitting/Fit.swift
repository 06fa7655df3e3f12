import ByteIO
import Planning
import Tensors

/// How large an archive may become.
public enum FitTarget: Hashable, Sendable {
  /// Bytes of the whole file, never exceeded.
  case byteCount(UInt64)
  /// 8 × tensor bytes / weights, over all tensors.
  case bitsPerWeight(Double)
}

/// Types chosen for the tensors of a plan, so that they do the least harm within a size.
public struct Fit: Sendable {
  /// By tensor name in the archive.
  package var types: [ExactString: TensorType]
  /// Bytes of the file, or of the tensors where bits per weight were asked for.
  package var byteCount: UInt64
  package var byteLimit: UInt64
  /// Sum of the expected divergences of all chosen types, in nats.
  package var expectedDivergence: Double
  /// How much of it a better choice could save at most, 0 to 1.
  package var gap: Double
  package var unitCount: Int

  /// No choice is within the target.
  public struct TooSmall: Error, Hashable, Sendable, CustomStringConvertible {
    public var description: String {
      let wanted =
        switch target {
        case .byteCount(let count): "\(count) bytes"
        case .bitsPerWeight(let bits): "\(bits) bits per weight"
        }
      return """
        nothing fits \(wanted): with the types allowed the smallest is \(smallest) bytes, \
        \(fixed(smallestBitsPerWeight, 2)) bits per weight; allow smaller types (--min-type, \
        --imatrix), or more bytes
        """
    }

    public var target: FitTarget
    /// The smallest that is possible with the types allowed.
    public var smallest: UInt64
    public var smallestBitsPerWeight: Double
  }

  /// Tensors that a choice is made for: matrices whose type no option decided.
  package static func freeTensors(_ plan: ConversionPlan) -> [Int] {
    plan.tensors.indices.filter { plan.tensors[$0].isFree }
  }

  /// Chooses.
  ///
  /// - Parameters:
  ///   - plan: of the whole archive, with any types.
  ///   - candidates: per free tensor, by its index.
  ///   - measurements: of all of them.
  ///   - target: the size.
  ///   - alignment: of tensors in the file.
  /// - Throws: `TooSmall`.
  package init(
    _ plan: ConversionPlan, candidates: [Int: [TensorType]], measurements: FitMeasurements,
    target: FitTarget, alignment: Int
  ) throws(TooSmall) {
    let isWholeFile = if case .byteCount = target { true } else { false }
    func size(_ byteCount: Int) -> Int {
      isWholeFile ? (byteCount + alignment - 1) / alignment * alignment : byteCount
    }
    let free = candidates.keys.sorted()
    var units: [[AllocationChoice]] = []
    var types: [[TensorType]] = []
    for index in free {
      let tensor = plan.tensors[index]
      let stack = SplitExperts.stack(of: tensor.name)
      let weight = HarmPrior.weight(of: tensor.name)
      var choices: [AllocationChoice] = []
      var list: [TensorType] = []
      for type in candidates[index] ?? [] {
        guard let byteCount = type.byteCount(weightCount: tensor.elementCount),
          let harm = measurements.harm(
            stack?.name ?? tensor.name, expert: stack?.expert, type: type,
            unmeasuredWeight: weight)
        else { continue }
        choices.append(AllocationChoice(byteCount: size(byteCount), harm: harm))
        list.append(type)
      }
      precondition(!choices.isEmpty, "no type for \(tensor.name)")
      units.append(choices)
      types.append(list)
    }
    let chosenNow = free.reduce(0) { $0 + size(plan.tensors[$1].byteCount) }
    let total = isWholeFile ? Int(plan.totalByteCount) : Int(plan.tensorByteCount)
    let fixed = total - chosenNow
    let limit: Int =
      switch target {
      case .byteCount(let count): Int(clamping: count)
      case .bitsPerWeight(let bits): Int(bits * Double(plan.weightCount) / 8)
      }
    let allocation: Allocation
    do throws(Allocation.TooSmall) {
      allocation = try Allocation(units, byteCount: limit - fixed)
    } catch {
      let smallest = UInt64(error.smallest + fixed)
      throw TooSmall(
        target: target, smallest: smallest,
        smallestBitsPerWeight: Double(smallest) * 8 / Double(max(1, plan.weightCount)))
    }
    self.types = [:]
    for ((index, list), choice) in zip(zip(free, types), allocation.choices) {
      self.types[plan.tensors[index].name] = list[choice]
    }
    byteCount = UInt64(fixed + allocation.byteCount)
    byteLimit = UInt64(limit)
    expectedDivergence = allocation.harm
    gap = allocation.gap
    unitCount = units.count
  }
}

/// What an error of the size of the weights themselves costs where no text was read, by what a
/// tensor does.
enum HarmPrior {
  static func weight(of name: ExactString) -> Double { 1 }
}
