import ArgumentParser
import Ingot
import Synchronization

/// How a long run tells how far it is.
enum ProgressStyle: String, CaseIterable, ExpressibleByArgument {
  case auto, plain, json, none

  var form: ProgressForm {
    switch self {
    case .auto: Terminal.isInteractive ? .rewritten : .lines
    case .plain: .lines
    case .json: .json
    case .none: .silent
    }
  }
}

/// What a progress style comes down to.
enum ProgressForm {
  case rewritten, lines, json, silent

  /// Time between two reports.
  var interval: Duration {
    switch self {
    case .rewritten: .milliseconds(100)
    case .json: .seconds(1)
    case .lines, .silent: .seconds(5)
    }
  }
}

/// A progress line on standard error: rewritten in place on a terminal, else a line every few seconds.
///
/// Called from any worker; all but one call in many return at once.
final class ProgressLine: Sendable {
  private let form: ProgressForm
  private let start = ContinuousClock.now
  private let state: Mutex<State>
  private struct State {
    var nextReport: ContinuousClock.Instant
    var lastReport: ContinuousClock.Instant
    var lastByteCount: UInt64 = 0
    /// Whether what an earlier run left is being read back, which is faster than the rest.
    var isChecking = true
    var hasBegun = false
    /// Bytes per second of late: tensors differ in cost, so the mean since the start misleads.
    var rate: Double?
  }
  private let interval: Duration

  init(_ style: ProgressStyle) {
    form = style.form
    interval = form.interval
    state = Mutex(State(nextReport: start + interval, lastReport: start))
  }

  func update(_ progress: ConversionProgress) {
    update(
      finished: progress.finishedByteCount, of: progress.totalByteCount,
      isChecking: progress.isChecking)
  }

  func update(_ progress: PackingProgress) {
    update(
      finished: progress.finishedByteCount, of: progress.totalByteCount, isChecking: false)
  }

  private func update(finished: UInt64, of total: UInt64, isChecking: Bool) {
    guard form != .silent else { return }
    let now = ContinuousClock.now
    let interval = interval
    let rate: Double?? = state.withLockIfAvailable { state in
      // Each phase has a rate of its own, from where it begins.
      if state.isChecking != isChecking || !state.hasBegun {
        state = State(
          nextReport: now + interval, lastReport: now, lastByteCount: finished,
          isChecking: isChecking, hasBegun: true)
        return nil
      }
      guard now >= state.nextReport, finished >= state.lastByteCount else {
        return nil
      }
      let bytes = Double(finished - state.lastByteCount)
      let latest = bytes / max((now - state.lastReport) / .seconds(1), 1e-9)
      // Half of the weight on what happened within the last few reports.
      state.rate = state.rate.map { 0.8 * $0 + 0.2 * latest } ?? latest
      state.nextReport = now + interval
      state.lastReport = now
      state.lastByteCount = finished
      return state.rate
    }
    if let rate = rate ?? nil { report(finished, of: total, rate: rate, isChecking: isChecking) }
  }

  /// Clears a rewritten line, so that the result starts on an empty one.
  func finish() {
    if form == .rewritten { Terminal.write("\r\u{1B}[K") }
  }

  private func report(
    _ finished: UInt64, of totalByteCount: UInt64, rate: Double, isChecking: Bool
  ) {
    let done = Double(finished)
    let total = Double(max(1, totalByteCount))
    // Of what nothing was done since the last report, nobody knows when it ends.
    let left = rate > 0 ? (total - done) / rate : nil
    switch form {
    case .json:
      Terminal.write(
        """
        {"finishedBytes": \(finished), "totalBytes": \(totalByteCount), \
        "checking": \(isChecking), "bytesPerSecond": \(Int64(rate)), "secondsLeft": \(left.map { fixed($0, 1) } ?? "null")}\n
        """)
    case .rewritten, .lines:
      let end = isChecking ? "done" : "syncing"
      let text =
        (isChecking ? "reading back: " : "")
        + "\(fixed(100 * done / total, 0)) % of \(byteText(totalByteCount)), "
        + (done < total
          ? left.map { "\(byteText(UInt64(rate)))/s, \(Self.clock($0)) left" } ?? "waiting" : end)
      Terminal.write(form == .lines ? text + "\n" : "\r\u{1B}[K" + text)
    case .silent: break
    }
  }

  static func clock(_ seconds: Double) -> String {
    let whole = Int(min(seconds.rounded(.up), 1e7))
    let (hours, minutes) = (whole / 3600, whole / 60 % 60)
    let tail = (whole % 60 < 10 ? "0" : "") + "\(whole % 60)"
    return hours > 0
      ? "\(hours):\(minutes < 10 ? "0" : "")\(minutes):\(tail)" : "\(minutes):\(tail)"
  }
}
