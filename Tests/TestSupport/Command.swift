import ByteIO

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A finished run of a program.
package struct CommandResult: Sendable {
  /// Exit status, or 128 plus the number of the signal that ended it.
  package var status: Int32
  package var output: String
  package var error: String
  /// Of all its threads.
  package var processorSeconds = 0.0
}

package enum Command {
  /// The built `ingot`, which lies beside the test bundle.
  package static let ingot: String = {
    var folder = CommandLine.arguments[0].split(separator: "/").dropLast()
    while !folder.isEmpty {
      let path = "/" + folder.joined(separator: "/") + "/ingot"
      if access(path, X_OK) == 0 { return path }
      folder = folder.dropLast()
    }
    return Fixtures.root + "/.build/release/ingot"
  }()

  /// Runs `ingot` with `arguments` and waits for it.
  package static func ingot(_ arguments: String...) -> CommandResult {
    run([ingot] + arguments)
  }

  /// Runs a program found by its path and waits for it.
  package static func run(_ arguments: [String]) -> CommandResult {
    run(arguments, at: nil) { _ in }
  }

  /// Runs `ingot` with so much address space and no more.
  ///
  /// In a build with a sanitizer, which takes terabytes of it, without that limit.
  package static func ingot(addressSpace mebibytes: Int, _ arguments: [String]) -> CommandResult {
    guard !isWatched else { return run([ingot] + arguments) }
    return run(
      ["/bin/sh", "-c", "ulimit -v \(mebibytes * 1024); exec \"$0\" \"$@\"", ingot] + arguments)
  }

  /// Whether a sanitizer with a shadow of all memory watches this process, which
  /// `Tests/Release/sanitize.sh` says.
  package static var isWatched: Bool {
    getenv("INGOT_SANITIZER").map { ["address", "thread"].contains(String(cString: $0)) } ?? false
  }

  /// Runs a program and sends it a signal when it has run for a while.
  package static func run(
    _ arguments: [String], signalAfter: (signal: Int32, microseconds: UInt32)
  ) -> CommandResult {
    let start = ContinuousClock.now
    let delay = Duration.microseconds(Int64(signalAfter.microseconds))
    return run(arguments, at: { ContinuousClock.now - start >= delay }) {
      kill($0, signalAfter.signal)
    }
  }

  /// Runs a program, and does something once, at the first moment when `moment` is true.
  ///
  /// The program stands still meanwhile, so that how fast machine and disk are does not matter.
  /// Its streams go through files: no amount of output blocks it.
  package static func run(
    _ arguments: [String], at moment: (() -> Bool)?, _ disturb: (pid_t) -> Void
  ) -> CommandResult {
    let folder = TemporaryFolder()
    var actions = FileActions()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    let flags = O_WRONLY | O_CREAT
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, folder.file("out"), flags, 0o600)
    posix_spawn_file_actions_addopen(&actions, 2, folder.file("err"), flags, 0o600)
    // The threads that tests run on block signals, and a program inherits what is blocked.
    var attributes = SpawnAttributes()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var nothing = sigset_t()
    sigemptyset(&nothing)
    posix_spawnattr_setsigmask(&attributes, &nothing)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    var words = arguments.map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var process = pid_t()
    let status = posix_spawn(&process, arguments[0], &actions, &attributes, &words, environ)
    guard status == 0 else {
      return CommandResult(status: -1, output: "", error: "posix_spawn: \(status)")
    }
    var wait: Int32 = 0
    var usage = rusage()
    var isRunning = true
    if let moment {
      while isRunning, !moment() {
        usleep(200)
        isRunning = wait4(process, &wait, WNOHANG, &usage) == 0
      }
      if isRunning {
        kill(process, SIGSTOP)
        wait4(process, &wait, WUNTRACED, &usage)
        isRunning = wait & 0xFF == 0x7F
      }
      if isRunning {
        disturb(process)
        kill(process, SIGCONT)
      }
    }
    if isRunning { while wait4(process, &wait, 0, &usage) < 0, errno == EINTR {} }
    let ended = wait & 0x7F == 0 ? (wait >> 8) & 0xFF : 128 + (wait & 0x7F)
    return CommandResult(
      status: ended, output: text(folder.file("out")), error: text(folder.file("err")),
      processorSeconds: usage.processorSeconds)
  }

  private static func text(_ path: String) -> String {
    let bytes = (try? PositionalFile.readAll(path, limit: 64 << 20)) ?? []
    return String(decoding: bytes, as: UTF8.self)
  }
}

#if canImport(Darwin)
  private typealias FileActions = posix_spawn_file_actions_t?
  private typealias SpawnAttributes = posix_spawnattr_t?
#else
  private typealias FileActions = posix_spawn_file_actions_t
  private typealias SpawnAttributes = posix_spawnattr_t
#endif
