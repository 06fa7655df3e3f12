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

  /// Writes to standard error; a closed pipe is nobody's problem there.
  static func write(_ text: String) {
    _ = try? FileDescriptor.standardError.writeAll(Array(text.utf8))
  }

  static func error(_ message: String) { labelled("error", "31", message) }
  static func warning(_ message: String) { labelled("warning", "33", message) }
  static func note(_ message: String) { labelled("note", "36", message) }

  private static func labelled(_ label: String, _ colour: String, _ message: String) {
    write(
      usesColour ? "\u{1B}[\(colour);1m\(label):\u{1B}[0m \(message)\n" : "\(label): \(message)\n")
  }
}

/// Raised by Ctrl-C and by `kill`; a conversion looks at it between chunks.
let interruption = CancellationFlag()

/// Lets a conversion end cleanly on a signal and a closed pipe be an ordinary write error.
func catchSignals() {
  _ = interruption  // initialised here, not inside a handler
  for number in [SIGINT, SIGTERM, SIGHUP] {
    signal(number) { _ in interruption.cancel() }
  }
  // These become errors of the write that caused them.
  signal(SIGPIPE, SIG_IGN)
  signal(SIGXFSZ, SIG_IGN)
}
