import ByteIO
import StrictJSON

extension PackingSummary {
  /// One line for people.
  public var text: String {
    let seconds = max(elapsed / .seconds(1), 1e-9)
    return
      "\(printable(output)): \(byteCount) bytes, \(PackingReport.percent(ratio)) of "
      + "\(contentByteCount) in \(fileCount) \(fileCount == 1 ? "file" : "files"); "
      + rate(contentByteCount, seconds)
  }

  /// Stable JSON.
  public var json: String {
    var writer = JSONWriter()
    writer.object { json in
      json.key("output")
      json.value(output)
      json.key("contentBytes")
      json.value(contentByteCount)
      json.key("bytes")
      json.value(byteCount)
      json.key("ratio")
      json.value(ratio)
      json.key("files")
      json.value(fileCount)
      json.key("frames")
      json.value(frameCount)
      json.key("seconds")
      json.value(elapsed / .seconds(1))
      json.key("peakResidentBytes")
      json.value(peakResidentByteCount)
    }
    return writer.text
  }
}

extension UnpackingSummary {
  /// One line for people.
  public var text: String {
    let seconds = max(elapsed / .seconds(1), 1e-9)
    let files = "\(fileCount) \(fileCount == 1 ? "file" : "files")"
    let what =
      output.map { "\(printable($0)): \(contentByteCount) bytes in \(files)" }
      ?? "\(frameCount) frames of \(files) are sound, \(contentByteCount) bytes"
    return what + "; " + rate(contentByteCount, seconds)
  }

  /// Stable JSON.
  public var json: String {
    var writer = JSONWriter()
    writer.object { json in
      json.key("output")
      json.value(output)
      json.key("contentBytes")
      json.value(contentByteCount)
      json.key("bytes")
      json.value(byteCount)
      json.key("files")
      json.value(fileCount)
      json.key("frames")
      json.value(frameCount)
      json.key("seconds")
      json.value(elapsed / .seconds(1))
      json.key("peakResidentBytes")
      json.value(peakResidentByteCount)
    }
    return writer.text
  }
}

private func rate(_ byteCount: UInt64, _ seconds: Double) -> String {
  "\(fixed(seconds, 2)) s, \(fixed(Double(byteCount) / seconds / 1e6, 0)) MB/s"
}
