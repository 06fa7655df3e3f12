import Tensors

/// Which device holds and computes what.
package struct DevicePlacement: Sendable, Hashable {
  /// Accelerators; without one the host computes everything.
  package var acceleratorCount: Int
  /// First layer of every accelerator; the output matrix counts as one more layer.
  private let layerDevices: [Int]

  /// Layers in one run for each accelerator, as even as whole layers allow.
  ///
  /// - Parameters:
  ///   - layerCount: layers of the model, without the output's.
  ///   - acceleratorCount: 0 where the processor does everything.
  ///   - shares: parts of the model for each accelerator, in any unit; even without.
  package init(layerCount: Int, acceleratorCount: Int, shares: [Double]? = nil) {
    self.acceleratorCount = acceleratorCount
    let shares = shares ?? Array(repeating: 1, count: acceleratorCount)
    var ends: [Float] = []
    for share in shares { ends.append((ends.last ?? 0) + Float(share)) }
    let sum = ends.last ?? 1
    ends = ends.map { $0 / sum }
    layerDevices = (0...layerCount).map { layer in
      let depth = Float(layer) / Float(layerCount + 1)
      return ends.firstIndex { depth < $0 } ?? max(0, acceleratorCount - 1)
    }
  }

  /// The same with one accelerator.
  func single(layerCount: Int) -> DevicePlacement {
    var single = DevicePlacement(layerCount: layerCount, acceleratorCount: 1)
    single.acceleratorAlignment = acceleratorAlignment
    single.rowPadding = rowPadding
    single.unpacksCache = unpacksCache
    return single
  }

  /// Index of the host: behind all accelerators.
  package var host: Int { acceleratorCount }
  package var deviceCount: Int { acceleratorCount + 1 }

  package func device(ofLayer layer: Int) -> Int {
    acceleratorCount == 0 ? host : layerDevices[min(layer, layerDevices.count - 1)]
  }

  /// Device of the output norm and matrix.
  package var output: Int { device(ofLayer: layerDevices.count - 1) }

  /// Accelerators that have any layer, without the output's.
  var devicesWithLayers: [Int] {
    Array(Set(layerDevices.dropLast())).sorted()
  }

  /// Bytes to whose multiples buffers of each device are padded.
  package var alignments: [Int] {
    Array(repeating: acceleratorAlignment, count: acceleratorCount) + [Self.hostAlignment]
  }

  static let hostAlignment = 32
  /// Of CUDA.
  package var acceleratorAlignment = 128
  /// Rows of quantized matrices on an accelerator are padded to so many weights.
  package var rowPadding = 512
  /// Whether flash attention on an accelerator reads keys and values as F16 only.
  package var unpacksCache = true
  /// Whether several accelerators work on several micro-batches at a time.
  package var isPipelined = true

  /// Generations of inputs that each device holds.
  var copyCount: Int { acceleratorCount > 1 && isPipelined ? 4 : 1 }

  /// Bytes that flash attention takes beside its result: a layer's keys and values as F16.
  func flashAttentionByteCount(
    _ model: MemoryDimensions, _ layer: MemoryDimensions.Layer, _ run: MemoryRun, _ cells: Int
  ) -> Int {
    guard acceleratorCount > 0, unpacksCache else { return 0 }
    let cellCount = boundedProduct(cells, run.streamCount)
    var byteCount = 0
    for (type, width) in [
      (run.keyType, model.keyWidth(layer)), (run.valueType, model.valueWidth(layer)),
    ] where type != .f16 {
      byteCount += padded(boundedProduct(cellCount, width, 2), to: 128)
    }
    return byteCount
  }
}
