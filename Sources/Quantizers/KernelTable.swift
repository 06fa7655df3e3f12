import Tensors
package struct KernelTable: Sendable {
  package func canDequantize(_ type: TensorType) -> Bool { true }
  package func quantize(
    _ type: TensorType, rows: UnsafePointer<Float>, rowCount: Int, columnCount: Int,
    importance: UnsafePointer<Float>?, into: UnsafeMutableRawPointer
  ) {}
  package func dequantize(
    _ type: TensorType, blocks: UnsafeRawPointer, weightCount: Int,
    into: UnsafeMutablePointer<Float>
  ) {}
  package func firstNonFinite(_ values: UnsafePointer<Float>, count: Int) -> Int? { nil }
  package func firstInvalidBlock(_ type: TensorType, blocks: UnsafeRawPointer, blockCount: Int)
    -> Int?
  { nil }
}
