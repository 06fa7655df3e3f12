#if canImport(Accelerate)
  import Accelerate
#elseif canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Matrix products of the system's BLAS: OpenBLAS, Accelerate on Apple.
///
/// OpenBLAS is loaded when the first product is wanted and not linked: its start-up allocates
/// buffers and starts threads, and where address space is limited it never returns, which is nothing
/// that a conversion should pay for. It gets one thread; the threads are ours.
package struct MatrixLibrary: Sendable {
  /// Resident bytes that the library takes per calling thread, to be counted beside the buffers.
  ///
  /// Packed panels and its own code: measured 4 MiB in all with 2 threads, 5 MiB with 8.
  package static let workspaceByteCountPerThread = 4 << 20

  #if canImport(Accelerate)
    /// Accelerate starts threads of its own.
    package static let ownsThreads = true
    /// Always there.
    package static let shared: Result<MatrixLibrary, MatrixLibraryError> = .success(.init())
  #else
    package static let ownsThreads = false

    /// `cblas_sgemm`: order, two transpositions, rows, columns, inner length, factor, a, b, factor of
    /// what c holds, c, each matrix with its leading dimension.
    private typealias Multiply =
      @convention(c) (
        Int32, Int32, Int32, Int32, Int32, Int32, Float, UnsafePointer<Float>, Int32,
        UnsafePointer<Float>, Int32, Float, UnsafeMutablePointer<Float>, Int32
      ) -> Void
    private typealias SetThreadCount = @convention(c) (Int32) -> Void
    private typealias ParallelKind = @convention(c) () -> Int32
    private typealias Configuration = @convention(c) () -> UnsafePointer<CChar>?

    private let multiply: Multiply

    /// Loaded once; a failure stays.
    package static let shared = Result { () throws(MatrixLibraryError) in try MatrixLibrary() }

    /// Some distributions call the build with threads `p`, and the plain one has none.
    private static let names = ["libopenblasp.so.0", "libopenblas.so.0", "libopenblas.so"]

    private init() throws(MatrixLibraryError) {
      // Read when the library starts: then it starts no threads. Ours would each get a team of the
      // build that uses OpenMP.
      setenv("OPENBLAS_NUM_THREADS", "1", 1)
      setenv("OMP_NUM_THREADS", "1", 1)
      var problem = "OpenBLAS is not installed"
      for name in Self.names {
        guard let library = dlopen(name, RTLD_NOW | RTLD_LOCAL) else { continue }
        guard let multiply = dlsym(library, "cblas_sgemm"),
          let setThreadCount = dlsym(library, "openblas_set_num_threads"),
          let parallelKind = dlsym(library, "openblas_get_parallel"),
          let configuration = dlsym(library, "openblas_get_config")
        else {
          problem = "\(name) is no OpenBLAS with cblas_sgemm"
          continue
        }
        // Without locks its buffers are for one thread at a time.
        guard unsafeBitCast(parallelKind, to: ParallelKind.self)() != 0 else {
          problem = "\(name) is the build without threads, which several threads may not share"
          continue
        }
        let text = unsafeBitCast(configuration, to: Configuration.self)()
          .map { String(cString: $0) }
        guard let text, text.ranges(of: "USE64BITINT").isEmpty else {
          problem = "\(name) is the build with 64-bit indices"
          continue
        }
        unsafeBitCast(setThreadCount, to: SetThreadCount.self)(1)
        self.multiply = unsafeBitCast(multiply, to: Multiply.self)
        return
      }
      throw MatrixLibraryError(problem: problem)
    }
  #endif

  private static let rowMajor: Int32 = 101
  private static let plain: Int32 = 111
  private static let transposed: Int32 = 112

  /// `c[i, j] = scale · Σₖ a[i, k] · b[j, k]`, added to what `c` holds if `adds`.
  func multiply(
    _ a: MatrixView, transposed b: MatrixView, into c: MatrixView, adds: Bool = false,
    scale: Float = 1
  ) {
    precondition(a.columnCount == b.columnCount)
    precondition(c.rowCount == a.rowCount && c.columnCount == b.rowCount)
    call(a, b, Self.transposed, c, innerLength: a.columnCount, scale: scale, beta: adds ? 1 : 0)
  }

  /// `c[i, j] = Σₖ a[i, k] · b[k, j]`, added to what `c` holds if `adds`.
  func multiply(_ a: MatrixView, _ b: MatrixView, into c: MatrixView, adds: Bool = false) {
    precondition(a.columnCount == b.rowCount)
    precondition(c.rowCount == a.rowCount && c.columnCount == b.columnCount)
    call(a, b, Self.plain, c, innerLength: a.columnCount, scale: 1, beta: adds ? 1 : 0)
  }

  private func call(
    _ a: MatrixView, _ b: MatrixView, _ transposition: Int32, _ c: MatrixView, innerLength: Int,
    scale: Float, beta: Float
  ) {
    if c.rowCount == 0 || c.columnCount == 0 { return }
    #if canImport(Accelerate)
      cblas_sgemm(
        CblasRowMajor, CblasNoTrans, transposition == Self.plain ? CblasNoTrans : CblasTrans,
        Int32(c.rowCount), Int32(c.columnCount), Int32(innerLength), scale, a.start,
        Int32(a.stride), b.start, Int32(b.stride), beta, c.start, Int32(c.stride))
    #else
      multiply(
        Self.rowMajor, Self.plain, transposition, Int32(c.rowCount), Int32(c.columnCount),
        Int32(innerLength), scale, a.start, Int32(a.stride), b.start, Int32(b.stride), beta,
        c.start, Int32(c.stride))
    #endif
  }
}

/// The system has no library for matrix products that forward passes can use.
package struct MatrixLibraryError: Error, Hashable, CustomStringConvertible {
  package var problem: String

  package var description: String {
    "a forward pass needs OpenBLAS, and \(problem); install it "
      + "(Debian, Ubuntu: apt-get install libopenblas0-pthread)"
  }
}
