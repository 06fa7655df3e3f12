#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The same matrix products by OpenBLAS alone, with its own threads.
final class PlainProducts {
  private typealias SGEMM =
    @convention(c) (
      Int32, Int32, Int32, Int32, Int32, Int32, Float, UnsafePointer<Float>, Int32,
      UnsafePointer<Float>, Int32, Float, UnsafeMutablePointer<Float>, Int32
    ) -> Void
  private typealias SetThreadCount = @convention(c) (Int32) -> Void

  private let sgemm: SGEMM
  private let setThreadCount: SetThreadCount
  private let products: [(rows: Int, columns: Int)]
  private let tokenCount: Int
  private let threadCount: Int
  private var inputs: [Float]
  private var weights: [Float]
  private var outputs: [Float]

  init(_ products: [(rows: Int, columns: Int)], tokenCount: Int, threadCount: Int) throws {
    let library = dlopen("libopenblas.so.0", RTLD_NOW)
    guard let sgemm = dlsym(library, "cblas_sgemm"),
      let setThreadCount = dlsym(library, "openblas_set_num_threads")
    else { throw PlainProductsError() }
    self.sgemm = unsafeBitCast(sgemm, to: SGEMM.self)
    self.setThreadCount = unsafeBitCast(setThreadCount, to: SetThreadCount.self)
    self.products = products
    self.tokenCount = tokenCount
    self.threadCount = threadCount
    let widest = products.map(\.columns).max() ?? 1
    let tallest = products.map(\.rows).max() ?? 1
    inputs = (0..<tokenCount * widest).map { Float($0 % 251) / 251 - 0.5 }
    weights = (0..<(products.map { $0.rows * $0.columns }.max() ?? 1)).map {
      Float($0 % 241) / 241 - 0.5
    }
    outputs = [Float](repeating: 0, count: tokenCount * tallest)
  }

  /// All products once; the library is back at one thread afterwards.
  func run() -> Duration {
    setThreadCount(Int32(threadCount))
    defer { setThreadCount(1) }
    let start = ContinuousClock.now
    for (rows, columns) in products {
      sgemm(
        101, 111, 112, Int32(tokenCount), Int32(rows), Int32(columns), 1, inputs, Int32(columns),
        weights, Int32(columns), 0, &outputs, Int32(rows))
    }
    return ContinuousClock.now - start
  }
}

struct PlainProductsError: Error, CustomStringConvertible {
  var description: String { "libopenblas.so.0 is needed: apt-get install libopenblas0" }
}
