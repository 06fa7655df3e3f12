import ByteIO
import Planning
import StrictJSON
import Tensors

/// The file that measurements are kept in, so that another size, or a run after an interruption,
/// need not measure again.
///
///     {"format": "ingot-measurements", "version": 1,
///      "run": ["ingot 0.1.0", "model.safetensors of 123 bytes, changed …", …],
///      "tensors": {"blk.0.attn_q.weight":
///        {"signals": [1.5], "errors": {"Q4_K": [0.002]}, "divergences": {"Q3_K": 0.0004}}}}
///
/// Source: formats/recipe.md
extension FitMeasurements {
  package static let document = OwnDocument(
    format: "ingot-measurements", version: 1,
    // A model with 256 experts in each of 61 layers, in 18 types, has about 20 MB.
    byteLimit: 256 << 20,
    advice:
      "name another --measurements file, or remove this one: what it held is then measured anew")

  /// Reads a file, if there is one.
  ///
  /// - Parameters:
  ///   - path: where it would be.
  ///   - run: everything that the figures depend on, a line each.
  /// - Throws: `FormatError` when it is damaged or of another run.
  package init?(_ path: String, run: [String]) throws(FormatError) {
    let known: [String]
    do throws(FormatError) {
      (self, known) = try Self.read(path)
    } catch {
      if error.reason == .fileNotFound { return nil }
      throw error
    }
    guard known == run else {
      throw Self.document.failure(
        path, "run", .inconsistent("is of another run" + Self.difference(known, run)))
    }
  }

  /// Options that measurements depend on, and how their lines begin.
  private static let optionLines = [
    ("--imatrix", "importance "), ("--include-weights", "with "), ("--exclude-weights", "without "),
    ("--text", "text of "),
  ]

  /// In what a run differs from the one that is known; options that one of the two lacks first.
  private static func difference(_ known: [String], _ run: [String]) -> String {
    let (old, new) = (known.filter { !run.contains($0) }, run.filter { !known.contains($0) })
    func quoted(_ line: String) -> String { "'\(printable(line, limit: 120))'" }
    for (option, start) in optionLines {
      switch (old.first { $0.hasPrefix(start) }, new.first { $0.hasPrefix(start) }) {
      case (let line?, nil):
        return ": it was made with \(option) (\(quoted(line))), this one is not"
      case (nil, let line?):
        return ": it was made without \(option), this one has \(quoted(line))"
      default: continue
      }
    }
    switch (old.first, new.first) {
    case (let line?, let other?): return ": it had \(quoted(line)), this one has \(quoted(other))"
    case (let line?, nil): return ": it had \(quoted(line)), which this one lacks"
    case (nil, let line?): return ": it lacks \(quoted(line)), which this one has"
    case (nil, nil): return ": the same in another order"
    }
  }

  /// Reads a file, whatever run it is of.
  ///
  /// - Returns: the figures, and what they depend on.
  /// - Throws: `FormatError` when it is damaged or not there.
  package static func read(_ path: String) throws(FormatError) -> (FitMeasurements, run: [String]) {
    let json = try document.read(path)
    return (
      try FitMeasurements(json, path), json["run"]?.array?.compactMap(\.string) ?? []
    )
  }

  private init(_ json: JSONValue, _ path: String) throws(FormatError) {
    func fail(_ field: String, _ reason: FormatError.Reason) -> FormatError {
      Self.document.failure(path, field, reason)
    }
    guard let tensors = json["tensors"]?.object else {
      throw fail("tensors", .missing("an object"))
    }
    self.init()
    for (name, value) in tensors.members {
      let field = "tensors.\(printable(name, limit: 120))"
      func number(_ value: JSONValue, _ part: String) throws(FormatError) -> Double {
        guard let number = value.double, number.isFinite, number >= 0 else {
          throw fail(
            "\(field).\(part)",
            .outOfRange(found: "no such number", allowed: "finite numbers from 0 on"))
        }
        return number
      }
      func list(_ value: JSONValue?, _ part: String) throws(FormatError) -> [Double] {
        guard let items = value?.array, !items.isEmpty else {
          throw fail("\(field).\(part)", .missing("a list of numbers"))
        }
        return try items.map { item throws(FormatError) in try number(item, part) }
      }
      func type(_ name: String) throws(FormatError) -> TensorType {
        guard let type = TensorType(name: name) else {
          throw fail(
            field, .unsupported(found: printable(name, limit: 40), allowed: "names of types"))
        }
        return type
      }
      let signals = try list(value["signals"], "signals")
      var errors = TypeErrors(signals: signals, errors: [:])
      for (name, values) in value["errors"]?.object?.members ?? [] {
        let values = try list(values, "errors")
        guard values.count == signals.count else {
          throw fail(
            "\(field).errors",
            .inconsistent("has \(values.count) numbers, signals have \(signals.count)"))
        }
        errors.errors[try type(name)] = values
      }
      self.errors[ExactString(name)] = errors
      for (probe, value) in value["divergences"]?.object?.members ?? [] {
        divergences[ExactString(name), default: [:]][try type(probe)] =
          try number(value, "divergences")
      }
    }
  }

  /// Writes the file; one that was there is replaced when the new one is whole.
  package func write(_ path: String, run: [String]) throws(OutputError) {
    var writer = JSONWriter()
    writer.object { json in
      Self.document.writeHead(to: &json)
      json.key("run")
      json.array { json in for line in run { json.value(line) } }
      json.key("tensors")
      json.object { json in
        for (name, errors) in errors.sorted(by: { $0.key < $1.key }) {
          json.key(name.string)
          json.object { json in
            json.key("signals")
            json.array { json in for value in errors.signals { json.value(value) } }
            json.key("errors")
            json.object { json in
              for (type, values) in errors.errors.sorted(by: { $0.key.rawValue < $1.key.rawValue })
              {
                json.key(type.name)
                json.array { json in for value in values { json.value(value) } }
              }
            }
            guard let probes = divergences[name] else { return }
            json.key("divergences")
            json.object { json in
              for (type, value) in probes.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
                json.key(type.name)
                json.value(value)
              }
            }
          }
        }
      }
    }
    try OutputFile.write(Array((writer.text + "\n").utf8), to: path)
  }
}
