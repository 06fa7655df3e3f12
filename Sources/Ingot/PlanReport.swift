import StrictJSON

extension ConversionPlan {
  private var totals: [TypeTotal] {
    TypeTotal.list(modelTensors.map { ($0.type, UInt64($0.elementCount), UInt64($0.byteCount)) })
  }

  /// The plan in numbers, for people.
  public var table: String {
    let modelCount = modelTensors.count
    var lines = ["\(recipe): \(modelCount) tensors, \(weightCount) weights"]
    lines += TypeTotal.table(totals)
    let fallbacks = tensors.filter { $0.fallbackFrom != nil }
    if !fallbacks.isEmpty {
      lines.append(
        "\(fallbacks.count) tensors have another type than the recipe's, because of their row length:"
      )
      lines += fallbacks.map {
        "  \(printable($0.name.string)): \($0.fallbackFrom?.name ?? "") → \($0.type.name)"
      }
    }
    lines.append("\(fixed(bitsPerWeight, 2)) bits per weight, \(totalByteCount) bytes to write:")
    lines += outputs.map {
      "  \(printable($0.path)): \($0.byteCount) bytes"
        + ($0.kind == .mmproj && modelCount < tensors.count
          ? ", vision tower and projector (\(tensors.count - modelCount) tensors)" : "")
    }
    return lines.joined(separator: "\n")
  }

  /// The whole plan as stable JSON: every tensor's source, type, file and offset.
  public var json: String {
    var writer = JSONWriter()
    writer.object { json in
      json.key("recipe")
      json.value(recipe)
      json.key("bitsPerWeight")
      json.value(bitsPerWeight)
      json.key("weightCount")
      json.value(weightCount)
      json.key("totalBytes")
      json.value(totalByteCount)
      json.key("types")
      TypeTotal.write(totals, to: &json)
      json.key("inputs")
      json.array { json in for input in inputs { json.value(input) } }
      json.key("outputs")
      json.array { json in
        for output in outputs {
          json.object { json in
            json.key("path")
            json.value(output.path)
            json.key("kind")
            json.value(output.kind.rawValue)
            json.key("bytes")
            json.value(output.byteCount)
            json.key("headerBytes")
            json.value(output.header.count)
          }
        }
      }
      json.key("tensors")
      json.array { json in for tensor in tensors { tensor.write(to: &json) } }
    }
    return writer.text
  }
}

extension ConversionPlan.Tensor {
  fileprivate func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("name")
      json.value(name.string)
      json.key("shape")
      json.array { json in for dimension in shape.dimensions { json.value(dimension) } }
      json.key("source")
      json.value(sourceName?.string)
      json.key("sourceType")
      json.value(sourceType.name)
      json.key("type")
      json.value(type.name)
      if let fallbackFrom {
        json.key("fallbackFrom")
        json.value(fallbackFrom.name)
      }
      json.key("importance")
      json.value(importance != nil)
      json.key("output")
      json.value(output)
      json.key("offset")
      json.value(fileOffset)
      json.key("bytes")
      json.value(byteCount)
    }
  }
}

extension ConversionSummary {
  public var text: String {
    if let share, let shareByteCount {
      return """
        part \(share.number) of \(share.count) of \(printable(base)): \(shareByteCount) bytes, in \
        \(rounded(seconds)) s\(resumedText), peak memory \(peakResidentByteCount >> 20) MiB; when \
        all are done: ingot finish \(shellWord(base))
        """
    }
    var names = outputs.prefix(1).map { printable($0) }.joined()
    let parts = outputs.filter { $0 != projector }
    if parts.count > 1 { names += " and \(parts.count - 1) more parts" }
    if let projector, !parts.isEmpty { names += " and \(printable(projector))" }
    return """
      \(names): \(tensorCount) tensors, \(byteCount) bytes, \(rounded(bitsPerWeight)) bits per \
      weight, in \(rounded(seconds)) s\(resumedText), peak memory \(peakResidentByteCount >> 20) MiB
      """
  }

  public var json: String {
    var writer = JSONWriter()
    writer.object { json in
      json.key("outputs")
      json.array { json in for output in outputs { json.value(output) } }
      json.key("tensors")
      json.value(tensorCount)
      json.key("weightCount")
      json.value(weightCount)
      json.key("bytes")
      json.value(byteCount)
      json.key("bitsPerWeight")
      json.value(bitsPerWeight)
      if let share {
        json.key("part")
        json.value(share.number)
        json.key("partCount")
        json.value(share.count)
        json.key("partBytes")
        json.value(shareByteCount ?? 0)
      }
      json.key("resumedBytes")
      json.value(resumedByteCount)
      json.key("seconds")
      json.value(seconds)
      json.key("peakResidentBytes")
      json.value(peakResidentByteCount)
    }
    return writer.text
  }

  private var resumedText: String {
    resumedByteCount == 0 ? "" : " (\(resumedByteCount) bytes were there)"
  }

  private var seconds: Double { elapsed / .seconds(1) }

  private func rounded(_ value: Double) -> String { "\((value * 100).rounded() / 100)" }
}
