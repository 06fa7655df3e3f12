import ByteIO
import StrictJSON

/// The beginning of a journal: which conversion it belongs to.
///
///     offset  bytes  field
///          0      8  magic      "ingotjnl"
///          8      4  version    2
///         12      4  byteCount  of the head
///         16      8  hash       XXH3-64 of the head
///         24      …  head       JSON
///          …      …  zeros up to a multiple of 32
///          …    32n  records
///
/// Source: formats/journal.md
package struct JournalHead: Hashable, Sendable {
  /// A file that the conversion writes.
  package struct Output: Hashable, Sendable {
    /// Its name alone where it lies in the journal's folder, else its path.
    package var path: String
    package var byteCount: UInt64
    /// The bytes of it that this journal's share writes.
    package var share: Range<UInt64>
    package init(path: String, byteCount: UInt64, share: Range<UInt64>) {
      self.path = path
      self.byteCount = byteCount
      self.share = share
    }
  }

  package var identity: Identity
  package var outputs: [Output]
  /// `nil` where one machine writes everything.
  package var share: WorkShare?
  /// The words of the command line, to say what has to be run again.
  package var command: [String]

  /// See `ConversionIdentity`.
  package struct Identity: Hashable, Sendable {
    package var run: [String]
    package var local: [String]
    /// Options and small files, as `RunDetails` has them.
    ///
    /// Differences in it alone make no other conversion; they say where those in `run` come from.
    package var details: [String]
    package init(run: [String], local: [String], details: [String] = []) {
      self.run = run
      self.local = local
      self.details = details
    }
  }

  package init(identity: Identity, outputs: [Output], share: WorkShare?, command: [String]) {
    self.identity = identity
    self.outputs = outputs
    self.share = share
    self.command = command
  }

  package static let magic = Array("ingotjnl".utf8)
  package static let version: UInt32 = 2
  package static let prefixByteCount = 24
  /// A split archive has at most 65,535 files, with some hundred bytes each.
  package static let byteLimit = 32 << 20
  /// Most texts or outputs of one list.
  package static let listLimit = 1 << 18

  /// Refuses what could not be read back.
  package func checkSize(_ base: String) throws(OutputError) {
    let byteCount = bytes.count
    let entryCount = max(
      identity.run.count, identity.local.count, identity.details.count, outputs.count,
      command.count)
    guard byteCount - Self.prefixByteCount <= Self.byteLimit, entryCount <= Self.listLimit else {
      throw OutputError(
        path: base, step: .create,
        reason: "its journal would begin with \(byteCount) bytes and lists of \(entryCount) names; "
          + "at most \(Self.byteLimit) and \(Self.listLimit) can be read back",
        advice: "take shorter names, or fewer files")
    }
  }

  /// The file's bytes up to its records.
  package var bytes: [UInt8] {
    let text = Array(json.utf8)
    var bytes = Self.magic
    bytes.append(littleEndian: Self.version)
    bytes.append(littleEndian: UInt32(text.count))
    bytes.append(littleEndian: XXH3.hash64(text))
    bytes += text
    let rest = bytes.count % JournalRecord.byteCount
    if rest > 0 { bytes += [UInt8](repeating: 0, count: JournalRecord.byteCount - rest) }
    return bytes
  }

  /// What records of this conversion carry, so that those of another one are none.
  package var seed: UInt64 {
    var text = identity.run.joined(separator: "\n")
    if let share { text += "\n\(share.number)/\(share.count)" }
    return XXH3.hash64(Array(text.utf8))
  }

  private var json: String {
    var writer = JSONWriter()
    writer.object { json in
      json.key("run")
      json.array { json in for line in identity.run { json.value(line) } }
      json.key("local")
      json.array { json in for line in identity.local { json.value(line) } }
      json.key("details")
      json.array { json in for line in identity.details { json.value(line) } }
      if let share {
        json.key("part")
        json.value(share.number)
        json.key("partCount")
        json.value(share.count)
      }
      json.key("outputs")
      json.array { json in
        for output in outputs {
          json.object { json in
            json.key("path")
            json.value(output.path)
            json.key("bytes")
            json.value(output.byteCount)
            json.key("from")
            json.value(output.share.lowerBound)
            json.key("to")
            json.value(output.share.upperBound)
          }
        }
      }
      json.key("command")
      json.array { json in for word in command { json.value(word) } }
    }
    return writer.text
  }
}

/// A range of an output that was written, and the hash of its bytes.
///
///     offset  bytes  field
///          0      4  output     index into the head's outputs; 0xFFFFFFFF: this share is done;
///                             0xFFFFFFFE: all shares are, and outputs get their names
///          4      4  check      low half of XXH3-64 of the other 28 bytes and the seed
///          8      8  fileOffset
///         16      8  byteCount  at most 1 MiB
///         24      8  hash       of the bytes; see `RangeHash`
///
/// Source: formats/journal.md
package struct JournalRecord: Hashable, Sendable {
  package static let byteCount = 32
  /// So that checking takes a buffer of this size, whatever a journal claims.
  package static let rangeByteLimit = 1 << 20
  package static let done = UInt32.max
  package static let sealed = UInt32.max - 1

  package var output: UInt32
  package var range: Range<UInt64>
  package var hash: UInt64

  package init(output: UInt32, range: Range<UInt64>, hash: UInt64) {
    self.output = output
    self.range = range
    self.hash = hash
  }

  package func append(to bytes: inout [UInt8], seed: UInt64) {
    bytes.append(littleEndian: output)
    bytes.append(littleEndian: check(seed))
    bytes.append(littleEndian: range.lowerBound)
    bytes.append(littleEndian: range.upperBound - range.lowerBound)
    bytes.append(littleEndian: hash)
  }

  /// Takes a record from `bytes`; `nil` where it is damaged or another conversion's.
  package init?(_ bytes: [UInt8], at offset: Int, seed: UInt64) {
    output = bytes.littleEndian(at: offset)
    let start: UInt64 = bytes.littleEndian(at: offset + 8)
    let count: UInt64 = bytes.littleEndian(at: offset + 16)
    hash = bytes.littleEndian(at: offset + 24)
    let (end, overflow) = start.addingReportingOverflow(count)
    guard !overflow, count <= UInt64(Self.rangeByteLimit) else { return nil }
    range = start..<end
    guard check(seed) == bytes.littleEndian(at: offset + 4) else { return nil }
  }

  private func check(_ seed: UInt64) -> UInt32 {
    var hashed: [UInt8] = []
    hashed.reserveCapacity(36)
    hashed.append(littleEndian: output)
    hashed.append(littleEndian: range.lowerBound)
    hashed.append(littleEndian: range.upperBound - range.lowerBound)
    hashed.append(littleEndian: hash)
    hashed.append(littleEndian: seed)
    return UInt32(truncatingIfNeeded: XXH3.hash64(hashed))
  }
}

extension [UInt8] {
  fileprivate mutating func append<T: FixedWidthInteger>(littleEndian value: T) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }

  func littleEndian<T: FixedWidthInteger>(at offset: Int) -> T {
    T(littleEndian: withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: T.self) })
  }
}
