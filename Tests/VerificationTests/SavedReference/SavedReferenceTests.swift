import ByteIO
import TestSupport
import Testing
import Verification

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

private let vocabularySize = 300
private let favouriteCount = 16

private struct Numbers {
  var state: UInt64
  mutating func next() -> Double {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Double(state >> 11) / Double(1 << 53)
  }
}

private func logProbabilities(_ numbers: inout Numbers) -> [Double] {
  let logits = (0..<vocabularySize).map { _ in numbers.next() * 12 }
  let normaliser = log(logits.reduce(0) { $0 + exp($1) })
  return logits.map { $0 - normaliser }
}

private func record(_ logs: [Double], target: Int, count: Int) -> ReferenceRecord {
  let favourites = logs.indices.sorted { logs[$0] > logs[$1] }.prefix(count)
  return ReferenceRecord(
    targetLogProbability: logs[target],
    favourites: favourites.map { (Int32($0), Float(logs[$0])) }, logNormaliser: 0)
}

private func text(chunkCount: Int) throws -> ScoringText {
  let tokens = (0..<Int32(chunkCount * 8 + 3)).map { $0 % Int32(vocabularySize) }
  return try ScoringText(
    path: "some text", byteCount: 1234, allTokens: tokens, contextLength: 8, chunkLimit: nil,
    beginningOfText: 1)
}

private func write(_ path: String, chunkCount: Int = 3) throws -> [ReferenceRecord] {
  var numbers = Numbers(state: 5)
  let text = try text(chunkCount: chunkCount)
  let records = (0..<text.scoredPositionCount).map { index in
    record(logProbabilities(&numbers), target: index, count: favouriteCount)
  }
  let header = SavedReferenceHeader(
    text: text, vocabularySize: vocabularySize, favouriteCount: favouriteCount,
    vocabularyChecksum: 0x1234_5678,
    side: VerificationResult.Side(
      path: "a model", kind: .checkpoint, byteCount: 99, weightCount: 42, bitsPerWeight: 16,
      type: "BF16"))
  var writer = try SavedReferenceWriter(path, header)
  try writer.append(Array(records.prefix(4)))
  try writer.append(Array(records.dropFirst(4)))
  try writer.commit()
  return records
}

@Test func savedReferenceComesBack() throws {
  let folder = TemporaryFolder()
  let path = folder.file("x.reference")
  let records = try write(path)
  #expect(SavedReference.isOne(path))
  let saved = try SavedReference(path)
  #expect(saved.text == (try text(chunkCount: 3)))
  #expect(saved.side.path == "a model" && saved.side.weightCount == 42)
  #expect(saved.vocabularyChecksum == 0x1234_5678 && saved.vocabularySize == vocabularySize)
  #expect(try saved.records(ofChunks: 0..<3) == records)
  #expect(try saved.records(ofChunks: 1..<2) == Array(records[3..<6]))
}

@Test func damagedSavedReferencesAreRefused() throws {
  let folder = TemporaryFolder()
  _ = try write(folder.file("whole"))
  let bytes = try PositionalFile.readAll(folder.file("whole"), limit: 1 << 20)
  for count in 0..<bytes.count {
    let path = folder.write("cut", Array(bytes.prefix(count)))
    #expect(throws: FormatError.self, "\(count) bytes") { try SavedReference(path) }
  }
  for place in stride(from: 0, to: bytes.count, by: 7) {
    for bit in [0, 7] {
      var damaged = bytes
      damaged[place] ^= 1 << UInt8(bit)
      let path = folder.write("damaged", damaged)
      #expect(throws: FormatError.self, "byte \(place)") { try SavedReference(path) }
    }
  }
  let longer = folder.write("longer", bytes + [0])
  #expect(throws: FormatError.self) { try SavedReference(longer) }
}

/// Numbers with a right checksum that still make no sense.
@Test func senselessRecordsAreRefused() throws {
  var numbers = Numbers(state: 1)
  let good = record(logProbabilities(&numbers), target: 3, count: favouriteCount)
  #expect(good.fault(vocabularySize: vocabularySize) == nil)
  func broken(_ change: (inout ReferenceRecord) -> Void) -> String? {
    var record = good
    change(&record)
    return record.fault(vocabularySize: vocabularySize)
  }
  #expect(broken { $0.tokens[0] = 300 } != nil)
  #expect(broken { $0.tokens[0] = -1 } != nil)
  #expect(broken { $0.tokens[0] = $0.tokens[1] } != nil)
  #expect(broken { $0.logProbabilities[0] = 1 } != nil)
  #expect(broken { $0.logProbabilities[2] = .nan } != nil)
  #expect(broken { $0.targetLogProbability = -.infinity } != nil)
  #expect(broken { $0.tailMass = 1.5 } != nil)
  #expect(broken { $0.tailMass = .nan } != nil)
}

/// What is lost is the shape of the tail: the divergence is never larger than the exact one, equal
/// when nothing is lost, and near to it when little is.
@Test func savedDivergenceIsALowerBound() {
  var numbers = Numbers(state: 77)
  for _ in 0..<200 {
    let p = logProbabilities(&numbers)
    var q = p.map { $0 + numbers.next() * 0.5 }
    let normaliser = log(q.reduce(0) { $0 + exp($1) })
    q = q.map { $0 - normaliser }
    let exact = zip(p, q).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) }
    func saved(_ count: Int) -> Double {
      let record = record(p, target: 0, count: count)
      return record.divergence(candidate: record.tokens.map { q[Int($0)] })
    }
    #expect(saved(16) <= exact + 1e-6)
    #expect(saved(16) > 0.1 * exact)
    #expect(saved(64) >= saved(16) - 1e-6)
    #expect(abs(saved(vocabularySize) - exact) < 1e-5)
  }
}
