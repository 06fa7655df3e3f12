import Tensors

/// What a run of llama.cpp takes of every device's memory.
///
///     weights   tensors of the archive that lie there
///     cache     keys and values of the layers that lie there
///     compute   intermediate results, reserved for the largest micro-batch
///     reserve   what the driver and its libraries take besides
package struct MemoryEstimate: Sendable, Hashable {
  package struct Device: Sendable, Hashable {
    package var weights = 0
    package var cache = 0
    package var compute = 0
    package var reserve = 0

    package var total: Int { weights + cache + compute + reserve }
  }

  /// One for each accelerator.
  package var accelerators: [Device]
  /// The processor's own memory: the embedding, inputs, and logits on their way out.
  package var host: Device

  /// What llama.cpp's own placement keeps free of every device by default.
  package static let defaultReserve = 1 << 30

  package init(
    _ model: MemoryDimensions, tensors: [MemoryTensor], run: MemoryRun, hardware: Hardware,
    reserve: Int = Self.defaultReserve
  ) {
    self.init(
      model, tensors: tensors, run: run,
      placement: hardware.placement(layerCount: model.layers.count), reserve: reserve)
  }

  package init(
    _ model: MemoryDimensions, tensors: [MemoryTensor], run: MemoryRun, placement: DevicePlacement,
    reserve: Int
  ) {
    let count = placement.acceleratorCount
    guard !run.splitsTensors || count < 2 else {
      self = Self.dividedEstimate(
        model, tensors: tensors, run: run, placement: placement, reserve: reserve)
      return
    }
    var devices = Array(repeating: Device(), count: placement.deviceCount)
    placement.addWeights(tensors, to: &devices)
    placement.addCache(KeyValueCache(model, run), run, model, to: &devices)
    let buffers = TransformerGraph(model, run, placement).graph
      .splitOverDevices(copyCount: placement.copyCount)
      .bufferByteCounts(alignments: placement.alignments)
    for (index, byteCount) in buffers.enumerated() { devices[index].compute += byteCount }
    // Logits of one token of each sequence wait here for the program.
    devices[placement.host].compute += boundedProduct(run.parallel, model.vocabulary, 4)
    for index in devices.indices where placement.acceleratorCount == 0 || index < placement.host {
      devices[index].reserve = reserve
    }
    host = devices.removeLast()
    accelerators = devices
  }

  /// The same part on every device.
  private static func dividedEstimate(
    _ model: MemoryDimensions, tensors: [MemoryTensor], run: MemoryRun, placement: DevicePlacement,
    reserve: Int
  ) -> MemoryEstimate {
    let count = placement.acceleratorCount
    let single = placement.single(layerCount: model.layers.count)
    var run = run
    run.splitsTensors = false
    var estimate = MemoryEstimate(
      model, tensors: tensors.map { TensorSplit.part($0, of: count) }, run: run, placement: single,
      reserve: reserve)
    let whole = MemoryEstimate(model, tensors: tensors, run: run, placement: single, reserve: 0)
    var devices = [Device](repeating: Device(), count: single.deviceCount)
    let part = TensorSplit.part(model, of: count)
    single.addCache(KeyValueCache(part, run), run, part, to: &devices)
    estimate.accelerators[0].cache = devices[0].cache
    estimate.host.weights = whole.host.weights
    estimate.accelerators = Array(repeating: estimate.accelerators[0], count: count)
    return estimate
  }

  /// The devices whose memory is limited: accelerators, or the host without any.
  package var limited: [Device] { accelerators.isEmpty ? [host] : accelerators }

  /// Of all limited devices together.
  package var total: Device {
    limited.reduce(into: Device()) {
      $0.weights += $1.weights
      $0.cache += $1.cache
      $0.compute += $1.compute
      $0.reserve += $1.reserve
    }
  }

  /// Whether every device has room for its part.
  package func fits(_ hardware: Hardware) -> Bool {
    limited.allSatisfy { $0.total <= hardware.deviceByteCount }
  }
}

extension DevicePlacement {
  /// Devices that hold a tensor; several for what every layer needs.
  func devices(of tensor: MemoryTensor, hasOutput: Bool) -> [Int] {
    guard acceleratorCount > 0 else { return [host] }
    if let layer = tensor.layer { return [device(ofLayer: layer)] }
    switch tensor.name {
    case "token_embd.weight":
      // Rows of it are looked up by the processor; as output matrix it lies with the last layer too.
      return hasOutput ? [host] : [host, output]
    case let name where name.hasPrefix("output"): return [output]
    case let name where name.hasPrefix("rope_"): return devicesWithLayers
    default: return [host]
    }
  }

  /// Bytes that a tensor takes of a device.
  func paddedByteCount(_ byteCount: Int, _ type: TensorType, columns: Int, on device: Int) -> Int {
    var needed = byteCount
    if device < host, type.isBlockType, columns % rowPadding != 0 {
      let missing = padded(rowPadding - columns % rowPadding, to: type.weightsPerBlock)
      needed += missing / type.weightsPerBlock * type.bytesPerBlock
    }
    return padded(needed, to: alignments[device])
  }

  fileprivate func addWeights(_ tensors: [MemoryTensor], to devices: inout [MemoryEstimate.Device])
  {
    let hasOutput = tensors.contains { $0.name == "output.weight" }
    for tensor in tensors {
      for device in self.devices(of: tensor, hasOutput: hasOutput) {
        devices[device].weights += paddedByteCount(
          tensor.byteCount, tensor.type, columns: tensor.shape.columnCount, on: device)
      }
    }
  }

  fileprivate func addCache(
    _ cache: KeyValueCache, _ run: MemoryRun, _ model: MemoryDimensions,
    to devices: inout [MemoryEstimate.Device]
  ) {
    for (index, layer) in model.layers.enumerated() {
      let device = device(ofLayer: index)
      devices[device].cache +=
        paddedByteCount(
          cache.keyByteCounts[index], run.keyType, columns: model.keyWidth(layer), on: device)
        + paddedByteCount(
          cache.valueByteCounts[index], run.valueType, columns: model.valueWidth(layer), on: device)
    }
  }
}
