import Tensors

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The quantizers of ggml, from a library that is loaded at run time.
struct GGMLReference {
  /// `ggml_quantize_chunk`: type, rows, blocks, first weight, row count, column count, importance.
  private typealias QuantizeChunk =
    @convention(c) (
      Int32, UnsafePointer<Float>, UnsafeMutableRawPointer, Int64, Int64, Int64,
      UnsafePointer<Float>?
    ) -> Int
  /// `to_float`: blocks, weights, weight count.
  private typealias ToFloat =
    @convention(c) (UnsafeRawPointer, UnsafeMutablePointer<Float>, Int64) -> Void
  /// `ggml_get_type_traits`: a type's number to its row of ggml's table.
  private typealias TypeTraits = @convention(c) (Int32) -> UnsafeRawPointer?

  /// In that row, on 64-bit machines: name, block size, interleaved size, bytes (8 bytes each), one
  /// flag padded to 8, then the function.
  private static let offsetOfToFloat = 40

  let name: String
  private let quantizeChunk: QuantizeChunk
  private let typeTraits: TypeTraits

  /// Loads a library, which stays loaded.
  ///
  /// - Parameters:
  ///   - path: of `libggml-base`.
  ///   - name: heads its column.
  /// - Throws: `ReferenceError` when it is no such library.
  init(path: String, name: String) throws(ReferenceError) {
    self.name = name
    let file = path.contains("/") ? path : "./" + path
    guard let library = dlopen(file, RTLD_NOW | RTLD_LOCAL) else {
      throw ReferenceError(description: "\(path) cannot be loaded; build ggml's shared libraries")
    }
    guard let chunk = dlsym(library, "ggml_quantize_chunk"),
      let traits = dlsym(library, "ggml_get_type_traits")
    else {
      throw ReferenceError(description: "\(path) has no quantizers; name its libggml-base")
    }
    quantizeChunk = unsafeBitCast(chunk, to: QuantizeChunk.self)
    typeTraits = unsafeBitCast(traits, to: TypeTraits.self)
  }

  /// The library at one task; `nil` when it lacks the type.
  func contender(
    _ type: TensorType, _ task: KernelTask, _ workload: Workload, _ blocks: [UInt8]
  ) -> Contender? {
    guard let number = type.ggmlID.map(Int32.init), let traits = typeTraits(number) else {
      return nil
    }
    if task == .dequantize {
      guard
        let function = traits.load(
          fromByteOffset: Self.offsetOfToFloat, as: UnsafeRawPointer?.self)
      else { return nil }
      let toFloat = unsafeBitCast(function, to: ToFloat.self)
      return Contender(name: name, outputByteCount: workload.weightCount * 4) { output in
        blocks.withUnsafeBytes { source in
          if let source = source.baseAddress {
            toFloat(
              source, output.assumingMemoryBound(to: Float.self), Int64(workload.weightCount))
          }
        }
      }
    }
    let importance = task == .quantizeWithImportance ? workload.importance : nil
    return Contender(name: name, outputByteCount: blocks.count) { output in
      workload.weights.withUnsafeBufferPointer { rows in
        withOptionalPointer(importance) { importance in
          if let rows = rows.baseAddress {
            _ = quantizeChunk(
              number, rows, output, 0, Int64(workload.rowCount), Int64(workload.columnCount),
              importance)
          }
        }
      }
    }
  }
}

/// A library that is no reference.
struct ReferenceError: Error, CustomStringConvertible {
  var description: String
}
