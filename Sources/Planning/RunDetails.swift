import ByteIO

/// What a conversion was asked for, and which files it read besides weights, a line each: so that where
/// two of them differ the option or the file can be named.
///
///     --type Q4_K_M
///     file config.json 0123456789abcdef
///
/// Source: formats/journal.md
package enum RunDetails {
  /// Files of a checkpoint, besides weights, that what is written may depend on.
  private static let fileNames = [
    "config.json", "params.json", "generation_config.json", "tokenizer.json", "tokenizer.model",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json",
    "chat_template.jinja", "preprocessor_config.json", "processor_config.json",
    "quantize_config.json", "quant_config.json", "hf_quant_config.json", "README.md",
  ]
  /// Of a longer file only its length is told.
  private static let hashedByteLimit: UInt64 = 64 << 20
  private static let pieceByteCount: UInt64 = 1 << 20
  private static let optionLimit = 1000
  private static let fileLimit = 100
  private static let optionLengthLimit = 400

  /// - Parameters:
  ///   - recipe: what was asked for.
  ///   - projector: likewise.
  ///   - files: that are read.
  ///   - weights: those among them that the journal knows anyway.
  /// - Returns: lines; files that cannot be read have none.
  package static func lines(
    recipe: Recipe, projector: ProjectorOutput?, files: InputFiles, weights: [String]
  ) -> [String] {
    var lines: [String] = []
    if recipe.typesFile == nil {
      // Types that were chosen have a title in the place of a mix.
      lines.append(recipe.title.map { "types \($0)" } ?? "--type \(recipe.type)")
    }
    if recipe.isPure { lines.append("--pure") }
    lines += options(recipe)
    if !recipe.hasProvenance { lines.append("--no-provenance") }
    if let projector {
      lines.append("--mmproj")
      if let type = projector.type { lines.append("--mmproj-type \(type)") }
      if projector.correctsNorms { lines.append("--mmproj-correct-norms") }
    }
    // What a command line names is as long as that, but not what is read back in a journal.
    lines = lines.prefix(optionLimit).map { String($0.prefix(optionLengthLimit)) }
    let given =
      [("--imatrix", recipe.importanceFile), ("--recipe", recipe.typesFile)]
      + recipe.tensorTypeFiles.map { ("--tensor-type-file", $0) }
      + [("--chat-template", recipe.chatTemplateFile)]
    for (option, path) in given {
      if let path, let hash = hash(path) { lines.append("file \(option) \(hash)") }
    }
    // Archives hold both.
    if let path = recipe.importanceFile { lines.append("--imatrix \(path)") }
    guard let folder = files.folder else { return lines }
    lines.append("folder \(OutputFile.name(of: folder))")
    let known = Set(weights.map { OutputFile.name(of: $0) })
    let templates = "additional_chat_templates"
    let templateNames =
      (try? DirectoryListing.names(in: DirectoryListing.join(folder, templates))) ?? []
    let names = fileNames + templateNames.sorted().prefix(fileLimit).map { "\(templates)/\($0)" }
    for name in names where !known.contains(name) {
      if let hash = hash(DirectoryListing.join(folder, name)) {
        lines.append("file \(name) \(hash)")
      }
    }
    return lines
  }

  /// As they are typed, without the files that they name.
  private static func options(_ recipe: Recipe) -> [String] {
    var rest = recipe
    rest.tensorTypes = []
    rest.tensorTypeFiles = []
    rest.chatTemplateFile = nil
    return recipe.tensorTypes.map {
      (recipe.keptTypes.contains($0) ? "--keep " : "--tensor-type ") + $0
    } + ((try? Provenance.options(of: rest)) ?? []).map { "--\($0)" }
  }

  private static func hash(_ path: String) -> String? {
    guard let file = try? PositionalFile(path) else { return nil }
    if file.byteCount > hashedByteLimit { return "\(file.byteCount)" }
    // Of pieces, so that a tokenizer's 20 MB are never in memory together.
    var hashes: [UInt64] = []
    var offset: UInt64 = 0
    while offset < file.byteCount {
      let count = min(file.byteCount - offset, pieceByteCount)
      guard let piece = try? file.read(at: offset, count: Int(count)) else { return nil }
      hashes.append(XXH3.hash64(piece).littleEndian)
      offset += count
    }
    return String(hashes.withUnsafeBytes { XXH3.hash64($0) }, radix: 16)
  }

  /// Options and files in which two runs differ, for people.
  package static func differences(_ known: [String], _ wanted: [String]) -> [String] {
    // Written by a version that had none.
    if known.isEmpty { return [] }
    let (old, new) = (grouped(known), grouped(wanted))
    let names = new.order + old.order.filter { new.values[$0] == nil }
    return names.compactMap { name in
      guard old.values[name] != new.values[name] else { return nil }
      // Of what an option names, and of files of the checkpoint, only hashes are known.
      let isHashed = name.hasPrefix("file ")
      let shown = printable(isHashed ? String(name.dropFirst("file ".count)) : name, limit: 120)
      let isFile = isHashed && !shown.hasPrefix("--")
      func text(_ values: [String]) -> String {
        if isHashed { return "" }
        let joined = values.filter { !$0.isEmpty }.joined(separator: " ")
        return joined.isEmpty ? "" : " " + printable(joined, limit: 120)
      }
      switch (old.values[name], new.values[name]) {
      case (let before?, let now?):
        return isFile
          ? "\(shown) was changed"
          : isHashed
            ? "\(shown) has another file" : "\(shown) was\(text(before)) and is\(text(now)) now"
      case (nil, let now?):
        return isFile ? "\(shown) was not there" : "\(shown)\(text(now)) was not given"
      case (let before?, nil):
        return isFile ? "\(shown) is no longer there" : "\(shown)\(text(before)) is no longer given"
      case (nil, nil): return nil
      }
    }
  }

  /// Values by the option or file that they belong to.
  private static func grouped(_ lines: [String]) -> (order: [String], values: [String: [String]]) {
    var order: [String] = []
    var values: [String: [String]] = [:]
    for line in lines {
      // The name of a file may have spaces, its hash has none.
      let space =
        line.hasPrefix("file ")
        ? line.lastIndex(of: " ") : line.firstIndex(of: " ")
      let name = String(line[..<(space ?? line.endIndex)])
      let value = space.map { String(line[line.index(after: $0)...]) } ?? ""
      if values[name] == nil { order.append(name) }
      values[name, default: []].append(value)
    }
    return (order, values)
  }
}
