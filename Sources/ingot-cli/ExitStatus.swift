import ArgumentParser
import Ingot

/// The exit statuses that scripts rely on; README lists them.
enum ExitStatus: Int32 {
  case success = 0
  case checkFailed = 1
  case usage = 64
  case badInput = 65
  case inputMissing = 66
  case internalError = 70
  case cannotCreate = 73
  case inputOutput = 74
  case interrupted = 130
}

/// Runs a command's body; an error becomes one line on standard error and its exit status.
func reportingErrors(_ body: () throws -> Void) throws {
  do {
    try body()
  } catch let code as ExitCode {
    throw code
  } catch {
    if let error = error as? UnfinishedParts {
      for line in error.lines { Terminal.error(line) }
    } else {
      Terminal.error("\(error)")
    }
    throw ExitCode(status(of: error).rawValue)
  }
}

/// Options are checked when a command runs, not in its `validate`: that comes before unknown options
/// are looked for, and would hide a misspelt one behind what its absence leads to.
func checkThreadCount(_ count: Int) throws {
  guard (1...1024).contains(count) else {
    throw UsageError("--threads takes 1 to 1024, not \(count)")
  }
}

private func status(of error: any Error) -> ExitStatus {
  switch error {
  case let error as FormatError:
    switch error.reason {
    case .fileNotFound: .inputMissing
    case .readFailed: .inputOutput
    default: .badInput
    }
  case let error as OutputError:
    error.step == .create || error.step == .lock ? .cannotCreate : .inputOutput
  case is UsageError, is PackingRefusal: .usage
  case is FitTooSmall: .badInput
  case is UnfinishedParts: .checkFailed
  case is ConversionCancelled, is FinishInterrupted, is CalibrationInterrupted, is FitInterrupted,
    is ManifestInterrupted, is PackingCancelled:
    .interrupted
  default: .internalError
  }
}
