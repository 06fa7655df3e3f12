extension ComputeGraph {
  /// Lets every device hold copies of what others computed for it.
  ///
  /// A run of tensors on one device is a part. Copies of everything that it needs from elsewhere
  /// are made when the part begins, once for each device; the originals stay until then.
  ///
  /// - Parameter copyCount: how many generations of inputs are held, so that devices may work on
  ///   several micro-batches at a time; 1 without such a pipeline.
  /// - Returns: the graph with the copies in it, and generations that come before everything else.
  func splitOverDevices(copyCount: Int) -> DividedGraph {
    var divided = DividedGraph(tensors: tensors, steps: [], leading: [])
    var part: Int?
    var copies: [CopyKey: ID] = [:]
    var begin = 0
    while begin < nodes.count {
      part = tensors[nodes[begin]].device
      var end = begin
      while end < nodes.count, tensors[nodes[end]].device == part { end += 1 }
      for node in nodes[begin..<end] {
        for (position, source) in tensors[node].sources.enumerated()
        where tensors[source].device != part {
          let key = CopyKey(source: source, device: part ?? host)
          let copy = copies[key] ?? divided.addCopy(of: source, to: key.device, count: copyCount)
          copies[key] = copy
          divided.tensors[node].sources[position] = copy
        }
      }
      divided.steps += nodes[begin..<end].map { .compute($0) }
      begin = end
    }
    if copyCount > 1 {
      // The program fills one generation while others are in use.
      for input in inputs {
        divided.tensors[input].isOutput = true
        divided.leading += divided.addGenerations(of: input, count: copyCount)
      }
    }
    divided.leading += inputs
    return divided
  }

  private struct CopyKey: Hashable {
    let source: ID
    let device: Int
  }
}

/// A graph whose devices have copies of what they need from each other.
struct DividedGraph {
  enum Step {
    case compute(ComputeGraph.ID)
    /// Makes the second tensor from the first.
    case copy(ComputeGraph.ID, ComputeGraph.ID)
  }

  var tensors: [ComputeGraph.Tensor]
  var steps: [Step]
  /// What gets its place before the first step.
  var leading: [ComputeGraph.ID]

  fileprivate mutating func addCopy(
    of source: ComputeGraph.ID, to device: Int, count: Int
  ) -> ComputeGraph.ID {
    // A view is copied with the extent that it shows.
    let extent = tensors[source].viewed ?? source
    tensors.append(
      .init(
        byteCount: tensors[extent].byteCount, layout: tensors[source].layout, sources: [],
        isOutput: count > 1, device: device))
    let copy = tensors.count - 1
    if count > 1 {
      leading.append(copy)
      leading += addGenerations(of: copy, count: count)
    }
    steps.append(.copy(source, copy))
    return copy
  }

  /// Further places as large as `tensor`'s.
  fileprivate mutating func addGenerations(
    of tensor: ComputeGraph.ID, count: Int
  ) -> [ComputeGraph.ID] {
    (1..<count).map { _ in
      tensors.append(tensors[tensor])
      return tensors.count - 1
    }
  }
}
