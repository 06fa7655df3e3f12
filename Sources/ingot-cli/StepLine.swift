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
    /// Where the step was when it began here: an earlier run may have done the rest.
    var startFraction = 0.0
    var fraction = 0.0
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
    let due: Due?? = state.withLockIfAvailable { state in
      // The same step a second time, of other work, begins anew; workers overtake each other by less.
      if state.step != progress.step || progress.fraction + 0.5 < state.fraction {
        state.step = progress.step
        state.stepStart = now
        state.startFraction = progress.fraction
      }
      state.fraction = progress.fraction
      guard now >= state.nextReport else { return nil }
      state.nextReport = now + form.interval
      let done = progress.fraction - state.startFraction
      let seconds = (now - state.stepStart) / .seconds(1)
      return Due(left: done > 0 ? seconds * (1 - progress.fraction) / done : nil)
    }
    if let due = due ?? nil { report(progress, left: due.left) }
  }

  /// A report that shall be made.
  private struct Due {
    /// Seconds at the rate of the step so far; `nil` before anything of it is done.
    var left: Double?
  }

  /// Clears a rewritten line, so that the result starts on an empty one.
  func finish() {
    if form == .rewritten { Terminal.write("\r\u{1B}[K") }
  }

  private func report(_ progress: RunProgress, left: Double?) {
    if form == .json {
      Terminal.write(
        """
        {"step": "\(progress.step.rawValue)", "fraction": \(fixed(progress.fraction, 4)), \
        "tokensPerSecond": \(progress.tokensPerSecond > 0 ? fixed(progress.tokensPerSecond, 1) : "null"), \
        "secondsLeft": \(left.map { fixed($0, 1) } ?? "null")}\n
        """)
      return
    }
    let rate =
      progress.tokensPerSecond > 0 ? ", \(fixed(progress.tokensPerSecond, 0)) tokens/s" : ""
    let text =
      "\(fixed(100 * progress.fraction, 0)) %: \(progress.detail)\(rate)"
      + (left.map { ", \(ProgressLine.clock($0)) left" } ?? "")
    Terminal.write(form == .lines ? text + "\n" : "\r\u{1B}[K" + text)
  }
}
