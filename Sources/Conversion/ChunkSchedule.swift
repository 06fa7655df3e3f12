import Architectures
import Planning
import Quantizers
import Tensors

/// A rectangle of one output tensor: whole rows, or a part of one long row.
package struct Chunk: Hashable, Sendable {
  /// Index into the plan's tensors.
  package var tensor: Int
  package var rows: Range<Int>
  package var columns: Range<Int>

  package var weightCount: Int { rows.count * columns.count }

  package init(tensor: Int, rows: Range<Int>, columns: Range<Int>) {
    self.tensor = tensor
    self.rows = rows
    self.columns = columns
  }
}

/// The cutting of a plan into chunks, computed by index so that it takes no memory per chunk.
///
/// Chunks never cross an expert (each has its own importance row), are whole blocks, and fit the
/// buffers of one worker. The bytes written do not depend on the cutting.
package struct ChunkSchedule: Sendable {
  private struct Entry: Sendable {
    var tensor: Int
    var firstChunk: Int
    var rowsPerChunk: Int
    var columnsPerChunk: Int
    /// Chunks of one expert.
    var chunksPerExpert: Int
    var columnChunks: Int
  }

  package let chunkCount: Int
  /// Largest number of weights in one chunk.
  package let weightLimit: Int
  private let entries: [Entry]
  private let plan: ConversionPlan

  /// - Parameters:
  ///   - plan: what is cut.
  ///   - weightsPerChunk: the size to aim at; a row that cannot be cut may exceed it.
  ///   - gatheredWeightsPerChunk: the same for rows that the input gathers from many places.
  package init(_ plan: ConversionPlan, weightsPerChunk: Int, gatheredWeightsPerChunk: Int = 0) {
    var entries: [Entry] = []
    var chunkCount = 0
    var weightLimit = 0
    for (index, tensor) in plan.tensors.enumerated() where tensor.elementCount > 0 {
      let gathered = min(gatheredWeightsPerChunk, tensor.rowsReadTogether * tensor.columnCount)
      let weightsPerChunk =
        tensor.rowsReadTogether > 1 ? max(weightsPerChunk, gathered) : weightsPerChunk
      let columns = Self.columnsPerChunk(tensor, weightsPerChunk)
      var rows = columns < tensor.columnCount ? 1 : max(1, weightsPerChunk / tensor.columnCount)
      // Whole heads make one contiguous read of a permuted tensor.
      if case .permuteRotary(let headCount) = tensor.transform {
        let rowsPerHead = max(1, tensor.rowCount / headCount)
        if rows > rowsPerHead { rows -= rows % rowsPerHead }
      }
      rows = min(rows, tensor.rowsPerExpert)
      let columnChunks = (tensor.columnCount + columns - 1) / columns
      let chunksPerExpert = (tensor.rowsPerExpert + rows - 1) / rows * columnChunks
      entries.append(
        Entry(
          tensor: index, firstChunk: chunkCount, rowsPerChunk: rows, columnsPerChunk: columns,
          chunksPerExpert: chunksPerExpert, columnChunks: columnChunks))
      chunkCount += chunksPerExpert * (tensor.rowCount / tensor.rowsPerExpert)
      weightLimit = max(weightLimit, rows * columns)
    }
    self.entries = entries
    self.chunkCount = chunkCount
    self.weightLimit = weightLimit
    self.plan = plan
  }

  /// Smallest number of weights that a chunk of this plan can have, for the memory limit.
  package static func smallestWeightLimit(_ plan: ConversionPlan) -> Int {
    // An empty tensor may have rows of any length; it has no chunk.
    plan.tensors.filter { $0.elementCount > 0 }.map { columnsPerChunk($0, 1) }.max() ?? 0
  }

  package subscript(index: Int) -> Chunk {
    precondition(index < chunkCount)
    var low = 0
    var high = entries.count - 1
    while low < high {
      let middle = (low + high + 1) / 2
      if entries[middle].firstChunk <= index { low = middle } else { high = middle - 1 }
    }
    let entry = entries[low]
    let tensor = plan.tensors[entry.tensor]
    let (expert, inExpert) = (index - entry.firstChunk)
      .quotientAndRemainder(dividingBy: entry.chunksPerExpert)
    let (rowChunk, columnChunk) = inExpert.quotientAndRemainder(dividingBy: entry.columnChunks)
    let firstRow = rowChunk * entry.rowsPerChunk
    let lastRow = min(firstRow + entry.rowsPerChunk, tensor.rowsPerExpert)
    let firstColumn = columnChunk * entry.columnsPerChunk
    let base = expert * tensor.rowsPerExpert
    return Chunk(
      tensor: entry.tensor, rows: base + firstRow..<base + lastRow,
      columns: firstColumn..<min(firstColumn + entry.columnsPerChunk, tensor.columnCount))
  }

  /// The whole row where it fits or cannot be cut, else a multiple of the blocks on both sides.
  private static func columnsPerChunk(_ tensor: ConversionPlan.Tensor, _ weightsPerChunk: Int)
    -> Int
  {
    if tensor.columnCount <= weightsPerChunk || tensor.type.needsWholeRows {
      return tensor.columnCount
    }
    // Powers of two throughout, so the larger block is the common multiple.
    let unit = max(tensor.type.weightsPerBlock, tensor.sourceType.weightsPerBlock)
    return min(tensor.columnCount, max(unit, weightsPerChunk / unit * unit))
  }
}
