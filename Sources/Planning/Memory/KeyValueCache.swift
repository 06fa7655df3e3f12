import Tensors

/// Bytes of the cache of keys and values, by layer.
///
/// Each layer has one tensor of keys and one of values, `width × cells × streams`. Layers that see
/// only a chunk have fewer cells.
package struct KeyValueCache: Sendable, Hashable {
  package var keyByteCounts: [Int]
  package var valueByteCounts: [Int]

  package init(_ model: MemoryDimensions, _ run: MemoryRun) {
    func byteCounts(_ type: TensorType, _ width: (MemoryDimensions.Layer) -> Int) -> [Int] {
      model.layers.map { layer in
        let cells = layer.isChunked ? run.cellCount(chunk: model.chunk) : run.cellCount
        // A row of quantized numbers has whole blocks; llama.cpp refuses other widths.
        let row = padded(width(layer), to: type.weightsPerBlock)
        let bytesPerRow = row / type.weightsPerBlock * type.bytesPerBlock
        return boundedProduct(bytesPerRow, cells, run.streamCount)
      }
    }
    keyByteCounts = byteCounts(run.keyType, model.keyWidth)
    valueByteCounts = byteCounts(run.valueType, model.valueWidth)
  }

  /// Bytes of all layers, without padding between tensors.
  package var byteCount: Int {
    keyByteCounts.reduce(0, +) + valueByteCounts.reduce(0, +)
  }
}
