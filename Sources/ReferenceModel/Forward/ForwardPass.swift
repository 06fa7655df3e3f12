import ByteIO
import Quantizers
import Synchronization
import Tensors
import Threads

/// A forward pass that was stopped by a signal.
package struct ForwardCancelled: Error, Sendable {
  package init() {}
}

/// A forward pass, one layer at a time, so that two models can advance in lockstep.
///
///     let pass = ForwardPass(model, scratch: scratch, kernels: kernels, cancellation: flag)
///     try pass.embed(tokens)
///     for layer in 0..<model.dimensions.layerCount { try pass.runLayer(layer) }
///     try pass.beginOutput(positions: positions)
///     try pass.logits(ofVocabulary: 0..<512, worker: 0, into: logits)
///
/// A worker takes the next tile of weight rows, reads it, dequantizes it, and multiplies it with the
/// activations of all tokens: the reading of one overlaps the computing of others. Each step is
/// called from one thread, `logits` from several.
package final class ForwardPass: Sendable {
  /// Rows of the vocabulary that `logits` computes best at a time.
  package static let outputTileRowCount = ForwardTiling.standard.rowCount

  package let model: ReferenceModel
  let scratch: ForwardScratch
  let kernels: KernelTable
  let cancellation: CancellationFlag
  let rotation: RotationTable
  let observer: (any InputObserver)?
  let substitution: WeightSubstitution?
  /// `[tokenCount, embeddingLength]`.
  private let states: FloatBuffer
  /// Tokens of the group that is under way; after `beginOutput`, positions.
  private let rowCount = Atomic(0)

  /// Bytes that `init` allocates: the hidden states.
  package static func byteCount(_ model: ReferenceModel, tokenCount: Int) -> Int {
    tokenCount * model.dimensions.embeddingLength * 4
  }

  /// Allocates the hidden states.
  ///
  /// - Parameters:
  ///   - model: one of those that the scratch was made for.
  ///   - scratch: used by one pass at a time.
  ///   - kernels: dequantize.
  ///   - cancellation: is looked at between tiles.
  ///   - observer: sees what the matrices are multiplied with.
  ///   - substitution: makes one tensor's weights those of another type.
  package init(
    _ model: ReferenceModel, scratch: ForwardScratch, kernels: KernelTable,
    cancellation: CancellationFlag, observer: (any InputObserver)? = nil,
    substitution: WeightSubstitution? = nil
  ) {
    self.model = model
    self.scratch = scratch
    self.kernels = kernels
    self.cancellation = cancellation
    self.observer = observer
    self.substitution = substitution
    rotation = scratch.rotation(model.rotary)
    states = FloatBuffer(count: scratch.tokenCount * model.dimensions.embeddingLength)
  }

  package var allocatedByteCount: Int { states.count * 4 }

  /// The hidden states after the last step, `[tokenCount, embeddingLength]`.
  ///
  /// After `beginOutput`, the normed rows of its positions.
  package var hidden: UnsafeBufferPointer<Float> {
    let matrix = hiddenMatrix
    return UnsafeBufferPointer(start: matrix.start, count: matrix.rowCount * matrix.columnCount)
  }

  var hiddenMatrix: MatrixView {
    states.matrix(
      rows: rowCount.load(ordering: .relaxed), columns: model.dimensions.embeddingLength)
  }

  // MARK: Steps

  /// Begins a group: the hidden states become the tokens' embeddings.
  ///
  /// - Parameter tokens: chunk after chunk, each of the scratch's `contextLength` tokens; positions
  ///   restart at 0 in every chunk.
  /// - Throws: `FormatError` for a token that the model does not have, and when reading fails.
  package func embed(_ tokens: [Int32]) throws {
    precondition(!tokens.isEmpty && tokens.count % scratch.contextLength == 0)
    precondition(tokens.count <= scratch.tokenCount)
    let embedding = model.weight(.tokenEmbedding)
    let count = model.dimensions.vocabularySize
    if let bad = tokens.first(where: { $0 < 0 || Int($0) >= count }) {
      throw FormatError(
        file: model.file(of: embedding), field: "token",
        reason: .outOfRange(found: "\(bad)", allowed: "0 to \(count - 1)"),
        advice: "text and model do not share a vocabulary")
    }
    rowCount.store(tokens.count, ordering: .relaxed)
    let states = hiddenMatrix
    try forEach(tokens.count.partCount(of: Self.rowsPerTask)) { [self] worker, task in
      for row in tokens.count.part(task, of: Self.rowsPerTask) {
        try read(
          embedding, row: Int(tokens[row]), columns: 0..<embedding.columnCount,
          scratch.workers[worker], into: states.row(row))
        substitute(
          WeightMatrix(embedding), columns: 0..<embedding.columnCount,
          in: states[rows: row..<row + 1])
      }
    }
    try checkFinite("the embedding")
  }

  /// Goes on from where another pass with the same scratch is, instead of from an embedding.
  package func begin(from other: ForwardPass) {
    precondition(other.scratch === scratch && !other.hiddenMatrix.isEmpty)
    let from = other.hiddenMatrix
    rowCount.store(from.rowCount, ordering: .relaxed)
    hiddenMatrix.start.update(from: from.start, count: from.rowCount * from.columnCount)
  }

  /// Advances the hidden states by one layer; its weights are read once.
  ///
  /// - Throws: `FormatError` when reading fails or a hidden state is no finite number afterwards,
  ///   `MatrixLibraryError`, `ForwardCancelled`.
  package func runLayer(_ layer: Int) throws {
    precondition((0..<model.dimensions.layerCount).contains(layer))
    let step = LayerStep(self, layer, try MatrixLibrary.shared.get())
    try step.attend()
    try step.feedForward()
    step.prefetchNext()
    try checkFinite("layer \(layer)")
  }

  /// Rows of one task where a task is not a tile of weights.
  static let rowsPerTask = 64

  /// Norms the hidden states into the scratch.
  func norm(_ role: WeightRole, into output: MatrixView) throws {
    let tensor = model.weight(role)
    let weights = scratch.normWeights
    try read(
      tensor, row: 0, columns: 0..<tensor.elementCount, scratch.workers[0], into: weights.start)
    let input = hiddenMatrix
    let epsilon = model.dimensions.normEpsilon
    try forEach(output.rowCount.partCount(of: Self.rowsPerTask)) { _, task in
      for row in output.rowCount.part(task, of: Self.rowsPerTask) {
        VectorMath.rmsNorm(
          input.row(row), weights: weights.start, epsilon: epsilon, count: input.columnCount,
          into: output.row(row))
      }
    }
  }

  private func checkFinite(_ place: String) throws {
    let states = hiddenMatrix
    try forEach(states.rowCount.partCount(of: Self.rowsPerTask)) { [self] _, task in
      let rows = states[rows: states.rowCount.part(task, of: Self.rowsPerTask)]
      guard
        let index = kernels.firstNonFinite(rows.start, count: rows.rowCount * rows.columnCount)
      else { return }
      throw FormatError(
        file: model.source.files.first ?? "", field: place,
        reason: .outOfRange(
          found: "hidden state \(rows.start[index])", allowed: "finite numbers"),
        advice: "the weights are damaged, or too large for single precision")
    }
  }

  // MARK: Output

  /// Ends the layers: packs the hidden states at these positions and applies the output norm.
  ///
  /// - Parameter positions: flat indices into the tokens of `embed`, ascending, no duplicates. The
  ///   hidden states of all others are gone afterwards.
  /// - Throws: when reading fails.
  package func beginOutput(positions: [Int]) throws {
    let states = hiddenMatrix
    precondition(zip(positions, positions.dropFirst()).allSatisfy { $0 < $1 })
    precondition(positions.allSatisfy { $0 >= 0 && $0 < states.rowCount })
    for (row, position) in positions.enumerated() where row != position {
      states.row(row).update(from: states.row(position), count: states.columnCount)
    }
    rowCount.store(positions.count, ordering: .relaxed)
    try norm(.outputNorm, into: hiddenMatrix)
  }

  /// Computes the logits of a part of the vocabulary at the positions of `beginOutput`.
  ///
  /// Several workers may call it at once.
  ///
  /// - Parameters:
  ///   - rows: of the vocabulary; `outputTileRowCount` at a time is best.
  ///   - worker: below the scratch's `threadCount`; not used by another call at the same time.
  ///   - logits: `[positions.count, rows.count]`, row-major.
  /// - Throws: `FormatError` when reading fails, `ForwardCancelled`.
  package func logits(
    ofVocabulary rows: Range<Int>, worker: Int, into logits: UnsafeMutablePointer<Float>
  ) throws {
    precondition(rows.lowerBound >= 0 && rows.upperBound <= model.dimensions.vocabularySize)
    let library = try MatrixLibrary.shared.get()
    let input = hiddenMatrix
    let output = MatrixView(
      start: logits, rowCount: input.rowCount, columnCount: rows.count, stride: rows.count)
    let tileRows = scratch.tiling.rowCount
    for tile in 0..<rows.count.partCount(of: tileRows) {
      if cancellation.isCancelled { throw ForwardCancelled() }
      let part = rows.count.part(tile, of: tileRows)
      try multiply(
        input, by: WeightMatrix(model.outputWeight),
        rows: rows.lowerBound + part.lowerBound..<rows.lowerBound + part.upperBound,
        into: output[columns: part], adds: false, library, scratch.workers[worker])
    }
  }

  /// Has a part of the output matrix read ahead.
  package func prefetchOutput(_ rows: Range<Int>) {
    prefetch(WeightMatrix(model.outputWeight), rows: rows)
  }

  // MARK: Work

  /// Calls `body` for every task on the scratch's workers and throws the failure of the lowest one.
  func forEach(
    _ taskCount: Int, _ body: @escaping @Sendable (_ worker: Int, _ task: Int) throws -> Void
  ) throws {
    let next = Guarded(0)
    let failure = Guarded<(task: Int, error: any Error)?>(nil)
    let cancellation = cancellation
    let count = MatrixLibrary.ownsThreads ? 1 : min(scratch.threadCount, taskCount)
    WorkerThreads.run(count: max(1, count)) { worker in
      while !cancellation.isCancelled, failure.withLock({ $0 == nil }) {
        let task = next.withLock { next in
          defer { next += 1 }
          return next
        }
        guard task < taskCount else { return }
        do {
          try body(worker, task)
        } catch {
          failure.withLock { known in
            if let known, known.task < task { return }
            known = (task, error)
          }
        }
      }
    }
    if let error = failure.withLock({ $0?.error }) { throw error }
    if cancellation.isCancelled { throw ForwardCancelled() }
  }
}

extension Int {
  /// How many parts of at most `size` this many things make.
  func partCount(of size: Int) -> Int { (self + size - 1) / size }

  func part(_ index: Int, of size: Int) -> Range<Int> {
    index * size..<Swift.min(self, (index + 1) * size)
  }
}
