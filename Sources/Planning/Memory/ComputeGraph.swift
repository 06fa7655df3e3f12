/// The intermediate tensors of a forward pass, in the order in which llama.cpp computes them.
///
/// Weights and caches lie in buffers of their own and are left out.
struct ComputeGraph {
  typealias ID = Int

  struct Tensor {
    var byteCount: Int
    /// Entries along each dimension, the contiguous one first; `nil` for what no result can replace.
    var layout: [Int]?
    /// What is computed from, in the order in which it is visited.
    var sources: [ID]
    /// The tensor whose bytes a view shows.
    var viewed: ID?
    /// Filled by the program before the pass.
    var isInput = false
    /// Written into a cache: needs no place of its own.
    var isStored = false
    /// Whether the result may take the place of a source that nobody else needs.
    var mayReplace = false
    /// Kept until the end of the pass.
    var isOutput = false
    /// Index of the device that computes it.
    var device: Int
  }

  private(set) var tensors: [Tensor] = []
  /// Computed tensors, in order.
  private(set) var nodes: [ID] = []
  /// Inputs, in the order in which they are first needed.
  private(set) var inputs: [ID] = []
  private var isVisited: [Bool] = []
  /// Device of what is added next.
  var device: Int
  /// Device of inputs: the host.
  let host: Int

  init(host: Int) {
    self.host = host
    device = host
  }

  private mutating func add(_ tensor: Tensor) -> ID {
    tensors.append(tensor)
    isVisited.append(false)
    return tensors.count - 1
  }

  /// An input of `byteCount` bytes.
  mutating func input(_ byteCount: Int) -> ID {
    add(Tensor(byteCount: byteCount, sources: [], isInput: true, device: host))
  }

  /// A result of 4-byte numbers with a place of its own, unless it may take a source's.
  mutating func result(
    _ layout: [Int], from sources: [ID], mayReplace: Bool = false, extraByteCount: Int = 0
  ) -> ID {
    let count = layout.reduce(1) { boundedProduct($0, $1) }
    return add(
      Tensor(
        byteCount: boundedProduct(count, 4) + extraByteCount, layout: layout, sources: sources,
        mayReplace: mayReplace, device: device))
  }

  /// Other dimensions over the same bytes; `nil` when they are no contiguous run.
  mutating func view(_ source: ID, _ layout: [Int]?) -> ID {
    add(
      Tensor(
        byteCount: 0, layout: layout, sources: [source],
        viewed: tensors[source].viewed ?? source, device: tensors[source].device))
  }

  /// A write of `source` into a cache, at the places that `indices` holds.
  mutating func store(_ source: ID, at indices: ID) -> ID {
    add(Tensor(byteCount: 0, sources: [source, indices], isStored: true, device: device))
  }

  /// Keeps a tensor until the end.
  mutating func markOutput(_ id: ID) { tensors[id].isOutput = true }

  /// Puts a tensor next in order, after whatever it is computed from.
  mutating func expand(_ id: ID) {
    guard !isVisited[id] else { return }
    isVisited[id] = true
    for source in tensors[id].sources { expand(source) }
    if tensors[id].isInput { inputs.append(id) } else { nodes.append(id) }
  }
}
