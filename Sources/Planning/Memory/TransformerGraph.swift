import Tensors

/// Builds the forward pass of Llama models as llama.cpp computes it.
struct TransformerGraph {
  let model: MemoryDimensions
  let run: MemoryRun
  let placement: DevicePlacement
  private(set) var graph: ComputeGraph
  /// Tokens of the micro-batch.
  let tokens: Int
  private var positions: ComputeGraph.ID
  private var queryScale: ComputeGraph.ID
  private var outputRows: ComputeGraph.ID
  /// Of layers that keep everything, and of chunked ones.
  private var cache: CacheInputs
  private var chunkedCache: CacheInputs

  private typealias ID = ComputeGraph.ID

  /// What attention needs to know of a cache.
  private struct CacheInputs {
    var keyPlaces: ComputeGraph.ID
    var valuePlaces: ComputeGraph.ID
    /// Which cells every token sees.
    var mask: ComputeGraph.ID
    /// Rotations that spread outliers before keys and values are quantized.
    var keyRotation: (matrix: ComputeGraph.ID, size: Int)?
    var valueRotation: (matrix: ComputeGraph.ID, size: Int)?
    var cellCount: Int
  }

  init(_ model: MemoryDimensions, _ run: MemoryRun, _ placement: DevicePlacement) {
    self.model = model
    self.run = run
    self.placement = placement
    graph = ComputeGraph(host: placement.host)
    tokens = run.reservedTokenCount
    positions = graph.input(tokens * 4)
    queryScale = graph.input(tokens * 4)
    outputRows = graph.input(run.reservedOutputCount * 4)
    cache = Self.inputs(model, run, cellCount: run.cellCount, &graph)
    chunkedCache = Self.inputs(model, run, cellCount: run.cellCount(chunk: model.chunk), &graph)
    build()
  }

  private static func inputs(
    _ model: MemoryDimensions, _ run: MemoryRun, cellCount: Int, _ graph: inout ComputeGraph
  ) -> CacheInputs {
    let tokens = run.reservedTokenCount
    let valueWidth = model.layers.map(model.valueWidth).max() ?? 0
    // Without flash attention values lie transposed, so that every number has a place of its own.
    let places = run.flashAttention ? tokens : boundedProduct(tokens, valueWidth)
    var inputs = CacheInputs(
      keyPlaces: graph.input(boundedProduct(tokens, 8)),
      valuePlaces: graph.input(boundedProduct(places, 8)),
      mask: graph.input(boundedProduct(cellCount, tokens, run.flashAttention ? 2 : 4)),
      cellCount: cellCount)
    if run.keyType.isBlockType, model.keyLength % 64 == 0 {
      let size = rotationSize(model.keyLength)
      inputs.keyRotation = (graph.input(boundedProduct(size, size, 4)), size)
    }
    if run.valueType.isBlockType, model.valueLength % 64 == 0 {
      inputs.valueRotation = (graph.input(64 * 64 * 4), 64)
    }
    return inputs
  }

  /// The largest power of two from 64 on that divides the length of a key.
  private static func rotationSize(_ length: Int) -> Int {
    var size = 64
    while length % (size * 2) == 0 { size *= 2 }
    return size
  }

  private mutating func build() {
    graph.device = placement.host
    let tokenNumbers = graph.input(tokens * 4)
    var stream = graph.result([model.embedding, tokens], from: [tokenNumbers])
    graph.expand(stream)
    // A place for embeddings instead of tokens, which is there without being used.
    let embeddings = graph.input(boundedProduct(model.embedding, tokens, 4))
    graph.expand(embeddings)
    for index in model.layers.indices {
      graph.device = placement.device(ofLayer: index)
      stream = layer(index, stream)
    }
    graph.device = placement.output
    let rows = model.layers.isEmpty ? tokens : run.reservedOutputCount
    let normed = norm(stream, [model.embedding, rows])
    graph.markOutput(normed)
    let logits = graph.result([model.vocabulary, rows], from: [normed])
    graph.markOutput(logits)
    graph.expand(logits)
  }

  private mutating func layer(_ index: Int, _ stream: ID) -> ID {
    let layer = model.layers[index]
    let width = [model.embedding, tokens]
    var attended = attention(index, layer, norm(stream, width))
    var rows = tokens
    var kept = stream
    if index == model.layers.count - 1 {
      rows = run.reservedOutputCount
      attended = graph.result([model.embedding, rows], from: [attended, outputRows])
      kept = graph.result([model.embedding, rows], from: [kept, outputRows])
    }
    let output = [model.embedding, rows]
    let sum = graph.result(output, from: [attended, kept], mayReplace: true)
    let normed = norm(sum, output)
    let fed =
      layer.hasExperts
      ? experts(layer, normed, rows: rows) : feedForward(layer.feedForward, normed, rows: rows)
    return graph.result(output, from: [fed, sum], mayReplace: true)
  }

  private mutating func norm(_ source: ID, _ layout: [Int]) -> ID {
    let scaled = graph.result(layout, from: [source], mayReplace: true)
    return graph.result(layout, from: [scaled], mayReplace: true)
  }

  private mutating func feedForward(_ width: Int, _ source: ID, rows: Int) -> ID {
    let up = graph.result([width, rows], from: [source])
    let gate = graph.result([width, rows], from: [source])
    let product = graph.result([width, rows], from: [gate, up])
    return graph.result([model.embedding, rows], from: [product])
  }

  private mutating func attention(
    _ index: Int, _ layer: MemoryDimensions.Layer, _ source: ID
  ) -> ID {
    let inputs = layer.isChunked ? chunkedCache : cache
    var queries = heads(source, layer.headCount, model.keyLength)
    var keys = heads(source, layer.keyHeadCount, model.keyLength)
    var values = heads(source, layer.keyHeadCount, model.valueLength)
    let queryLayout = [model.keyLength, layer.headCount, tokens]
    let keyLayout = [model.keyLength, layer.keyHeadCount, tokens]
    let step = model.unpositionedStep
    if step == 0 || (index + 1) % step != 0 {
      queries = graph.result(queryLayout, from: [queries, positions], mayReplace: true)
      keys = graph.result(keyLayout, from: [keys, positions], mayReplace: true)
      if model.normalizesQueries {
        queries = graph.result(queryLayout, from: [queries], mayReplace: true)
        keys = graph.result(keyLayout, from: [keys], mayReplace: true)
      }
    } else {
      queries = graph.result(queryLayout, from: [queries, queryScale], mayReplace: true)
    }
    if let rotation = inputs.keyRotation {
      queries = rotated(queries, queryLayout, rotation)
      keys = rotated(keys, keyLayout, rotation)
    }
    if let rotation = inputs.valueRotation {
      values = rotated(values, [model.valueLength, layer.keyHeadCount, tokens], rotation)
    }
    graph.expand(queries)
    for part in model.chunk > 0 ? [keys, values] : [values, keys] { graph.expand(part) }
    store(keys, model.keyWidth(layer), at: inputs.keyPlaces)
    store(values, model.valueWidth(layer), at: inputs.valuePlaces)
    var attended = weighted(queries, layer, inputs)
    if let rotation = inputs.valueRotation {
      attended = rotated(attended, [layer.headCount * model.valueLength, tokens], rotation)
    }
    return graph.result([model.embedding, tokens], from: [attended])
  }

  private mutating func heads(_ source: ID, _ count: Int, _ length: Int) -> ID {
    let flat = graph.result([count * length, tokens], from: [source])
    return graph.view(flat, [length, count, tokens])
  }

  private mutating func rotated(
    _ source: ID, _ layout: [Int], _ rotation: (matrix: ID, size: Int)
  ) -> ID {
    let rows = layout.reduce(1) { boundedProduct($0, $1) } / rotation.size
    let flat = graph.view(source, [rotation.size, rows])
    let product = graph.result([rotation.size, rows], from: [rotation.matrix, flat])
    return graph.view(product, layout)
  }

  private mutating func store(_ source: ID, _ width: Int, at places: ID) {
    let flat = graph.view(source, [width, tokens])
    graph.expand(graph.store(flat, at: places))
  }

  /// Values of all cells, weighted by how well their keys fit the queries.
  private mutating func weighted(
    _ queries: ID, _ layer: MemoryDimensions.Layer, _ inputs: CacheInputs
  ) -> ID {
    let heads = layer.headCount
    let spread = graph.view(graph.view(queries, nil), nil)
    let result: ID
    if run.flashAttention {
      let attended = graph.result(
        [model.valueLength, heads, tokens], from: [spread, inputs.mask],
        extraByteCount: placement.flashAttentionByteCount(model, layer, run, inputs.cellCount))
      result = graph.view(attended, [model.valueLength * heads, tokens])
    } else {
      let layout = [inputs.cellCount, tokens, heads]
      let scores = graph.result(layout, from: [spread])
      let shares = graph.result(layout, from: [scores, inputs.mask], mayReplace: true)
      let sums = graph.result([model.valueLength, tokens, heads], from: [shares])
      result = graph.result([model.valueLength * heads, tokens], from: [graph.view(sums, nil)])
    }
    graph.expand(result)
    return result
  }

  /// The networks that a router chooses, and in Llama 4 the one that every token passes.
  private mutating func experts(
    _ layer: MemoryDimensions.Layer, _ source: ID, rows: Int
  ) -> ID {
    let (count, used) = (model.expertCount, max(1, model.usedExpertCount))
    let isLlama4 = model.architecture == "llama4"
    let logits = graph.result([count, rows], from: [source])
    let probabilities = graph.result([count, rows], from: [logits], mayReplace: true)
    let order = graph.result([count, rows], from: [isLlama4 ? logits : probabilities])
    let chosen = graph.view(order, nil)
    let column = graph.view(probabilities, [1, count, rows])
    var weights = graph.result([1, used, rows], from: [column, chosen])
    if !isLlama4 {
      let flat = graph.view(weights, [used, rows])
      let sum = graph.result([1, rows], from: [flat])
      let bounded = graph.result([1, rows], from: [sum], mayReplace: true)
      let shares = graph.result([used, rows], from: [flat, bounded], mayReplace: true)
      weights = graph.view(shares, [1, used, rows])
    }
    if model.scalesExperts {
      weights = graph.result([1, used, rows], from: [weights], mayReplace: true)
    }
    graph.expand(weights)

    let wide = [model.embedding, used, rows]
    var input = graph.view(source, [model.embedding, 1, rows])
    if isLlama4 {
      let repeated = graph.result(wide, from: [input])
      input = graph.result(wide, from: [repeated, weights], mayReplace: true)
    }
    let inner = [layer.feedForward, used, rows]
    let up = graph.result(inner, from: [input, chosen])
    let gate = graph.result(inner, from: [input, chosen])
    let product = graph.result(inner, from: [gate, up])
    var outputs = graph.result(wide, from: [product, chosen])
    if !isLlama4 { outputs = graph.result(wide, from: [outputs, weights], mayReplace: true) }
    graph.expand(outputs)
    let result = sum(outputs, used: used, rows: rows)
    guard isLlama4 else { return result }
    let shared = feedForward(layer.feedForward, source, rows: rows)
    return graph.result([model.embedding, rows], from: [result, shared], mayReplace: true)
  }

  private mutating func sum(_ outputs: ID, used: Int, rows: Int) -> ID {
    let layout = [model.embedding, rows]
    let parts = (0..<used).map { _ in graph.view(outputs, used == 1 ? layout : nil) }
    for part in parts { graph.expand(part) }
    if used == 1 { return graph.result(layout, from: parts) }
    var result = parts[0]
    for part in parts.dropFirst() {
      result = graph.result(layout, from: [result, part], mayReplace: true)
      graph.expand(result)
    }
    return result
  }
}
