import ByteIO
import ForwardRuns
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
private let sampleCount = 12

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

/// What a reference keeps of a distribution at one position.
private func record(
  _ logs: [Double], position: Int, target: Int,
  _ counts: SavedReference.KeptCounts = .init(favourites: favouriteCount, samples: sampleCount)
) -> ReferenceRecord {
  var favourites = LogitSelection(positionCount: 1, limit: counts.favourites)
  var sample = LogitSelection(
    positionCount: 1, limit: counts.favourites + counts.samples + 1,
    noise: GumbelNoise(firstPosition: position))
  let logits = logs.map(Float.init)
  logits.withUnsafeBufferPointer { logits in
    // In two runs, the later first, and merged from two workers.
    let half = logits.count / 2
    let parts = [
      (UnsafeBufferPointer(rebasing: logits[half...]), half),
      (UnsafeBufferPointer(rebasing: logits[..<half]), 0),
    ]
    for (part, start) in parts {
      var worker = (
        LogitSelection(positionCount: 1, limit: counts.favourites),
        LogitSelection(
          positionCount: 1, limit: counts.favourites + counts.samples + 1,
          noise: GumbelNoise(firstPosition: position))
      )
      worker.0.add(part, firstToken: start, position: 0)
      worker.1.add(part, firstToken: start, position: 0)
      favourites.merge(worker.0)
      sample.merge(worker.1)
    }
  }
  return ReferenceRecord(
    target: Float(logs[target]),
    kept: KeptLogits(
      favourites: favourites.sorted(position: 0), candidates: sample.sorted(position: 0),
      sampleCount: counts.samples), logNormaliser: 0)
}

private func text(chunkCount: Int) throws -> ChunkedText {
  let tokens = (0..<Int32(chunkCount * 8 + 3)).map { $0 % Int32(vocabularySize) }
  return try ChunkedText(
    path: "some text", byteCount: 1234, allTokens: tokens, contextLength: 8, chunkLimit: nil,
    beginningOfText: 1)
}

private func write(_ path: String, chunkCount: Int = 3) throws -> [ReferenceRecord] {
  var numbers = Numbers(state: 5)
  let text = try text(chunkCount: chunkCount)
  let records = (0..<text.scoredPositionCount).map { index in
    record(logProbabilities(&numbers), position: index, target: index)
  }
  let header = SavedReferenceHeader(
    text: text, vocabularySize: vocabularySize,
    keptCounts: .init(favourites: favouriteCount, samples: sampleCount),
    vocabularyChecksum: 0x1234_5678, textChecksum: 0x9ABC_DEF0,
    side: VerificationResult.Side(
      path: "a model", kind: .checkpoint, byteCount: 99, weightCount: 42, bitsPerWeight: 16,
      type: "BF16"))
  var writer = try SavedReferenceWriter(OutputFile(path), header)
  try writer.append(Array(records.prefix(4)))
  try writer.append(Array(records.dropFirst(4)))
  try writer.commit()
  return records
}

@Test func savedReferenceComesBack() throws {
  let folder = TemporaryFolder()
  let path = folder.file("x.reference")
  let records = try write(path)
  #expect(try SavedReference.isOne(path))
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
  let good = record(logProbabilities(&numbers), position: 0, target: 3)
  #expect(good.fault(vocabularySize: vocabularySize) == nil)
  func broken(_ change: (inout ReferenceRecord) -> Void) -> String? {
    var record = good
    change(&record)
    return record.fault(vocabularySize: vocabularySize)
  }
  #expect(broken { $0.favourites[0].token = 300 } != nil)
  #expect(broken { $0.samples[0].token = -1 } != nil)
  #expect(broken { $0.favourites[0].token = $0.samples[1].token } != nil)
  #expect(broken { $0.favourites[0].logProbability = 1 } != nil)
  #expect(broken { $0.samples[2].logProbability = .nan } != nil)
  #expect(broken { $0.targetLogProbability = -.infinity } != nil)
  #expect(broken { $0.tailMass = 1.5 } != nil)
  #expect(broken { $0.tailMass = .nan } != nil)
  #expect(broken { $0.sampleThreshold = .nan } != nil)
  // No distribution: probabilities of next to nothing, or far too much.
  #expect(
    broken { record in
      for index in record.favourites.indices { record.favourites[index].logProbability = -1000 }
      record.tailMass = 0
    } != nil)
  #expect(broken { $0.tailMass = 0 } != nil)
  #expect(broken { $0.favourites.swapAt(0, 5) } != nil)
  #expect(
    broken { record in
      for index in record.samples.indices { record.samples[index].logProbability = -0.5 }
    } != nil)
  #expect(broken { $0.sampleThreshold = .infinity } != nil)
}

private func divergence(_ p: [Double], _ q: [Double]) -> Double {
  zip(p, q).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) }
}

/// Distributions near `p`, and their divergences, exact and from what is kept.
private func divergences(
  count: Int, _ counts: SavedReference.KeptCounts
) -> [(exact: Double, saved: Double)] {
  var numbers = Numbers(state: 77)
  return (0..<count).map { position in
    let p = logProbabilities(&numbers)
    var q = p.map { $0 + numbers.next() * 0.5 }
    let normaliser = log(q.reduce(0) { $0 + exp($1) })
    q = q.map { $0 - normaliser }
    let record = record(p, position: position, target: 0, counts)
    return (
      divergence(p, q), record.divergence(candidate: record.allTokens.map { q[Int($0)] })
    )
  }
}

/// What is lost at one position is made up for by others: the mean is right.
@Test func savedDivergenceIsUnbiased() {
  let pairs = divergences(count: 4000, .init(favourites: 16, samples: 12))
  let exact = pairs.reduce(0) { $0 + $1.exact } / 4000
  let saved = pairs.reduce(0) { $0 + $1.saved } / 4000
  let spread = pairs.reduce(0) { $0 + ($1.saved - $1.exact) * ($1.saved - $1.exact) } / 4000
  // Three standard errors of the estimates.
  let tolerance = 3 * (spread / 4000).squareRoot()
  #expect(tolerance < 0.1 * exact, "\(tolerance) \(exact)")
  #expect(abs(saved - exact) < tolerance, "\(saved) \(exact) ± \(tolerance)")
  // Without the sample the tail would count as one token, and the mean would be far below.
  let bare = divergences(count: 400, .init(favourites: 16, samples: 0))
  #expect(bare.allSatisfy { $0.saved < $0.exact + 1e-6 })
  #expect(
    bare.reduce(0) { $0 + $1.saved } < 0.8 * bare.reduce(0) { $0 + $1.exact })
}

/// Nothing is lost when everything is kept, by either way.
@Test(arguments: [(300, 0), (100, 200), (1, 299)])
func savedDivergenceOfEverythingIsExact(_ favourites: Int, _ samples: Int) {
  for pair in divergences(count: 20, .init(favourites: favourites, samples: samples)) {
    #expect(abs(pair.saved - pair.exact) < 1e-5, "\(pair)")
  }
}

@Test func noiseIsBoundedAndSpread() {
  let noise = GumbelNoise(firstPosition: 0)
  var sum = 0.0
  for token in 0..<20_000 {
    let bits = noise.bits(position: token / 100, token: token)
    #expect(GumbelNoise.value(bits) <= GumbelNoise.bound(bits))
    sum += Double(GumbelNoise.value(bits))
  }
  for bits in [UInt64.min, 1, .max, .max - 1, 1 << 63, 0xFFFF_FFFF_0000_0000] {
    #expect(GumbelNoise.value(bits).isFinite)
    #expect(GumbelNoise.value(bits) <= GumbelNoise.bound(bits))
  }
  // The mean of the distribution is Euler's constant, its deviation π / √6.
  #expect(abs(sum / 20_000 - 0.5772) < 4 * 1.2825 / 20_000.squareRoot())
  #expect(
    GumbelNoise(firstPosition: 5).bits(position: 2, token: 9)
      == noise.bits(position: 7, token: 9))
}

/// Changed fields with a checksum that fits: header, texts, tokens and records.
@Test func changedSavedReferencesAreRefusedOrSound() throws {
  let folder = TemporaryFolder()
  _ = try write(folder.file("whole"), chunkCount: 2)
  let bytes = try PositionalFile.readAll(folder.file("whole"), limit: 1 << 20)
  func number(_ at: Int, _ byteCount: Int) -> StructuredFile.Field {
    .integer(
      (0..<byteCount).reduce(0) { $0 | UInt64(bytes[at + $1]) << UInt64($1 * 8) },
      byteCount: byteCount)
  }
  // As the page's table has it.
  var fields: [StructuredFile.Field] = [.bytes(Array(bytes[..<8]))]
  fields += stride(from: 8, to: 40, by: 4).map { number($0, 4) }
  fields += stride(from: 40, to: 80, by: 8).map { number($0, 8) } + [number(80, 4), number(84, 4)]
  var place = 88
  for _ in 0..<4 {
    let count = Int(bytes[place]) | Int(bytes[place + 1]) << 8
    fields.append(.counted(Array(bytes[place + 4..<place + 4 + count]), countByteCount: 4))
    place += 4 + count
  }
  fields += stride(from: place, to: bytes.count - 4, by: 4).map { number($0, 4) }
  let sound = StructuredFile(fields)
  #expect(sound.bytes == bytes.dropLast(4))

  var generator = SplitMix64(seed: 4)
  var accepted = 0
  for index in 0..<3000 {
    var changed = sound.mutated(by: &generator)
    var checksum = CRC32()
    checksum.update(changed)
    let value = checksum.value
    changed += (0..<4).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
    let path = folder.write("changed", changed)
    do throws(FormatError) {
      let saved = try SavedReference(path)
      _ = try saved.records(ofChunks: 0..<1)
      accepted += 1
    } catch {
      #expect(!"\(error)".contains("\n"), "case \(index): \(error)")
    }
  }
  #expect(accepted > 30 && accepted < 3000, "\(accepted)")
}
