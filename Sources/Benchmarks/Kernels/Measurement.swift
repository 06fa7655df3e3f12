#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Something that does the task once, writing to memory of its own.
final class Contender {
  let name: String
  private let output: UnsafeMutableRawBufferPointer
  private let body: (UnsafeMutableRawPointer) -> Void

  init(name: String, outputByteCount: Int, body: @escaping (UnsafeMutableRawPointer) -> Void) {
    self.name = name
    self.body = body
    output = .allocate(byteCount: outputByteCount + 1, alignment: 64)
  }

  deinit { output.deallocate() }

  func run() {
    if let base = output.baseAddress { body(base) }
  }
}

/// CPU time of this thread so far, in seconds.
///
/// Not wall time: while another process has the processor, a kernel is not slower.
private func threadSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// Measures contenders in rounds in which all take turns.
///
/// - Parameters:
///   - contenders: each does the whole task in one run.
///   - weightCount: of the task.
///   - rounds: at least 1.
///   - sampleSeconds: a round repeats a contender for about this time.
/// - Returns: million weights per second of each contender in its median round.
func measureInTurn(
  _ contenders: [Contender], weightCount: Int, rounds: Int, sampleSeconds: Double = 0.02
) -> [Double] {
  let repetitions = contenders.map { contender in
    contender.run()
    let start = threadSeconds()
    contender.run()
    return max(1, Int(sampleSeconds / max(threadSeconds() - start, 1e-7)))
  }
  var seconds = [[Double]](repeating: [], count: contenders.count)
  for _ in 0..<rounds {
    for (index, contender) in contenders.enumerated() {
      let start = threadSeconds()
      for _ in 0..<repetitions[index] { contender.run() }
      seconds[index].append((threadSeconds() - start) / Double(repetitions[index]))
    }
  }
  return seconds.map { Double(weightCount) / $0.sorted()[rounds / 2] * 1e-6 }
}
