import Quantizers
import Tensors

/// Whether the kernel sets still gain over scalar what they did.
///
/// Ratios within one process, not seconds: they mean the same on a slow and on a busy machine. The
/// limits lie well below what was measured, since processors differ: some run 512-bit vectors as two
/// halves.
struct RegressionCheck {
  /// The least ratio of a set to scalar.
  private struct Limit {
    var type: TensorType
    var task: KernelTask
    /// By the set's name; a set that is not named is not checked.
    var ratios: [String: Double]
  }

  // swift-format-ignore
  private static let limits: [Limit] = [
    Limit(type: .q2_K, task: .quantize, ratios: ["avx2": 1.4, "avx512": 1.6]),
    Limit(type: .q3_K, task: .quantize, ratios: ["avx2": 1.4, "avx512": 1.6]),
    Limit(type: .q4_K, task: .quantize, ratios: ["avx2": 1.4, "avx512": 1.6]),
    Limit(type: .q4_K, task: .quantizeWithImportance, ratios: ["avx2": 1.4, "avx512": 1.6]),
    Limit(type: .q5_K, task: .quantize, ratios: ["avx2": 1.4, "avx512": 1.6]),
    Limit(type: .q6_K, task: .quantize, ratios: ["avx2": 1.4, "avx512": 1.6]),
    Limit(type: .q4_0, task: .quantizeWithImportance, ratios: ["avx2": 1.4, "avx512": 1.6]),
    Limit(type: .iq4_NL, task: .quantize, ratios: ["avx2": 1.4, "avx512": 1.6]),
    Limit(type: .iq3_S, task: .quantize, ratios: ["avx2": 1.4, "avx512": 1.4]),
    Limit(type: .iq2_XS, task: .quantizeWithImportance, ratios: ["avx2": 1.4, "avx512": 1.6]),
    Limit(type: .iq1_S, task: .quantizeWithImportance, ratios: ["avx2": 1.4, "avx512": 1.6]),
    Limit(type: .q8_0, task: .quantize, ratios: ["avx2": 1.2, "avx512": 1.2]),
    Limit(type: .f16, task: .quantize, ratios: ["avx2": 1.5, "avx512": 1.5]),
    Limit(type: .q4_0, task: .dequantize, ratios: ["avx2": 1.2, "avx512": 1.2]),
    Limit(type: .q6_K, task: .dequantize, ratios: ["avx2": 1.2, "avx512": 1.2]),
  ]

  var rounds: Int
  /// A miss on a busy machine may be a neighbour's fault: the best of so many tries counts.
  private static let tries = 4

  /// Prints a line per limit; false when one is missed.
  func passes() -> Bool {
    let workload = Workload(rowCount: 16, columnCount: 2048)
    var misses = 0
    for limit in Self.limits {
      let blocks = workload.blocks(limit.type)
      let kernels = KernelTable.runnableHere.filter {
        $0 == .scalar || limit.ratios[$0.name] != nil
      }
      let contenders = kernels.map { $0.contender(limit.type, limit.task, workload, blocks) }
      var best: [String: Double] = [:]
      for _ in 0..<Self.tries {
        let speeds = measureInTurn(contenders, weightCount: workload.weightCount, rounds: rounds)
        for (set, speed) in zip(kernels, speeds) {
          guard let scalar = speeds.first else { continue }
          best[set.name] = max(best[set.name] ?? 0, speed / scalar)
        }
        if limit.ratios.allSatisfy({ best[$0.key] ?? .infinity >= $0.value }) { break }
      }
      for set in kernels {
        guard let least = limit.ratios[set.name], let ratio = best[set.name] else { continue }
        if ratio < least { misses += 1 }
        print(
          "\(limit.type.name) \(limit.task.rawValue), \(set.name): \(number(ratio)) × scalar, "
            + "at least \(number(least))\(ratio >= least ? "" : ": MISSED")")
      }
    }
    return misses == 0
  }
}
