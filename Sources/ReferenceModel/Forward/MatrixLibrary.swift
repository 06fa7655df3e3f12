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
/// buffers and starts threads, and retries for ever where address space is limited, which is nothing
/// that a conversion should pay for. It gets one thread; the threads are ours.
package struct MatrixLibrary: Sendable {
  /// `cblas_sgemm`: order, two transpositions, rows, columns, inner length, alpha, a, b, beta, c,
  /// each matrix with its leading dimension.
  private typealias SGEMM =
    @convention(c) (
      Int32, Int32, Int32, Int32, Int32, Int32, Float, UnsafePointer<Float>, Int32,
      UnsafePointer<Float>, Int32, Float, UnsafeMutablePointer<Float>, Int32
    ) -> Void

  /// Resident bytes that the library itself takes per calling thread: its packed panels.
  package static let workspaceByteCountPerThread = 8 << 20

  #if canImport(Accelerate)
    /// Accelerate starts threads of its own.
    static let ownsThreads = true
    /// Always there.
    package static let shared: Result<MatrixLibrary, MatrixLibraryError> = .success(.init())
  #else
    static let ownsThreads = false
    private let sgemm: SGEMM

    /// Loaded once; a failure stays.
    package static let shared = Result { () throws(MatrixLibraryError) in try MatrixLibrary() }

    private static let names = ["libopenblas.so.0", "libopenblas.so"]

    private init() throws(MatrixLibraryError) {
      // Read when the library starts; what the user set concerns programs that leave it the threads.
      setenv("OPENBLAS_NUM_THREADS", "1", 1)
      setenv("OMP_NUM_THREADS", "1", 0)
      guard
        let library = Self.names.lazy.compactMap({ dlopen($0, RTLD_NOW | RTLD_LOCAL) }).first
      else { throw MatrixLibraryError(reason: "OpenBLAS is not installed") }
      guard let sgemm = dlsym(library, "cblas_sgemm"),
        let setThreadCount = dlsym(library, "openblas_set_num_threads")
      else { throw MatrixLibraryError(reason: "OpenBLAS lacks cblas_sgemm") }
      typealias SetThreadCount = @convention(c) (Int32) -> Void
      unsafeBitCast(setThreadCount, to: SetThreadCount.self)(1)
      self.sgemm = unsafeBitCast(sgemm, to: SGEMM.self)
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

  /// `c[i, j] = Σₖ a[i, k] · b[k, j]`.
  func multiply(_ a: MatrixView, _ b: MatrixView, into c: MatrixView) {
    precondition(a.columnCount == b.rowCount)
    precondition(c.rowCount == a.rowCount && c.columnCount == b.columnCount)
    call(a, b, Self.plain, c, innerLength: a.columnCount, scale: 1, beta: 0)
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
      sgemm(
        Self.rowMajor, Self.plain, transposition, Int32(c.rowCount), Int32(c.columnCount),
        Int32(innerLength), scale, a.start, Int32(a.stride), b.start, Int32(b.stride), beta,
        c.start, Int32(c.stride))
    #endif
  }
}

/// The system has no library for matrix products.
package struct MatrixLibraryError: Error, Hashable, CustomStringConvertible {
  package var reason: String

  package var description: String {
    "\(reason), which forward passes need: install it (Debian, Ubuntu: apt-get install libopenblas0)"
  }
}
