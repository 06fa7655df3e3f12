import ByteIO
import Planning
import Tensors

/// Hardware on which an archive shall run, and how it will be run there.
public struct MemoryTarget: Hashable, Sendable {
  package var hardware: Hardware
  package var run: MemoryRun

  package init(hardware: Hardware, run: MemoryRun) {
    self.hardware = hardware
    self.run = run
  }

  /// - Parameters:
  ///   - name: of the hardware, with `xN` behind it for several: `h100-80gb`, `h100-80gbx8`.
  ///   - byteCount: of one device, where the hardware is none that has a name; then `name` is `nil`.
  ///   - deviceCount: for `byteCount`.
  ///   - context: tokens that every sequence can hold.
  ///   - parallel: sequences at the same time.
  ///   - keyType: of the cache's keys, by name.
  ///   - valueType: of its values.
  ///   - batch: tokens that are handed over at a time.
  ///   - microBatch: tokens that are computed at a time.
  ///   - usesFlashAttention: llama.cpp's `-fa`.
  ///   - isUnified: one cache for all sequences.
  ///   - keepsFullWindow: layers that see a chunk keep everything.
  ///   - splitsTensors: every device has a part of each matrix.
  ///   - option: that the hardware's name was given with, for messages.
  /// - Throws: `OptionError`, or `UsageError` for what llama.cpp would refuse.
  public init(
    hardware name: String?, byteCount: UInt64?, deviceCount: Int = 1, context: Int,
    parallel: Int = 1, keyType: String = "f16", valueType: String = "f16", batch: Int = 2048,
    microBatch: Int = 512, usesFlashAttention: Bool = true, isUnified: Bool = false,
    keepsFullWindow: Bool = false, splitsTensors: Bool = false, option: String = "--fit"
  ) throws {
    hardware = try Self.hardware(name, byteCount, deviceCount, option: option)
    run = MemoryRun(
      context: context, parallel: parallel, keyType: try Self.cacheType(keyType),
      valueType: try Self.cacheType(valueType), batch: batch, microBatch: microBatch,
      flashAttention: usesFlashAttention, isUnified: isUnified, keepsFullWindow: keepsFullWindow,
      outputCount: parallel)
    run.splitsTensors = splitsTensors
    if let problem = run.problem { throw UsageError("llama.cpp would refuse \(problem)") }
  }

  /// Whether the table of hardware has a name, whatever number of devices stands behind it.
  public static func hasName(_ text: String) -> Bool {
    if Hardware(name: text) != nil { return true }
    guard let cross = text.lastIndex(where: { $0 == "x" || $0 == "X" }),
      Int(text[text.index(after: cross)...]) != nil
    else { return false }
    return Hardware(name: String(text[..<cross])) != nil
  }

  /// In less than this nothing runs, not even without weights.
  private static let leastByteCount: UInt64 = 1 << 20

  private static func hardware(
    _ name: String?, _ byteCount: UInt64?, _ deviceCount: Int, option: String
  ) throws(OptionError) -> Hardware {
    guard let name else {
      guard (1...Hardware.deviceLimit).contains(deviceCount) else {
        let isNamed = option == "--hardware"
        throw OptionError(
          option: isNamed ? option : "--devices", found: (isNamed ? "x" : "") + "\(deviceCount)",
          problem: "takes 1 to \(Hardware.deviceLimit)" + (isNamed ? " devices" : ""))
      }
      guard let byteCount, byteCount >= leastByteCount else {
        throw OptionError(
          option: option == "--hardware" ? option : "--memory", found: "\(byteCount ?? 0) bytes",
          problem: "takes the memory of a device, 1MiB or more, such as 24GiB")
      }
      return .memory(Int(clamping: byteCount), deviceCount: deviceCount)
    }
    guard let hardware = Hardware(name: name) else {
      throw OptionError(
        option: option, found: name,
        problem: "no such hardware, or no such number of it; known are "
          + Hardware.all.map(\.name).joined(separator: ", ")
          + ", with x2 to x\(Hardware.deviceLimit) behind for several",
        advice: option == "--hardware"
          ? "or say how much memory there is, such as --hardware 24GiB"
          : "say how much memory there is with --memory SIZE")
    }
    return hardware
  }

  private static func cacheType(_ name: String) throws(OptionError) -> TensorType {
    guard let type = TensorType(name: name), MemoryRun.cacheTypes.contains(type) else {
      throw OptionError(
        option: "--kv-type", found: name,
        problem: "types are "
          + MemoryRun.cacheTypes.map { $0.name.lowercased() }.joined(separator: ", "))
    }
    return type
  }

  /// A warning where a context is longer than the model was trained for; `nil` for any other.
  package func contextWarning(_ model: MemoryDimensions) -> String? {
    guard let trained = model.trainedContext, run.context > trained else { return nil }
    return "--context \(run.context) is longer than the model's own context, \(trained) tokens: "
      + "what it says beyond that may be worth little"
  }

  /// For messages and an archive's metadata.
  package var title: String {
    "\(hardware.fullName), \(run.context) tokens"
      + (run.parallel > 1 ? " × \(run.parallel)" : "")
      + (run.keyType == .f16 && run.valueType == .f16
        ? "" : ", cache \(run.keyType.name.lowercased())/\(run.valueType.name.lowercased())")
  }
}
