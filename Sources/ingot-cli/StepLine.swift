import Ingot
import Synchronization

/// The progress of work that has steps: where it is, its rate and the time left.
final class StepLine: Sendable {
  private let form: ProgressForm
  private let state: Mutex<State>
  private struct State {
    var nextReport: ContinuousClock.Instant
    var step: RunProgress.Step?
    var stepStart: ContinuousClock.Instant
  }

  init(_ style: ProgressStyle) {
    form = style.form
    let now = ContinuousClock.now
    state = Mutex(State(nextReport: now + form.interval, stepStart: now))
  }

  /// Called from any worker; all but one call in many return at once.
  func update(_ progress: RunProgress) {
    guard form != .silent else { return }
    let now = ContinuousClock.now
    let elapsed: Duration?? = state.withLockIfAvailable { state in
      if state.step != progress.step {
        state.step = progress.step
        state.stepStart = now
      }
      guard now >= state.nextReport else { return nil }
      state.nextReport = now + form.interval
      return now - state.stepStart
    }
    if let elapsed = elapsed ?? nil { report(progress, seconds: elapsed / .seconds(1)) }
  }

  /// Clears a rewritten line, so that the result starts on an empty one.
  func finish() {
    if form == .rewritten { Terminal.write("\r\u{1B}[K") }
  }

  private func report(_ progress: RunProgress, seconds: Double) {
    let left =
      progress.fraction > 0 ? seconds * (1 - progress.fraction) / progress.fraction : 0
    if form == .json {
      Terminal.write(
        """
        {"step": "\(progress.step.rawValue)", "fraction": \(fixed(progress.fraction, 4)), \
        "tokensPerSecond": \(fixed(progress.tokensPerSecond, 1)), \
        "secondsLeft": \(fixed(left, 1))}\n
        """)
      return
    }
    let rate =
      progress.tokensPerSecond > 0 ? ", \(fixed(progress.tokensPerSecond, 0)) tokens/s" : ""
    let text =
      "\(fixed(100 * progress.fraction, 0)) %: \(progress.detail)\(rate)"
      + (progress.fraction > 0 ? ", \(ProgressLine.clock(left)) left" : "")
    Terminal.write(form == .lines ? text + "\n" : "\r\u{1B}[K" + text)
  }
}
