#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif
import Architectures
import Tensors

/// One layer of one forward pass.
///
///     normed ─ q k v ─ rotate ─ attend ─▶ hidden += ·     activations: q | k | v
///     normed ─ gate, up ─ silu(gate) · up ─▶ hidden += ·  activations: feed-forward width
///     normed ─ router ─ experts ─▶ hidden += ·            see ExpertStep
struct LayerStep: Sendable {
  let pass: ForwardPass
  let layer: Int
  let library: MatrixLibrary
  /// `[tokens, embedding]`.
  private let normed: MatrixView

  init(_ pass: ForwardPass, _ layer: Int, _ library: MatrixLibrary) {
    self.pass = pass
    self.layer = layer
    self.library = library
    let hidden = pass.hiddenMatrix
    normed = pass.scratch.normed.matrix(rows: hidden.rowCount, columns: hidden.columnCount)
  }

  /// Some rows of one weight matrix.
  private struct Tile: Sendable {
    var weight: LayerWeight
    var matrix: WeightMatrix
    var rows: Range<Int>
  }

  private func tiles(_ weights: [LayerWeight]) -> [Tile] {
    let size = pass.scratch.tiling.rowCount
    return weights.flatMap { weight in
      let matrix = WeightMatrix(pass.model.weight(.layer(layer, weight)))
      return (0..<matrix.rowCount.partCount(of: size)).map { index in
        Tile(weight: weight, matrix: matrix, rows: matrix.rowCount.part(index, of: size))
      }
    }
  }

  private func prefetch(_ tiles: [Tile], _ index: Int) {
    guard index < tiles.count else { return }
    pass.prefetch(tiles[index].matrix, rows: tiles[index].rows)
  }

  /// How many tiles ahead of the one that is begun the system is asked to read.
  private var readAhead: Int { 2 * pass.scratch.threadCount }

  /// Multiplies, adds the bias if there is one, and has later tiles read ahead.
  private func forEachTile(
    of tiles: [Tile], then following: [Tile],
    _ body: @escaping @Sendable (Tile, WorkerBuffers) throws -> Void
  ) throws {
    let all = tiles + following
    try pass.forEach(tiles.count) { worker, index in
      prefetch(all, index + readAhead)
      try body(tiles[index], pass.scratch.workers[worker])
    }
  }

  private func multiply(
    _ input: MatrixView, _ tile: Tile, into output: MatrixView, adds: Bool = false,
    bias: LayerWeight?, _ buffers: WorkerBuffers
  ) throws {
    try pass.multiply(
      input, by: tile.matrix, rows: tile.rows, into: output, adds: adds, library, buffers)
    guard let bias else { return }
    try pass.addBias(.layer(layer, bias), rows: tile.rows, to: output, buffers)
  }

  // MARK: Attention

  func attend() throws {
    let dimensions = pass.model.dimensions
    let tokenCount = normed.rowCount
    let activations = pass.scratch.activations
    let queries = activations.matrix(rows: tokenCount, columns: dimensions.queryLength)
    let keys = activations.matrix(
      rows: tokenCount, columns: dimensions.keyLength, at: tokenCount * dimensions.queryLength)
    let values = activations.matrix(
      rows: tokenCount, columns: dimensions.keyLength,
      at: tokenCount * (dimensions.queryLength + dimensions.keyLength))
    let outputTiles = tiles([.attentionOutput])

    try pass.norm(.layer(layer, .attentionNorm), into: normed)
    try pass.observe(normed, of: [.query, .key, .value], layer: layer)
    try forEachTile(of: tiles([.query, .key, .value]), then: outputTiles) { tile, buffers in
      let (target, bias): (MatrixView, LayerWeight) =
        switch tile.weight {
        case .query: (queries, .queryBias)
        case .key: (keys, .keyBias)
        default: (values, .valueBias)
        }
      try multiply(normed, tile, into: target[columns: tile.rows], bias: bias, buffers)
    }
    try place(queries, keys)
    try attend(queries, keys, values)
    try pass.observe(queries, of: [.attentionOutput], layer: layer)
    try forEachTile(of: outputTiles, then: tiles(feedForwardPart.map { [$0.gate] } ?? [])) {
      tile, buffers in
      try multiply(
        queries, tile, into: pass.hiddenMatrix[columns: tile.rows], adds: true,
        bias: .attentionOutputBias, buffers)
    }
  }

  /// Gives queries and keys their positions: rotates them, or scales the queries alone.
  private func place(_ queries: MatrixView, _ keys: MatrixView) throws {
    let dimensions = pass.model.dimensions
    let attention = pass.model.attention
    let contextLength = pass.scratch.contextLength
    let rotates = attention?.rotates[layer] ?? true
    let normalizes = attention?.normalizesRotated ?? false
    let size = ForwardPass.rowsPerTask
    try pass.forEach(queries.rowCount.partCount(of: size)) { _, task in
      for row in queries.rowCount.part(task, of: size) {
        let position = row % contextLength
        if rotates {
          pass.rotation.rotate(
            queries.row(row), headCount: dimensions.headCount, position: position)
          pass.rotation.rotate(
            keys.row(row), headCount: dimensions.headCountKV, position: position)
          if normalizes {
            normalize(queries.row(row), headCount: dimensions.headCount)
            normalize(keys.row(row), headCount: dimensions.headCountKV)
          }
        } else if let factor = attention?.temperature?.factor(position: position) {
          VectorMath.scale(
            queries.row(row), by: factor, count: queries.columnCount, into: queries.row(row))
        }
      }
    }
  }

  private func normalize(_ heads: UnsafeMutablePointer<Float>, headCount: Int) {
    let dimensions = pass.model.dimensions
    for head in 0..<headCount {
      VectorMath.rmsNormalize(
        heads + head * dimensions.headDimension, epsilon: dimensions.normEpsilon,
        count: dimensions.headDimension)
    }
  }

  /// The output of each head takes the place of its queries.
  private func attend(_ queries: MatrixView, _ keys: MatrixView, _ values: MatrixView) throws {
    let dimensions = pass.model.dimensions
    let size = dimensions.headDimension
    let groupSize = dimensions.headCount / dimensions.headCountKV
    let contextLength = pass.scratch.contextLength
    let chunkCount = queries.rowCount / contextLength
    try pass.forEach(chunkCount * dimensions.headCount) { worker, task in
      let (chunk, head) = task.quotientAndRemainder(dividingBy: dimensions.headCount)
      let rows = chunk * contextLength..<(chunk + 1) * contextLength
      let keyColumns = (head / groupSize) * size..<(head / groupSize + 1) * size
      attendHead(
        queries[rows: rows][columns: head * size..<(head + 1) * size],
        keys[rows: rows][columns: keyColumns], values[rows: rows][columns: keyColumns],
        scores: pass.scratch.workers[worker].weights)
    }
  }

  /// One head of one chunk: blocks of queries, each with the keys from what its first one sees up to
  /// its last one.
  private func attendHead(
    _ queries: MatrixView, _ keys: MatrixView, _ values: MatrixView, scores: FloatBuffer
  ) {
    let blockSize = pass.scratch.tiling.queries(contextLength: queries.rowCount)
    let scale = 1 / Float(queries.columnCount).squareRoot()
    for index in 0..<queries.rowCount.partCount(of: blockSize) {
      let rows = queries.rowCount.part(index, of: blockSize)
      let block = queries[rows: rows]
      let seen = firstSeen(rows.lowerBound)..<rows.upperBound
      let scores = scores.matrix(rows: rows.count, columns: seen.count)
      library.multiply(block, transposed: keys[rows: seen], into: scores, scale: scale)
      for row in 0..<rows.count {
        let position = rows.lowerBound + row
        let own = firstSeen(position) - seen.lowerBound..<position + 1 - seen.lowerBound
        let start = scores.row(row)
        VectorMath.softmax(start + own.lowerBound, count: own.count)
        start.update(repeating: 0, count: own.lowerBound)
        (start + own.upperBound).update(repeating: 0, count: seen.count - own.upperBound)
      }
      library.multiply(scores, values[rows: seen], into: block)
    }
  }

  /// The first position that one sees: the beginning of its chunk of attention, if there are such.
  private func firstSeen(_ position: Int) -> Int {
    guard let attention = pass.model.attention, attention.rotates[layer],
      let length = attention.chunkLength
    else { return 0 }
    return position / length * length
  }

  // MARK: Feed-forward

  /// Matrices that every token goes through, and their biases.
  private struct FeedForwardPart {
    var gate, up, down: LayerWeight
    var gateBias, upBias, downBias: LayerWeight?
  }

  /// That of a dense layer, or the expert that all share; `nil` where there is none.
  private var feedForwardPart: FeedForwardPart? {
    guard let experts else {
      return FeedForwardPart(
        gate: .gate, up: .up, down: .down, gateBias: .gateBias, upBias: .upBias,
        downBias: .downBias)
    }
    guard experts.hasShared else { return nil }
    return FeedForwardPart(gate: .sharedGate, up: .sharedUp, down: .sharedDown)
  }

  /// Of this layer; `nil` if it is dense.
  private var experts: ForwardExperts? {
    pass.model.dimensions.experts.flatMap { $0.areIn(layer: layer) ? $0 : nil }
  }

  func feedForward() throws {
    try pass.norm(.layer(layer, .feedForwardNorm), into: normed)
    if let part = feedForwardPart { try run(part) }
    if let experts {
      try ExpertStep(pass, layer, experts, normed: normed, library).run()
    }
  }

  private func run(_ part: FeedForwardPart) throws {
    let up = WeightMatrix(pass.model.weight(.layer(layer, part.up)))
    let activations = pass.scratch.activations.matrix(
      rows: normed.rowCount, columns: up.rowCount)
    let downTiles = tiles([part.down])
    try pass.observe(normed, of: [part.gate, part.up], layer: layer)
    try forEachTile(of: tiles([part.gate]), then: downTiles) { tile, buffers in
      pass.prefetch(up, rows: tile.rows)
      let gates = activations[columns: tile.rows]
      try multiply(normed, tile, into: gates, bias: part.gateBias, buffers)
      try pass.multiplyGates(
        gates, normed, by: up, rows: tile.rows, bias: part.upBias.map { .layer(layer, $0) },
        library, buffers)
    }
    try pass.observe(activations, of: [part.down], layer: layer)
    try forEachTile(of: downTiles, then: []) { tile, buffers in
      try multiply(
        activations, tile, into: pass.hiddenMatrix[columns: tile.rows], adds: true,
        bias: part.downBias, buffers)
    }
  }

  /// Has the beginning of the next layer, or of the output, read ahead.
  func prefetchNext() {
    if layer + 1 < pass.model.dimensions.layerCount {
      let next = LayerStep(pass, layer + 1, library)
      let tiles = next.tiles([.query, .key, .value])
      for index in 0..<readAhead { next.prefetch(tiles, index) }
    } else {
      let rows = pass.model.outputWeight.rowCount
      pass.prefetchOutput(0..<min(rows, readAhead * pass.scratch.tiling.rowCount))
    }
  }
}

extension ChunkedAttention.Temperature {
  /// What multiplies the queries at a position.
  fileprivate func factor(position: Int) -> Float {
    let steps = (Double(position) + 1) / floor
    return Float(log(steps.rounded(.down) + 1) * scale + 1)
  }
}
