import ByteIO
import Planning
import StrictJSON
import Tensors

/// What a run takes of every device's memory, and how much context would fit.
package struct MemoryReport: Sendable {
  package let hardware: Hardware
  package let run: MemoryRun
  package let estimate: MemoryEstimate
  /// `nil` when nothing fits.
  package let largestContext: Int?
  /// Devices of this kind that hold the run; `nil` when no number of them does.
  package let neededDeviceCount: Int?
  /// What the model was trained for, beyond which no context is looked for; `nil` where it is unknown.
  package let modelContext: Int?

  package init(_ fit: MemoryFit, tensors: [MemoryTensor], run: MemoryRun) {
    hardware = fit.hardware
    self.run = run
    estimate = fit.estimate(tensors, run)
    let largest = fit.largestContext(tensors, run)
    let trained = fit.model.trainedContext ?? .max
    // Looked for in steps of 256 tokens: what was asked for may lie between two.
    largestContext =
      estimate.fits(fit.hardware) && run.context <= trained
      ? max(largest ?? 0, run.context) : largest
    modelContext = fit.model.trainedContext
    neededDeviceCount = fit.deviceCount(tensors, run)
  }

  package var fits: Bool { estimate.fits(hardware) }

  private var devices: [(name: String, device: MemoryEstimate.Device, limit: Int?)] {
    estimate.accelerators.enumerated().map { index, device in
      ("device \(index)", device, hardware.deviceByteCount)
    } + [("processor", estimate.host, hardware.kind == .host ? hardware.deviceByteCount : nil)]
  }

  /// For people.
  package var table: String {
    let parts = ["weights", "cache", "compute", "reserve", "total", "of"]
    var lines = [
      "\(hardware.title)\(hardware.deviceCount == 1 ? "" : " × \(hardware.deviceCount)"), "
        + "\(run.context) tokens × \(run.parallel), MiB:"
    ]
    lines +=
      TextTable(
        [""] + parts,
        devices.map { name, device, limit in
          [name]
            + [device.weights, device.cache, device.compute, device.reserve, device.total]
            .map(mebibyteText) + [limit.map(wholeMebibyteText) ?? ""]
        }, rightAligned: Set(1...parts.count)
      ).lines
    lines.append("llama.cpp: \(run.switches.joined(separator: " "))")
    if fits {
      let context = largestContext.map { context in
        "\(context), "
          + (context == modelContext ? "the model's own" : "more, in steps of 256, does not fit")
      }
      lines.append("fits; largest context: \(context ?? "none")")
    } else {
      lines.append("does not fit; " + nearest)
    }
    return lines.joined(separator: "\n")
  }

  /// What would fit instead.
  private var nearest: String {
    var ways: [String] = []
    if let largestContext { ways.append("a context of \(largestContext) does") }
    if let neededDeviceCount { ways.append("\(hardware.name)x\(neededDeviceCount) does") }
    return ways.isEmpty
      ? "neither a smaller context nor more devices would" : ways.joined(separator: ", ")
  }

  /// One line for each hardware.
  package static func table(of reports: [MemoryReport]) -> String {
    let rows = reports.map { report in
      [
        report.hardware.fullName, wholeMebibyteText(report.hardware.deviceByteCount),
        mebibyteText(report.estimate.limited.map(\.total).max() ?? 0),
        report.fits ? "yes" : "no", report.largestContext.map(String.init) ?? "none",
        report.neededDeviceCount.map(String.init)
          ?? "more than \(report.hardware.deviceLimit)",
      ]
    }
    let lines = TextTable(
      ["hardware", "MiB", "needed", "fits", "largest context", "devices"], rows,
      rightAligned: [1, 2, 4, 5]
    ).lines
    guard let run = reports.first?.run else { return "" }
    return
      ([
        "\(run.context) tokens × \(run.parallel); llama.cpp: \(run.switches.joined(separator: " "))"
      ] + [contextLine(reports.first?.modelContext)].compactMap { $0 } + lines)
      .joined(separator: "\n")
  }

  /// What a column of largest contexts ends at.
  fileprivate static func contextLine(_ modelContext: Int?) -> String? {
    modelContext.map { "largest context: at most the model's own, \($0) tokens" }
  }

  package func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("hardware")
      json.value(hardware.fullName)
      json.key("deviceBytes")
      json.value(hardware.deviceByteCount)
      json.key("context")
      json.value(run.context)
      json.key("parallel")
      json.value(run.parallel)
      json.key("switches")
      json.array { json in for word in run.switches { json.value(word) } }
      json.key("fits")
      json.value(fits)
      json.key("largestContext")
      json.write(largestContext)
      json.key("modelContext")
      json.write(modelContext)
      json.key("neededDevices")
      json.write(neededDeviceCount)
      json.key("devices")
      json.array { json in
        for (name, device, _) in devices {
          json.object { json in
            json.key("name")
            json.value(name)
            json.key("weightBytes")
            json.value(device.weights)
            json.key("cacheBytes")
            json.value(device.cache)
            json.key("computeBytes")
            json.value(device.compute)
            json.key("reserveBytes")
            json.value(device.reserve)
          }
        }
      }
    }
  }
}

/// What fits where: the best uniform type of a model on every hardware of the table.
package struct HardwareOverview: Sendable {
  package struct Row: Sendable {
    package var hardware: Hardware
    /// The largest type with which the run fits one device; `nil` when none does.
    package var type: TensorType?
    package var largestContext: Int?
    /// Devices that hold the run, by type; `nil` when no number of them does.
    package var deviceCounts: [Int?]
  }

  package let run: MemoryRun
  /// Types that devices are counted for.
  package let countedTypes: [TensorType]
  package let rows: [Row]
  /// What the model was trained for; `nil` where it is unknown.
  package let modelContext: Int?

  package init(
    _ model: MemoryDimensions, tensors: [MemoryTensor], run: MemoryRun,
    hardware: [Hardware] = Hardware.all, countedTypes: [TensorType] = [.q4_K, .q8_0]
  ) {
    self.run = run
    self.countedTypes = countedTypes
    modelContext = model.trainedContext
    let byType = Dictionary(
      uniqueKeysWithValues: Set(MemoryTensor.overviewTypes + countedTypes).map { type in
        (type, tensors.map { $0.retyped(type) })
      })
    rows = hardware.map { hardware in
      let fit = MemoryFit(model, hardware: hardware)
      let best = MemoryTensor.overviewTypes.first {
        fit.estimate(byType[$0] ?? [], run).fits(hardware)
      }
      return Row(
        hardware: hardware, type: best,
        largestContext: best.flatMap { fit.largestContext(byType[$0] ?? [], run) },
        deviceCounts: countedTypes.map { fit.deviceCount(byType[$0] ?? [], run) })
    }
  }

  /// For people.
  package var table: String {
    let counted = countedTypes.map { "devices for \($0.name)" }
    let lines = TextTable(
      ["hardware", "MiB", "best type", "largest context"] + counted,
      rows.map { row in
        [
          row.hardware.fullName, wholeMebibyteText(row.hardware.deviceByteCount),
          row.type?.name ?? "none",
          row.largestContext.map(String.init) ?? "",
        ] + row.deviceCounts.map { $0.map(String.init) ?? "more than \(row.hardware.deviceLimit)" }
      }, rightAligned: [1, 3, 4, 5]
    ).lines
    return
      ([
        "One type for all matrices, \(run.context) tokens × \(run.parallel); "
          + "llama.cpp: \(run.switches.joined(separator: " "))"
      ] + [MemoryReport.contextLine(modelContext)].compactMap { $0 } + lines)
      .joined(separator: "\n")
  }

  package func write(to json: inout JSONWriter) {
    json.array { json in
      for row in rows {
        json.object { json in
          json.key("hardware")
          json.value(row.hardware.fullName)
          json.key("deviceBytes")
          json.value(row.hardware.deviceByteCount)
          json.key("type")
          json.value(row.type?.name)
          json.key("largestContext")
          json.write(row.largestContext)
          json.key("modelContext")
          json.write(modelContext)
          json.key("devices")
          json.object { json in
            for (type, count) in zip(countedTypes, row.deviceCounts) {
              json.key(type.name)
              json.write(count)
            }
          }
        }
      }
    }
  }
}

/// Whole MiB, rounded up: what is needed.
func mebibyteText(_ byteCount: Int) -> String { "\((byteCount + (1 << 20) - 1) >> 20)" }

/// Whole MiB, rounded down: what there is.
private func wholeMebibyteText(_ byteCount: Int) -> String { "\(byteCount >> 20)" }

extension JSONWriter {
  fileprivate mutating func write(_ number: Int?) {
    if let number { value(number) } else { null() }
  }
}
