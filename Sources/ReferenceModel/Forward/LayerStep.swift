import Tensors

/// One layer of one forward pass.
///
///     normed ─ q k v ─ rotate ─ attend ─▶ hidden += ·     activations: q | k | v
///     normed ─ gate, up ─ silu(gate) · up ─▶ hidden += ·  activations: feed-forward width
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
    var rows: Range<Int>
  }

  private func tiles(_ weights: [LayerWeight]) -> [Tile] {
    let size = pass.scratch.tiling.rowCount
    return weights.flatMap { weight in
      let rowCount = pass.model.weight(.layer(layer, weight)).rowCount
      return (0..<rowCount.partCount(of: size)).map { index in
        Tile(weight: weight, rows: rowCount.part(index, of: size))
      }
    }
  }

  private func prefetch(_ tiles: [Tile], _ index: Int) {
    guard index < tiles.count else { return }
    pass.prefetch(pass.model.weight(.layer(layer, tiles[index].weight)), rows: tiles[index].rows)
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
    bias: LayerWeight, _ buffers: WorkerBuffers
  ) throws {
    try pass.multiply(
      input, by: pass.model.weight(.layer(layer, tile.weight)), rows: tile.rows, into: output,
      adds: adds, library, buffers)
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
    try rotate(queries, keys)
    try attend(queries, keys, values)
    try pass.observe(queries, of: [.attentionOutput], layer: layer)
    try forEachTile(of: outputTiles, then: tiles([.gate])) { tile, buffers in
      try multiply(
        queries, tile, into: pass.hiddenMatrix[columns: tile.rows], adds: true,
        bias: .attentionOutputBias, buffers)
    }
  }

  private func rotate(_ queries: MatrixView, _ keys: MatrixView) throws {
    let dimensions = pass.model.dimensions
    let contextLength = pass.scratch.contextLength
    let size = ForwardPass.rowsPerTask
    try pass.forEach(queries.rowCount.partCount(of: size)) { _, task in
      for row in queries.rowCount.part(task, of: size) {
        let position = row % contextLength
        pass.rotation.rotate(
          queries.row(row), headCount: dimensions.headCount, position: position)
        pass.rotation.rotate(
          keys.row(row), headCount: dimensions.headCountKV, position: position)
      }
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

  /// One head of one chunk: blocks of queries, each with the keys up to its last one.
  private func attendHead(
    _ queries: MatrixView, _ keys: MatrixView, _ values: MatrixView, scores: FloatBuffer
  ) {
    let blockSize = pass.scratch.tiling.queries(contextLength: queries.rowCount)
    let scale = 1 / Float(queries.columnCount).squareRoot()
    for index in 0..<queries.rowCount.partCount(of: blockSize) {
      let rows = queries.rowCount.part(index, of: blockSize)
      let block = queries[rows: rows]
      let scores = scores.matrix(rows: rows.count, columns: rows.upperBound)
      library.multiply(
        block, transposed: keys[rows: 0..<rows.upperBound], into: scores, scale: scale)
      for row in 0..<rows.count {
        let seen = rows.lowerBound + row + 1
        VectorMath.softmax(scores.row(row), count: seen)
        (scores.row(row) + seen).update(repeating: 0, count: rows.upperBound - seen)
      }
      library.multiply(scores, values[rows: 0..<rows.upperBound], into: block)
    }
  }

  // MARK: Feed-forward

  func feedForward() throws {
    let width = pass.model.dimensions.feedForwardLength
    let activations = pass.scratch.activations.matrix(rows: normed.rowCount, columns: width)
    let downTiles = tiles([.down])

    try pass.norm(.layer(layer, .feedForwardNorm), into: normed)
    try pass.observe(normed, of: [.gate, .up], layer: layer)
    try forEachTile(of: tiles([.gate]), then: downTiles) { tile, buffers in
      let up = Tile(weight: .up, rows: tile.rows)
      pass.prefetch(pass.model.weight(.layer(layer, .up)), rows: tile.rows)
      try multiply(
        normed, tile, into: activations[columns: tile.rows], bias: .gateBias, buffers)
      let size = pass.scratch.tiling.tokenCount
      for block in 0..<normed.rowCount.partCount(of: size) {
        let tokens = normed.rowCount.part(block, of: size)
        let ups = buffers.product.matrix(rows: tokens.count, columns: tile.rows.count)
        try multiply(normed[rows: tokens], up, into: ups, bias: .upBias, buffers)
        let gates = activations[rows: tokens][columns: tile.rows]
        for row in 0..<tokens.count {
          VectorMath.gate(gates.row(row), with: ups.row(row), count: tile.rows.count)
        }
      }
    }
    try pass.observe(activations, of: [.down], layer: layer)
    try forEachTile(of: downTiles, then: []) { tile, buffers in
      try multiply(
        activations, tile, into: pass.hiddenMatrix[columns: tile.rows], adds: true,
        bias: .downBias, buffers)
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
