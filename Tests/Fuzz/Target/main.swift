import CFuzzer
import FuzzedReaders
import TestSupport

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// One reader under libFuzzer: `INGOT_FUZZ_READER=pickle fuzz-readers [libFuzzer's options]`.
///
/// `INGOT_FUZZ_FOLDER` is where the readers find their files; a folder in memory is fastest.
enum Session {
  static let reader: FuzzedReader = {
    let name = getenv("INGOT_FUZZ_READER").map { String(cString: $0) } ?? ""
    guard let reader = FuzzedReader(rawValue: name) else {
      let names = FuzzedReader.allCases.map(\.rawValue).joined(separator: " ")
      print("INGOT_FUZZ_READER is one of: \(names)")
      exit(64)
    }
    return reader
  }()
  static let bench = FuzzBench(
    in: getenv("INGOT_FUZZ_FOLDER").map { String(cString: $0) } ?? "/tmp")
}

_ = Session.reader
var count = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
exit(
  LLVMFuzzerRunDriver(&count, &arguments) { data, byteCount in
    let bytes = Array(UnsafeBufferPointer(start: data, count: byteCount))
    // Whatever is refused is refused properly; whatever is not must not trap.
    _ = try? Session.reader.read(bytes, Session.bench)
    return 0
  })
