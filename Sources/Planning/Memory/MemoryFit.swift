import Tensors

/// The two questions the other way round: which context, and how many bytes of weights, still fit.
package struct MemoryFit: Sendable {
  package let model: MemoryDimensions
  package let hardware: Hardware
  package let reserve: Int

  package init(
    _ model: MemoryDimensions, hardware: Hardware, reserve: Int = MemoryEstimate.defaultReserve
  ) {
    self.model = model
    self.hardware = hardware
    self.reserve = reserve
  }

  package func estimate(_ tensors: [MemoryTensor], _ run: MemoryRun) -> MemoryEstimate {
    MemoryEstimate(model, tensors: tensors, run: run, hardware: hardware, reserve: reserve)
  }

  /// The largest context of every sequence with which everything fits, in steps of 256 tokens.
  ///
  /// - Parameters:
  ///   - tensors: of the archive.
  ///   - run: everything but the context.
  ///   - limit: largest context that is wanted; the model's own without one.
  /// - Returns: `nil` when not even 256 tokens fit.
  package func largestContext(
    _ tensors: [MemoryTensor], _ run: MemoryRun, limit: Int? = nil
  ) -> Int? {
    let step = 256
    let most = min(
      limit ?? model.trainedContext ?? MemoryRun.contextLimit,
      MemoryRun.contextLimit / max(1, run.parallel))
    func fits(_ context: Int) -> Bool {
      var run = run
      run.context = context
      return estimate(tensors, run).fits(hardware)
    }
    if most >= 1, fits(most) { return most }
    var (fitting, failing) = (0, (most + step - 1) / step)
    while failing - fitting > 1 {
      let middle = (fitting + failing) / 2
      if fits(middle * step) { fitting = middle } else { failing = middle }
    }
    return fitting == 0 ? nil : fitting * step
  }

  /// Fewest devices of this kind that hold everything, each with its part of the layers.
  ///
  /// - Returns: `nil` when not even the most that llama.cpp takes do.
  package func deviceCount(_ tensors: [MemoryTensor], _ run: MemoryRun) -> Int? {
    (1...hardware.deviceLimit).first { count in
      var hardware = hardware
      hardware.deviceCount = count
      return MemoryFit(model, hardware: hardware, reserve: reserve)
        .estimate(tensors, run).fits(hardware)
    }
  }

  /// Bytes of every limited device that are left for weights.
  ///
  /// Negative where context and buffers alone are too much.
  package func room(_ run: MemoryRun) -> [Int] {
    estimate([], run).limited.map { hardware.deviceByteCount - $0.total }
  }

  /// Most bytes that tensors on limited devices may have together, by the shares they have now.
  ///
  /// Padding between tensors is taken off. Exact on one device; on several the types that are chosen
  /// may shift the shares, so the result has to be checked with `estimate` again.
  ///
  /// - Parameters:
  ///   - tensors: in any types, for example all in the smallest that is allowed.
  ///   - run: with its context.
  /// - Returns: 0 where nothing is left.
  package func weightLimit(_ tensors: [MemoryTensor], _ run: MemoryRun) -> Int {
    let counted = limited(tensors)
    let total = counted.reduce(0) { $0 + $1.byteCount }
    guard total > 0 else { return 0 }
    let spare = estimate(tensors, run).limited.compactMap { device -> Double? in
      // Other types may need other padding.
      let room = hardware.deviceByteCount - device.total - counted.count * Self.paddingLimit
      return device.weights == 0 ? nil : Double(room) * (Double(total) / Double(device.weights))
    }
    // Memory of any size may be named.
    let extra = Int(max(-1e18, min(1e18, (spare.min() ?? 0).rounded(.down))))
    return max(0, total + extra)
  }

  /// Most bytes by which the padding of a tensor differs between types: to 128 bytes, and a row to
  /// 512 weights of 34 bytes for 32.
  private static let paddingLimit = 128 + 512 / 32 * 34

  /// Tensors whose bytes count; those that only the processor needs do not, where there are
  /// accelerators.
  package func limited(_ tensors: [MemoryTensor]) -> [MemoryTensor] {
    let placement = hardware.placement(layerCount: model.layers.count)
    guard placement.acceleratorCount > 0 else { return tensors }
    let hasOutput = tensors.contains { $0.name == "output.weight" }
    return tensors.filter {
      placement.devices(of: $0, hasOutput: hasOutput).contains { $0 != placement.host }
    }
  }
}
