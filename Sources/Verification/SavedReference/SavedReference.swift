import ByteIO
import ForwardRuns

/// A reference's predictions in a file, so that a later run needs neither its weights nor the text.
///
/// Source: formats/verification/saved-reference.md
package struct SavedReference: Sendable {
  /// Tokens that are kept per scored position.
  package struct KeptCounts: Hashable, Sendable {
    /// The most probable ones.
    package var favourites: Int
    /// Sampled from the others.
    package var samples: Int

    package init(favourites: Int, samples: Int) {
      self.favourites = favourites
      self.samples = samples
    }

    /// What is kept unless told otherwise; never more than there are.
    package init(vocabularySize: Int) {
      favourites = min(64, vocabularySize)
      samples = min(32, vocabularySize - favourites)
    }

    var total: Int { favourites + samples }
  }

  let file: PositionalFile
  let header: SavedReferenceHeader
  /// Where the first record lies.
  private let recordOffset: UInt64

  /// Whether a file is one, by its first bytes.
  ///
  /// - Throws: when the file cannot be read.
  package static func isOne(_ path: String) throws(FormatError) -> Bool {
    do throws(FormatError) {
      let file = try PositionalFile(path)
      guard file.byteCount >= 8 else { return false }
      return try file.read(at: 0, count: 8) == SavedReferenceHeader.magic
    } catch {
      if case .readFailed = error.reason { throw error }
      // Who opens it as a model says what it is instead.
      return false
    }
  }

  /// Opens a file and checks its header, its length and its checksum.
  package init(_ path: String) throws(FormatError) {
    file = try PositionalFile(path)
    var cursor = FileCursor(file)
    header = try SavedReferenceHeader(&cursor)
    recordOffset = cursor.offset
    let recordBytes = UInt64(ReferenceRecord.byteCount(header.keptCounts))
    // At most 2^24 chunks × 2^19 positions × 2^17 bytes: below 2^63.
    let end = recordOffset + UInt64(header.text.scoredPositionCount) * recordBytes
    guard file.byteCount == end + 4 else {
      throw FormatError(
        file: path, fileOffset: recordOffset, field: "records",
        reason: .inconsistent(
          "the file has \(file.byteCount) bytes, its header means \(end + 4)"))
    }
    try checkSum(upTo: end)
  }

  private func checkSum(upTo end: UInt64) throws(FormatError) {
    var checksum = CRC32()
    var offset: UInt64 = 0
    while offset < end {
      let count = Int(min(1 << 20, end - offset))
      checksum.update(try file.read(at: offset, count: count, field: "records"))
      offset += UInt64(count)
    }
    var cursor = FileCursor(file, from: end)
    let stored: UInt32 = try cursor.readInteger("checksum")
    guard stored == checksum.value else {
      throw FormatError(
        file: file.path, fileOffset: end, field: "checksum",
        reason: .inconsistent("the file was damaged: its checksum does not fit its bytes"),
        advice: "save the reference again")
    }
  }

  package var text: ChunkedText { header.text }
  /// CRC-32 of the text's bytes.
  package var textChecksum: UInt32 { header.textChecksum }
  package var side: VerificationResult.Side { header.side }
  package var vocabularySize: Int { header.vocabularySize }
  package var vocabularyChecksum: UInt32 { header.vocabularyChecksum }

  /// The records of some chunks.
  package func records(ofChunks chunks: Range<Int>) throws(FormatError) -> [ReferenceRecord] {
    let recordBytes = ReferenceRecord.byteCount(header.keptCounts)
    let perChunk = text.scoredPositions.count
    let start = recordOffset + UInt64(chunks.lowerBound * perChunk * recordBytes)
    let bytes = try file.read(
      at: start, count: chunks.count * perChunk * recordBytes, field: "records")
    var records: [ReferenceRecord] = []
    records.reserveCapacity(chunks.count * perChunk)
    for index in 0..<chunks.count * perChunk {
      let record = bytes.withUnsafeBytes {
        ReferenceRecord(
          UnsafeRawBufferPointer(rebasing: $0[(index * recordBytes)...]),
          header.keptCounts)
      }
      if let fault = record.fault(vocabularySize: vocabularySize) {
        throw FormatError(
          file: file.path, fileOffset: start + UInt64(index * recordBytes), field: "record",
          reason: .malformed(fault))
      }
      records.append(record)
    }
    return records
  }
}

/// Writes a saved reference, record after record.
package struct SavedReferenceWriter {
  private let file: OutputFile
  private var offset: UInt64 = 0
  private var checksum = CRC32()
  private let keptCounts: SavedReference.KeptCounts

  package init(_ file: OutputFile, _ header: SavedReferenceHeader) throws(OutputError) {
    self.file = file
    keptCounts = header.keptCounts
    try append(header.bytes)
  }

  package mutating func append(_ records: [ReferenceRecord]) throws(OutputError) {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(
      records.count * ReferenceRecord.byteCount(keptCounts))
    for record in records { record.append(to: &bytes) }
    try append(bytes)
  }

  /// Adds the checksum and gives the file its name.
  package mutating func commit() throws(OutputError) {
    let value = checksum.value
    try append(withUnsafeBytes(of: value.littleEndian) { Array($0) })
    try file.commit()
  }

  private mutating func append(_ bytes: [UInt8]) throws(OutputError) {
    try file.write(bytes, at: offset)
    checksum.update(bytes)
    offset += UInt64(bytes.count)
  }
}
