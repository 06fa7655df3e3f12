import ArgumentParser
import Ingot

/// Options that say where an archive shall run, and how.
struct MemoryArguments: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Memory of a device, instead of a name with --fit; tensors that only the processor needs, the "
        + "embedding of most models, lie elsewhere. " + ByteSize.grammar, valueName: "size"))
  var memory: ByteSize?

  @Option(help: ArgumentHelp("Devices with --memory each (default: 1).", valueName: "count"))
  var devices: Int?

  @Option(
    help: ArgumentHelp(
      "Tokens that every sequence can hold; of a quantized archive, and with --hardware, by default "
        + "\(MemoryQuestion.defaultContext), or the model's own context where that is smaller.",
      valueName: "tokens"))
  var context: Int?

  @Option(help: ArgumentHelp("Sequences at the same time (default: 1).", valueName: "count"))
  var parallel: Int?

  @Option(
    help: ArgumentHelp(
      "Type of the cache, or KEYS,VALUES: f16, q8_0, q4_0, … (default: f16).", valueName: "type"))
  var kvType: String?

  @Option(help: ArgumentHelp("llama.cpp's -ub (default: 512).", valueName: "tokens"))
  var ubatch: Int?

  @Flag(help: "Without flash attention.")
  var noFlashAttention = false

  @Flag(help: "One cache for all sequences.")
  var kvUnified = false

  @Flag(help: "Layers that see a chunk of Llama 4's context keep all of it.")
  var swaFull = false

  @Flag(help: "Every device has a part of each matrix, instead of whole layers.")
  var splitTensors = false

  /// - Parameters:
  ///   - hardware: what was named with `--fit`.
  ///   - defaultContext: for an answer that needs none; `nil` where it has to be said.
  /// - Returns: `nil` where no hardware was named.
  /// - Throws: `UsageError`.
  func target(hardware: String?, defaultContext: Int? = nil) throws -> MemoryTarget? {
    guard hardware != nil || memory != nil else {
      let given = [
        ("--devices", devices != nil), ("--context", context != nil),
        ("--parallel", parallel != nil), ("--kv-type", kvType != nil), ("--ubatch", ubatch != nil),
        ("--no-flash-attention", noFlashAttention), ("--kv-unified", kvUnified),
        ("--swa-full", swaFull), ("--split-tensors", splitTensors),
      ].filter(\.1)
      if let first = given.first {
        throw UsageError("\(first.0) needs hardware: --fit or --memory")
      }
      return nil
    }
    if hardware != nil, memory != nil { throw UsageError("--fit and --memory exclude each other") }
    if devices != nil, memory == nil {
      throw UsageError("--devices needs --memory; --fit takes xN")
    }
    guard let context = context ?? defaultContext else {
      throw UsageError("say how many tokens shall fit: --context")
    }
    return try target(
      hardware: hardware, size: memory, deviceCount: devices ?? 1, context: context)
  }

  /// - Parameters:
  ///   - hardware: its name; `nil` where a size was given.
  ///   - size: memory of a device.
  ///   - deviceCount: for a size.
  ///   - option: that the name, or with `--hardware` the size, was given with.
  ///   - context: tokens that every sequence can hold.
  /// - Returns: where a model shall run, and how.
  /// - Throws: `UsageError`.
  func target(
    hardware: String?, size: ByteSize? = nil, deviceCount: Int = 1, option: String = "--fit",
    context: Int
  ) throws -> MemoryTarget {
    let limits = FitOptions.self
    for (option, value, limit) in [
      ("--context", context, limits.contextLimit),
      ("--parallel", parallel ?? 1, limits.parallelLimit),
      ("--ubatch", ubatch ?? 1, limits.microBatchLimit),
    ] where !(1...limit).contains(value) {
      throw UsageError("\(option) takes 1 to \(limit), not \(value)")
    }
    let types = (kvType ?? "f16").split(separator: ",", omittingEmptySubsequences: false)
    guard types.count <= 2, let keys = types.first, let values = types.last else {
      throw UsageError("--kv-type takes a type, or KEYS,VALUES")
    }
    do {
      return try MemoryTarget(
        hardware: hardware,
        byteCount: try size?.withUnit(option == "--hardware" ? option : "--memory"),
        deviceCount: deviceCount, context: context, parallel: parallel ?? 1, keyType: String(keys),
        valueType: String(values), microBatch: ubatch ?? 512,
        usesFlashAttention: !noFlashAttention, isUnified: kvUnified, keepsFullWindow: swaFull,
        splitsTensors: splitTensors, option: option)
    } catch let error as OptionError {
      throw UsageError(error.description)
    }
  }
}
