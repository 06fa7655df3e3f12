import Calibration
import GGUF
import TestSupport
import Testing

private func sums(_ entries: [String: ImportanceSums.Entry]) -> ImportanceSums {
  ImportanceSums(
    entries: Dictionary(uniqueKeysWithValues: entries.map { (.init($0.key), $0.value) }),
    datasets: [], chunkCount: 1, chunkSize: 8, file: "test")
}

@Test func figuresOfAnImportance() throws {
  // Importances 0, 1, 1, 6.
  let statistics = ImportanceStatistics(
    sums(["blk.3.ffn_up.weight": .init(sums: [0, 2, 2, 12], counts: [2])]))
  let matrix = try #require(statistics.matrices.first)
  #expect(matrix.layer == 3 && matrix.kind == "ffn_up" && matrix.columnCount == 4)
  let figures = try #require(matrix.figures)
  #expect(figures.sum == 8 && figures.mean == 2)
  #expect(figures.minimum == 0 && figures.maximum == 6)
  // (4 + 1 + 1 + 16) / 4
  #expect(figures.deviation == 5.5.squareRoot())
  #expect(figures.activeShare == 0.75 && figures.outlierShare == 0.25)
  // 1/8, 1/8, 6/8: 3/8 + 3/8 + 3/4 · log2(4/3)
  #expect(abs(figures.entropy - (0.75 + 0.75 * 0.415_037_499_278_844)) < 1e-12)
  #expect(abs(figures.evenness - figures.entropy / 2) < 1e-12)
  #expect(statistics.expertUses.isEmpty)
}

@Test func useOfExperts() throws {
  let stack = ImportanceSums.Entry(sums: [1, 1, 0, 0, 6, 2, 0, 0], counts: [1, 0, 1, 0])
  let statistics = ImportanceStatistics(
    sums([
      "blk.0.ffn_down_exps.weight": stack, "blk.0.ffn_up_exps.weight": stack,
      "blk.1.ffn_up_exps.weight": stack, "blk.1.attn_q.weight": .init(sums: [1], counts: [2]),
    ]))
  // Experts without data have no part in the figures.
  #expect(statistics.matrices[0].figures?.sum == 10)
  #expect(statistics.matrices[0].figures?.minimum == 1)
  let uses = statistics.expertUses
  #expect(
    uses.map(\.matrices) == [
      ["blk.0.ffn_down_exps.weight", "blk.0.ffn_up_exps.weight"], ["blk.1.ffn_up_exps.weight"],
    ])
  #expect(uses[0].unreached == [1, 3] && uses[0].entropy == 1 && uses[0].evenness == 0.5)
}

@Test func layersAreComparedWithTheOneBefore() throws {
  let statistics = ImportanceStatistics(
    sums([
      "blk.9.attn_q.weight": .init(sums: [3, 4], counts: [1]),
      "blk.10.attn_q.weight": .init(sums: [6, 8], counts: [1]),
      "blk.11.attn_q.weight": .init(sums: [4, 3], counts: [1]),
      "output.weight": .init(sums: [0, 0], counts: [0]),
    ]))
  #expect(statistics.matrices.map(\.layer) == [9, 10, 11, nil])
  #expect(statistics.matrices[0].previousLayerCosine == nil)
  #expect(abs((statistics.matrices[1].previousLayerCosine ?? 0) - 1) < 1e-12)
  #expect(abs((statistics.matrices[2].previousLayerCosine ?? 0) - 0.96) < 1e-12)
  #expect(statistics.matrices[3].kind == "output" && statistics.matrices[3].figures == nil)
}
