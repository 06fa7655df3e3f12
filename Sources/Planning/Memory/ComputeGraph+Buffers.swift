extension DividedGraph {
  /// Length of the compute buffer of every device.
  ///
  /// Inputs get their places first. Then every result in order: the place of a source that is not
  /// needed any more where the operation allows it, or else the best gap. A tensor gives its place
  /// back when the last result that needs it, or one of its views, is computed.
  func bufferByteCounts(alignments: [Int]) -> [Int] {
    var walk = Walk(self, alignments)
    for tensor in leading { walk.place(tensor) }
    for step in steps {
      switch step {
      case .compute(let id):
        walk.place(id)
        for source in tensors[id].sources { walk.release(source) }
      case .copy(let source, let copy):
        walk.place(copy)
        walk.release(source)
      }
    }
    return walk.allocators.map(\.byteCount)
  }

  private struct Walk {
    /// What is known of a tensor at one moment.
    struct State {
      /// Results still to be computed from it.
      var readerCount = 0
      /// Views of it that are still needed.
      var viewCount = 0
      /// `nil` before it has one, and after it gave it back or away.
      var offset: Int?
      var wasPlaced = false
    }

    let tensors: [ComputeGraph.Tensor]
    var states: [State]
    var allocators: [BufferAllocator]

    init(_ graph: DividedGraph, _ alignments: [Int]) {
      tensors = graph.tensors
      states = Array(repeating: State(), count: tensors.count)
      allocators = alignments.map { BufferAllocator(alignment: $0) }
      for step in graph.steps {
        switch step {
        case .compute(let id):
          if let viewed = tensors[id].viewed { states[viewed].viewCount += 1 }
          for source in tensors[id].sources { states[source].readerCount += 1 }
        case .copy(let source, _): states[source].readerCount += 1
        }
      }
    }

    mutating func place(_ id: ComputeGraph.ID) {
      let tensor = tensors[id]
      guard !states[id].wasPlaced, tensor.viewed == nil, !tensor.isStored else { return }
      states[id].wasPlaced = true
      if tensor.mayReplace, let source = tensor.sources.first(where: { canReplace($0, by: id) }) {
        states[id].offset = states[source].offset
        states[source].offset = nil
        return
      }
      states[id].offset = allocators[tensor.device].allocate(tensor.byteCount)
    }

    /// A place is taken over whole, and never through a view.
    private func canReplace(_ source: ComputeGraph.ID, by id: ComputeGraph.ID) -> Bool {
      let owner = tensors[source]
      return owner.viewed == nil && owner.layout != nil && owner.layout == tensors[id].layout
        && owner.device == tensors[id].device && states[source].offset != nil && !owner.isOutput
        && states[source].readerCount == 1 && states[source].viewCount == 0
    }

    mutating func release(_ id: ComputeGraph.ID) {
      states[id].readerCount -= 1
      guard states[id].readerCount == 0, states[id].viewCount == 0 else { return }
      guard let viewed = tensors[id].viewed else { return giveBack(id) }
      states[viewed].viewCount -= 1
      if states[viewed].viewCount == 0, states[viewed].readerCount == 0 { giveBack(viewed) }
    }

    private mutating func giveBack(_ id: ComputeGraph.ID) {
      guard let offset = states[id].offset, !tensors[id].isOutput else { return }
      allocators[tensors[id].device].free(offset, byteCount: tensors[id].byteCount)
      states[id].offset = nil
    }
  }
}
