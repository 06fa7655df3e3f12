import ByteIO
import Quantizers
import Tensors
import Threads
package enum LayerWeight: String, Hashable, Sendable, CaseIterable { case attentionNorm, query, key, value, attentionOutput, queryBias, keyBias, valueBias, attentionOutputBias, feedForwardNorm, gate, up, down, gateBias, upBias, downBias }
package enum WeightRole: Hashable, Sendable, CustomStringConvertible { case tokenEmbedding, outputNorm, output, layer(Int, LayerWeight)
 package var description: String { "" } }
package struct ForwardDimensions: Hashable, Sendable { package var layerCount, embeddingLength, feedForwardLength, headCount, headCountKV, headDimension, vocabularySize, contextLength: Int; package var normEpsilon: Float }
package struct RotaryFrequencies: Sendable { package enum Layout: Sendable { case halves, neighbours }
 package var frequencies: [Float]; package var layout: Layout }
package struct ReferenceModel: Sendable {
  package let source: any TensorSource
  package let weights: [WeightRole: TensorDescriptor]
  package let dimensions: ForwardDimensions
  package let rotary: RotaryFrequencies
  package init(checkpoint path: String) throws { fatalError() }
  package init(archive path: String) throws { fatalError() }
  package var outputWeight: TensorDescriptor { fatalError() }
}
package struct ForwardCancelled: Error { package init() {} }
package final class ForwardScratch {
  package static func byteCount(_ models: [ReferenceModel], tokenCount: Int, contextLength: Int, threadCount: Int) -> Int { 0 }
  package init(_ models: [ReferenceModel], tokenCount: Int, contextLength: Int, threadCount: Int) {}
}
package final class ForwardPass {
  package static func byteCount(_ model: ReferenceModel, tokenCount: Int) -> Int { 0 }
  package init(_ model: ReferenceModel, scratch: ForwardScratch, kernels: KernelTable, cancellation: CancellationFlag) {}
  package func embed(_ tokens: [Int32]) throws {}
  package func runLayer(_ layer: Int) throws {}
  package var hidden: UnsafeBufferPointer<Float> { fatalError() }
  package func beginOutput(positions: [Int]) throws {}
  package func logits(ofVocabulary rows: Range<Int>, worker: Int, into logits: UnsafeMutablePointer<Float>) throws {}
  package static let outputTileRowCount = 256
}
