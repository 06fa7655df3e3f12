import ByteIO
import Tensors

extension ImportanceSums {
  /// Keys and tensor names of the GGUF form.
  package enum Key {
    package static let type = "general.type"
    /// Value of `type`.
    package static let importanceType = "imatrix"
    package static let datasets = "imatrix.datasets"
    package static let chunkCount = "imatrix.chunk_count"
    package static let chunkSize = "imatrix.chunk_size"
    package static let sumSuffix = ".in_sum2"
    package static let countSuffix = ".counts"
  }

  /// Reads the GGUF form: per tensor X the F32 tensors `X.in_sum2` `[experts, columns]` and
  /// `X.counts` `[experts, 1]`.
  init(gguf file: GGUFFile) throws(FormatError) {
    let path = file.files[0]
    try Self.checkMetadata(file.metadata, path)
    var pairs: [ExactString: (sums: TensorDescriptor?, counts: TensorDescriptor?)] = [:]
    for tensor in file.tensors {
      let name = tensor.name.string
      if name.hasSuffix(Key.sumSuffix) {
        pairs[ExactString(String(name.dropLast(Key.sumSuffix.count))), default: (nil, nil)].sums =
          tensor
      } else if name.hasSuffix(Key.countSuffix) {
        pairs[ExactString(String(name.dropLast(Key.countSuffix.count))), default: (nil, nil)]
          .counts = tensor
      }
    }
    guard !pairs.isEmpty else {
      throw FormatError(
        file: path, field: "imatrix", reason: .missing("tensors named *\(Key.sumSuffix)"))
    }
    var entries: [ExactString: Entry] = [:]
    entries.reserveCapacity(pairs.count)
    for (name, pair) in pairs.sorted(by: { $0.key < $1.key }) {
      guard let sums = pair.sums, let counts = pair.counts else {
        let suffix = pair.sums == nil ? Key.sumSuffix : Key.countSuffix
        throw FormatError(
          file: path, field: "imatrix[\(name)]", reason: .missing("tensor \(name)\(suffix)"))
      }
      entries[name] = try Self.entry(sums, counts, file)
    }
    let names = file.metadata[Key.datasets]?.strings
    self.init(
      entries: entries,
      datasets: names.map { names in names.indices.map { names.text($0) } } ?? [],
      chunkCount: file.metadata[Key.chunkCount]?.int ?? 0,
      chunkSize: file.metadata[Key.chunkSize]?.int ?? 0, file: path)
  }

  private static func checkMetadata(_ metadata: Metadata, _ path: String) throws(FormatError) {
    if let type = metadata[Key.type], type != .string(Key.importanceType) {
      throw FormatError(
        file: path, field: Key.type,
        reason: .unsupported(found: type.string ?? "\(type.ggufType)", allowed: Key.importanceType),
        advice: advice)
    }
    for key in [Key.datasets, Key.chunkCount, Key.chunkSize] {
      guard let value = metadata[key] else {
        throw FormatError(
          file: path, field: "gguf.kv", reason: .missing("key \(key)"),
          advice: advice)
      }
      if key == Key.datasets, value.strings != nil { continue }
      if key != Key.datasets, case .uint32 = value { continue }
      throw FormatError(
        file: path, field: key,
        reason: .outOfRange(
          found: "a value of type \(value.ggufType)",
          allowed: key == Key.datasets ? "an array of strings" : "uint32"))
    }
    if let count = metadata[Key.chunkCount]?.int, Int32(exactly: count) == nil {
      throw FormatError(
        file: path, field: Key.chunkCount,
        reason: .outOfRange(found: "\(count)", allowed: "0 to \(Int32.max)"))
    }
  }

  private static func entry(
    _ sums: TensorDescriptor, _ counts: TensorDescriptor, _ file: GGUFFile
  ) throws(FormatError) -> Entry {
    let experts = counts.elementCount
    let path = file.files[0]
    guard experts > 0, sums.elementCount > 0, sums.elementCount % experts == 0 else {
      throw FormatError(
        file: path, fileOffset: sums.regions[0].fileOffset, field: sums.name.string,
        reason: .inconsistent(
          "has \(sums.elementCount) sums for \(experts) counts, which does not divide"))
    }
    let values = try readFloats(sums, file)
    try checkSums(
      values, file: path, fileOffset: sums.regions[0].fileOffset, field: sums.name.string)
    let rawCounts = try readFloats(counts, file)
    try checkSums(
      rawCounts, file: path, fileOffset: counts.regions[0].fileOffset, field: counts.name.string)
    return Entry(
      sums: values, counts: rawCounts.map { $0.rounded(.toNearestOrAwayFromZero) })
  }

  private static func readFloats(_ tensor: TensorDescriptor, _ file: GGUFFile)
    throws(FormatError) -> [Float]
  {
    guard tensor.type == .f32 else {
      throw FormatError(
        file: file.files[0], field: tensor.name.string,
        reason: .unsupported(found: tensor.type.name, allowed: "F32"))
    }
    return try littleEndianFloats(count: tensor.elementCount) { buffer throws(FormatError) in
      try file.read(tensor, at: 0, into: buffer)
    }
  }
}

/// Reads little-endian float32 numbers straight into their array.
///
/// - Parameters:
///   - count: already compared with the bytes of the file.
///   - read: fills the buffer of four bytes each, or throws.
/// - Returns: `count` numbers.
/// - Throws: what `read` throws.
func littleEndianFloats(
  count: Int, _ read: (UnsafeMutableRawBufferPointer) throws(FormatError) -> Void
) throws(FormatError) -> [Float] {
  var failure: FormatError?
  let values = [Float](unsafeUninitializedCapacity: count) { buffer, initializedCount in
    let target = UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: 4 * count)
    do throws(FormatError) {
      try read(target)
      for index in 0..<count {
        buffer[index] = Float(bitPattern: UInt32(littleEndian: buffer[index].bitPattern))
      }
      initializedCount = count
    } catch {
      failure = error
    }
  }
  if let failure { throw failure }
  return values
}
