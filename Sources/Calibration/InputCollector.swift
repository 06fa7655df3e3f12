import ByteIO
import ReferenceModel

/// Sums up the squares of what the matrices of a model are multiplied with.
///
/// Matrices that share an input share its sums: they are computed once, and written for each.
package final class InputCollector: InputObserver {
  private let inputs: Guarded<[String: InputSums]>
  private let misfit = Guarded<String?>(nil)

  /// - Parameter inputs: what was summed before, of a run that goes on.
  package init(_ inputs: [InputSums] = []) {
    self.inputs = Guarded(
      Dictionary(inputs.map { ($0.matrices[0], $0) }, uniquingKeysWith: { first, _ in first }))
  }

  /// Adds the input to the sums of its matrices.
  package func observe(_ input: ObservedInput) {
    let name = input.matrices[0]
    let matrices = input.matrices
    let (experts, columns) = (input.expertCount, input.columnCount)
    let sums = inputs.withLock { inputs in
      if let known = inputs[name] { return known }
      let new = InputSums(matrices: matrices, expertCount: experts, columnCount: columns)
      inputs[name] = new
      return new
    }
    guard sums.matrices == matrices, sums.expertCount == experts, sums.columnCount == columns else {
      misfit.withLock { $0 = name }
      return
    }
    sums.add(input)
  }

  /// An input that the sums of an earlier run do not fit; `nil` when all do.
  package var misfittingInput: String? { misfit.withLock { $0 } }

  /// By the first name of each.
  package var sortedInputs: [InputSums] {
    inputs.withLock { inputs in inputs.values.sorted { $0.matrices[0] < $1.matrices[0] } }
  }
}

/// Squares of one input, summed per expert and column in double precision.
///
/// Every square is exact there, and a column's are added in the order of the text: neither the
/// thread count nor the groups of chunks change the sum. Sendable because no two threads have the
/// same columns of the same expert at a time.
package final class InputSums: @unchecked Sendable {
  /// All matrices that are multiplied with the input.
  package let matrices: [String]
  /// Of each of the matrices, which are stacked if it is not 1.
  package let expertCount: Int
  /// Of one expert.
  package let columnCount: Int
  /// `[expertCount × columnCount]`, row-major.
  private let sums: UnsafeMutableBufferPointer<Double>
  /// Rows per expert.
  private let counts: UnsafeMutableBufferPointer<Double>

  /// Begins with nothing.
  package init(matrices: [String], expertCount: Int, columnCount: Int) {
    precondition(!matrices.isEmpty && expertCount > 0 && columnCount > 0)
    self.matrices = matrices
    self.expertCount = expertCount
    self.columnCount = columnCount
    sums = .allocate(capacity: expertCount * columnCount)
    sums.initialize(repeating: 0)
    counts = .allocate(capacity: expertCount)
    counts.initialize(repeating: 0)
  }

  /// Begins with what an earlier run had.
  package convenience init(matrices: [String], sums: [Double], counts: [Double]) {
    self.init(
      matrices: matrices, expertCount: counts.count, columnCount: sums.count / counts.count)
    _ = self.sums.update(fromContentsOf: sums)
    _ = self.counts.update(fromContentsOf: counts)
  }

  deinit {
    sums.deallocate()
    counts.deallocate()
  }

  /// Adds the squares of some columns.
  func add(_ input: ObservedInput) {
    precondition((0..<expertCount).contains(input.expert))
    precondition(input.columns.lowerBound >= 0 && input.columns.upperBound <= columnCount)
    guard let start = sums.baseAddress, !input.columns.isEmpty else { return }
    let target = start + input.expert * columnCount + input.columns.lowerBound
    let source = input.start + input.columns.lowerBound
    for row in 0..<input.rowCount {
      let values = source + row * input.stride
      for column in 0..<input.columns.count {
        let value = Double(values[column])
        target[column] += value * value
      }
    }
    // Whoever has the first column counts for all.
    if input.columns.lowerBound == 0 { counts[input.expert] += Double(input.rowCount) }
  }

  /// `[expertCount × columnCount]`.
  package var allSums: [Double] { Array(sums) }
  /// `[expertCount]`.
  package var allCounts: [Double] { Array(counts) }
}
