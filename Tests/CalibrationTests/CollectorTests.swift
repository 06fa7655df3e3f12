import Calibration
import ReferenceModel
import Testing

/// Hands rows to a collector, some columns at a time.
private func observe(
  _ collector: InputCollector, _ rows: [[Float]], of matrices: [String], expert: Int = 0,
  expertCount: Int = 1, columnsAtATime: Int = 2, padding: Int = 0
) {
  let width = rows[0].count
  let flat = rows.flatMap { $0 + [Float](repeating: .nan, count: padding) }
  flat.withUnsafeBufferPointer { buffer in
    guard let start = buffer.baseAddress else { return }
    for first in stride(from: 0, to: width, by: columnsAtATime) {
      collector.observe(
        ObservedInput(
          matrices: matrices, expert: expert, expertCount: expertCount, start: start,
          rowCount: rows.count, stride: width + padding, columnCount: width,
          columns: first..<min(width, first + columnsAtATime)))
    }
  }
}

@Test func squaresAreSummedPerColumn() throws {
  let collector = InputCollector()
  observe(collector, [[1, 2, 3], [4, 5, -6]], of: ["q", "k"])
  // Rows of a wider matrix.
  observe(collector, [[1, 0, 2]], of: ["q", "k"], padding: 5)
  let input = try #require(collector.sortedInputs.first)
  #expect(input.matrices == ["q", "k"])
  #expect(input.allSums == [18, 29, 49])
  #expect(input.allCounts == [3])
}

/// Single precision would lose the small squares beside the large one.
@Test func sumsAreExact() throws {
  let collector = InputCollector()
  observe(collector, [[4096]], of: ["q"])
  for _ in 0..<1000 { observe(collector, [[0.5]], of: ["q"]) }
  #expect(collector.sortedInputs.first?.allSums == [16_777_216 + 250])
}

@Test func expertsHaveSumsOfTheirOwn() throws {
  let collector = InputCollector()
  observe(collector, [[1, 2], [3, 4]], of: ["gate", "up"], expert: 2, expertCount: 3)
  observe(collector, [[5, 6]], of: ["gate", "up"], expert: 0, expertCount: 3)
  let input = try #require(collector.sortedInputs.first)
  #expect(input.allSums == [25, 36, 0, 0, 10, 20])
  #expect(input.allCounts == [1, 0, 2])
}

@Test func aWrongSizeIsNoticed() throws {
  let collector = InputCollector([InputSums(matrices: ["q"], sums: [1, 2], counts: [4])])
  observe(collector, [[1, 1]], of: ["q"])
  #expect(collector.misfittingInput == nil)
  #expect(collector.sortedInputs.first?.allSums == [2, 3])
  observe(collector, [[1, 1, 1]], of: ["q"])
  #expect(collector.misfittingInput == "q")
  #expect(collector.sortedInputs.first?.allCounts == [5])
}
