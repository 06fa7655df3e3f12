import ArgumentParser
import Ingot
import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Standard error and what is known about it.
enum Terminal {
  static var isInteractive: Bool { isatty(STDERR_FILENO) == 1 }

  private static var usesColour: Bool {
    isInteractive && getenv("NO_COLOR") == nil
  }

  /// Whether results on standard output may be coloured.
  static var coloursOutput: Bool { isatty(STDOUT_FILENO) == 1 && getenv("NO_COLOR") == nil }

  /// Columns of the terminal that standard output is; 100 where it is none.
  static var outputWidth: Int {
    var size = winsize()
    guard isatty(STDOUT_FILENO) == 1, ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 else {
      return 100
    }
    return max(40, Int(size.ws_col))
  }

  /// Writes to standard error; a closed pipe is nobody's problem there.
  static func write(_ text: String) {
    _ = try? FileDescriptor.standardError.writeAll(Array(text.utf8))
  }

  /// Writes a result to standard output.
  ///
  /// - Throws: when it cannot be written: a result that nobody got is no success. A reader that
  ///   closed its pipe, as `head` does, has what it wanted and gets no message.
  static func print(_ text: String) throws {
    do {
      try FileDescriptor.standardOutput.writeAll(Array((text + "\n").utf8))
    } catch Errno.brokenPipe {
      throw ExitCode(ExitStatus.inputOutput.rawValue)
    } catch {
      throw OutputError(path: "standard output", step: .write, reason: "\(error)")
    }
  }

  /// Reads standard input to its end.
  ///
  /// - Throws: `FormatError` when it has more than `limit` bytes or cannot be read.
  static func readInput(limit: UInt64) throws -> [UInt8] {
    let name = "standard input"
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count: Int
      do {
        count = try buffer.withUnsafeMutableBytes {
          try FileDescriptor.standardInput.read(into: $0, retryOnInterrupt: true)
        }
      } catch {
        let number = (error as? Errno)?.rawValue ?? EIO
        throw FormatError(
          file: name, field: "text", reason: .readFailed(errno: number, description: "\(error)"))
      }
      if count == 0 { return bytes }
      bytes += buffer[..<count]
      guard bytes.count <= limit else {
        throw FormatError(
          file: name, field: "text",
          reason: .outOfRange(
            found: "more than \(limit) bytes", allowed: "at most \(limit) bytes"))
      }
    }
  }

  /// Occupies the numbers of closed standard streams, and makes a closed pipe a write error.
  ///
  /// Without this the first file that is opened would get the number of a closed stream, and
  /// messages would be written into the archive.
  static func secureStandardStreams() {
    for (stream, mode) in [
      (FileDescriptor.standardInput, FileDescriptor.AccessMode.readOnly),
      // Read-only, so that a result written to a closed output still fails.
      (.standardOutput, .readOnly), (.standardError, .writeOnly),
    ] where fcntl(stream.rawValue, F_GETFD) < 0 {
      // The lowest free number is this one: those below are open.
      _ = try? FileDescriptor.open("/dev/null", mode)
    }
    signal(SIGPIPE, SIG_IGN)
  }

  static func error(_ message: String) { labelled("error", "31", message) }
  static func warning(_ message: String) { labelled("warning", "33", message) }
  static func note(_ message: String) { labelled("note", "36", message) }

  private static func labelled(_ label: String, _ colour: String, _ message: String) {
    // Names from files are in messages: one line, and nothing that a terminal obeys.
    let text = printable(message, limit: 4000)
    write(usesColour ? "\u{1B}[\(colour);1m\(label):\u{1B}[0m \(text)\n" : "\(label): \(text)\n")
  }
}

/// Raised by Ctrl-C and by `kill`; a conversion looks at it between chunks.
let interruption = CancellationFlag()

/// Lets a conversion end cleanly on a signal and a full disk be an ordinary write error.
///
/// A signal that the caller had ignored stays ignored: that is what `nohup` is for.
func catchSignals() {
  _ = interruption  // initialised here, not inside a handler
  for number in [SIGINT, SIGTERM, SIGHUP] {
    let previous = signal(number) { _ in interruption.cancel() }
    if unsafeBitCast(previous, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self) {
      signal(number, SIG_IGN)
    }
  }
  // This becomes an error of the write that caused it.
  signal(SIGXFSZ, SIG_IGN)
}
