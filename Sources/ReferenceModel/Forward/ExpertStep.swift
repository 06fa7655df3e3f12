import Tensors

/// The experts of one layer: every token goes through those that the router picks for it.
///
///     normed ─ router ─▶ choices, sorted by expert
///     inputs  = normed of the choices' tokens          one row per choice
///     inner   = silu(inputs · gateᵀ) · (inputs · upᵀ)
///     inputs  = inner · downᵀ                           takes the place of the inputs
///     hidden += inputs
///
/// Only experts that a token reached are read. The choices are worked on in blocks of as many as
/// the layer's activations have room for; an expert's weights are read once for each block with it.
struct ExpertStep: Sendable {
  private let pass: ForwardPass
  private let layer: Int
  private let library: MatrixLibrary
  private let experts: ForwardExperts
  /// `[tokens, embedding]`.
  private let normed: MatrixView
  private let gates: ExpertMatrices
  private let ups: ExpertMatrices
  private let downs: ExpertMatrices

  init(
    _ pass: ForwardPass, _ layer: Int, _ experts: ForwardExperts, normed: MatrixView,
    _ library: MatrixLibrary
  ) {
    self.pass = pass
    self.layer = layer
    self.library = library
    self.experts = experts
    self.normed = normed
    gates = pass.model.expertMatrices(.layer(layer, .expertGate))
    ups = pass.model.expertMatrices(.layer(layer, .expertUp))
    downs = pass.model.expertMatrices(.layer(layer, .expertDown))
  }

  func run() throws {
    let routing = try route()
    for block in routing.blocks(limit: rowLimit) { try advance(block, routing) }
  }

  // MARK: Router

  /// Tokens that a worker scores at a time.
  private static let tokensPerTask = 512

  private func route() throws -> Routing {
    try pass.observe(normed, of: [.router], layer: layer)
    let router = WeightMatrix(pass.model.weight(.layer(layer, .router)))
    let buffers = pass.scratch.routing
    let scores = buffers.scores.matrix(rows: normed.rowCount, columns: experts.count)
    let tileRows = pass.scratch.tiling.rowCount
    let used = experts.usedCount
    let size = Self.tokensPerTask
    try pass.forEach(normed.rowCount.partCount(of: size)) { worker, task in
      let tokens = normed.rowCount.part(task, of: size)
      for tile in 0..<experts.count.partCount(of: tileRows) {
        let rows = experts.count.part(tile, of: tileRows)
        try pass.multiply(
          normed[rows: tokens], by: router, rows: rows, into: scores[rows: tokens][columns: rows],
          adds: false, library, pass.scratch.workers[worker])
      }
      for token in tokens {
        Routing.pick(
          scores.row(token), token: token, experts, into: buffers.picked + token * used)
      }
    }
    return Routing(buffers, choiceCount: normed.rowCount * used, expertCount: experts.count)
  }

  // MARK: Experts

  /// Choices for which the activations have room: an input and what the expert makes of it.
  private var rowLimit: Int {
    pass.scratch.activations.count / (normed.columnCount + experts.feedForwardLength)
  }

  /// Some rows of a matrix of one expert, and the rows of the block that it is multiplied with.
  private struct Tile: Sendable {
    var matrix: WeightMatrix
    var rows: Range<Int>
    var expert: Int
    var inputs: Range<Int>
  }

  private func tiles(_ parts: [Routing.Part], _ matrices: ExpertMatrices) -> [Tile] {
    let first = parts.first?.choices.lowerBound ?? 0
    return parts.flatMap { part in
      let matrix = matrices[part.expert]
      let size = pass.scratch.tiling.rowCount(matrix.layout)
      let inputs = part.choices.lowerBound - first..<part.choices.upperBound - first
      return (0..<matrix.rowCount.partCount(of: size)).map { index in
        Tile(
          matrix: matrix, rows: matrix.rowCount.part(index, of: size), expert: part.expert,
          inputs: inputs)
      }
    }
  }

  private func forEachTile(
    of tiles: [Tile], then following: [Tile],
    _ body: @escaping @Sendable (Tile, WorkerBuffers) throws -> Void
  ) throws {
    let all = tiles + following
    let readAhead = 2 * pass.scratch.threadCount
    try pass.forEach(tiles.count) { worker, index in
      if index + readAhead < all.count {
        let next = all[index + readAhead]
        pass.prefetch(next.matrix, rows: next.rows)
      }
      try body(tiles[index], pass.scratch.workers[worker])
    }
  }

  private func advance(_ parts: [Routing.Part], _ routing: Routing) throws {
    guard let first = parts.first, let last = parts.last else { return }
    let choices = routing.choices[first.choices.lowerBound..<last.choices.upperBound]
    let (count, width) = (choices.count, normed.columnCount)
    let activations = pass.scratch.activations
    let inputs = activations.matrix(rows: count, columns: width)
    let inner = activations.matrix(
      rows: count, columns: experts.feedForwardLength, at: count * width)

    try gather(choices, into: inputs)
    try observe(inputs, of: [.expertGate, .expertUp], parts)
    let downTiles = tiles(parts, downs)
    try forEachTile(of: tiles(parts, gates), then: downTiles) { tile, buffers in
      let up = ups[tile.expert]
      pass.prefetch(up, rows: tile.rows)
      let activations = inner[rows: tile.inputs][columns: tile.rows]
      try pass.multiply(
        inputs[rows: tile.inputs], by: tile.matrix, rows: tile.rows, into: activations,
        adds: false, library, buffers)
      try pass.multiplyGates(
        activations, inputs[rows: tile.inputs], by: up, rows: tile.rows, library, buffers)
    }
    try observe(inner, of: [.expertDown], parts)
    try forEachTile(of: downTiles, then: []) { tile, buffers in
      try pass.multiply(
        inner[rows: tile.inputs], by: tile.matrix, rows: tile.rows,
        into: inputs[rows: tile.inputs][columns: tile.rows], adds: false, library, buffers)
    }
    try scatter(inputs, choices)
  }

  /// Shows each expert's rows of a block; their number is how often the router picked it.
  private func observe(
    _ input: MatrixView, of weights: [LayerWeight], _ parts: [Routing.Part]
  ) throws {
    let first = parts.first?.choices.lowerBound ?? 0
    for part in parts {
      let rows = part.choices.lowerBound - first..<part.choices.upperBound - first
      try pass.observe(
        input[rows: rows], of: weights, layer: layer, expert: part.expert,
        expertCount: experts.count)
    }
  }

  /// Copies the inputs of the choices, weighted where that is the router's way.
  private func gather(_ choices: Slice<UnsafeBufferPointer<ExpertChoice>>, into inputs: MatrixView)
    throws
  {
    let chosen = ChosenRows(UnsafeBufferPointer(rebasing: choices))
    let size = ForwardPass.rowsPerTask
    try pass.forEach(inputs.rowCount.partCount(of: size)) { _, task in
      for row in inputs.rowCount.part(task, of: size) {
        let choice = chosen.choices[row]
        let factor = experts.weighting == .inputBySigmoid ? choice.weight : 1
        VectorMath.scale(
          normed.row(Int(choice.token)), by: factor, count: inputs.columnCount,
          into: inputs.row(row))
      }
    }
  }

  /// Columns that a worker adds at a time: all choices of a token are added by the same one.
  private static let columnsPerTask = 256

  /// Adds what the experts gave to their tokens' hidden states.
  private func scatter(
    _ outputs: MatrixView, _ choices: Slice<UnsafeBufferPointer<ExpertChoice>>
  ) throws {
    let chosen = ChosenRows(UnsafeBufferPointer(rebasing: choices))
    let hidden = pass.hiddenMatrix
    let size = Self.columnsPerTask
    try pass.forEach(hidden.columnCount.partCount(of: size)) { _, task in
      let columns = hidden.columnCount.part(task, of: size)
      for row in 0..<outputs.rowCount {
        let choice = chosen.choices[row]
        let factor = experts.weighting == .outputByProbability ? choice.weight : 1
        VectorMath.add(
          outputs.row(row) + columns.lowerBound, times: factor, count: columns.count,
          to: hidden.row(Int(choice.token)) + columns.lowerBound)
      }
    }
  }

  /// The choices of a block; nobody writes them meanwhile.
  private struct ChosenRows: @unchecked Sendable {
    let choices: UnsafeBufferPointer<ExpertChoice>
    init(_ choices: UnsafeBufferPointer<ExpertChoice>) { self.choices = choices }
  }
}

extension ForwardPass {
  /// `gates = silu(gates) · (input · upᵀ)` for some rows of the up matrix, in blocks of tokens.
  func multiplyGates(
    _ gates: MatrixView, _ input: MatrixView, by up: WeightMatrix, rows: Range<Int>,
    bias: WeightRole? = nil, _ library: MatrixLibrary, _ buffers: WorkerBuffers
  ) throws {
    let size = min(scratch.tiling.tokenCount, buffers.product.count / rows.count)
    for block in 0..<input.rowCount.partCount(of: size) {
      let tokens = input.rowCount.part(block, of: size)
      let ups = buffers.product.matrix(rows: tokens.count, columns: rows.count)
      try multiply(
        input[rows: tokens], by: up, rows: rows, into: ups, adds: false, library, buffers)
      if let bias { try addBias(bias, rows: rows, to: ups, buffers) }
      for row in 0..<tokens.count {
        VectorMath.gate(
          gates.row(tokens.lowerBound + row), with: ups.row(row), count: rows.count)
      }
    }
  }
}
