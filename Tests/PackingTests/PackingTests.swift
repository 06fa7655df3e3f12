import ByteIO
import Packing
import Tensors
import TestSupport
import Testing
import Threads

/// Packs with small limits for memory, and unpacks.
func pack(
  _ input: String, to output: String, threads: Int = 2,
  _ change: (inout PackingOptions) -> Void = { _ in }
) throws -> PackingSummary {
  var options = PackingOptions()
  change(&options)
  return try Packer(
    input, output: output, options: options, threadCount: threads, memoryLimit: testMemoryLimit
  ).run()
}

func unpack(_ input: String, to output: String?) throws -> UnpackingSummary {
  try Unpacker(input, threadCount: 2, memoryLimit: testMemoryLimit).run(to: output)
}

/// A safetensors file of one tensor of each type, with weights whose exponents repeat.
func manyTypes(_ generator: inout SplitMix64) -> [UInt8] {
  let types: [(String, Int)] = [
    ("F64", 8), ("F32", 4), ("F16", 2), ("BF16", 2), ("I64", 8), ("I32", 4), ("I16", 2), ("I8", 1),
    ("U8", 1), ("BOOL", 1), ("F8_E4M3", 1), ("C64", 8),
  ]
  var header: [String] = []
  var data: [UInt8] = []
  for (index, (name, width)) in types.enumerated() {
    let count = 30_000 + 1_117 * index
    let start = data.count
    for _ in 0..<count {
      var bits = generator.next()
      if name == "BF16" || name == "F32" || name == "F16" {
        let value = Float(Int64(truncatingIfNeeded: bits) >> 40) / 16_777_216
        bits =
          switch name {
          case "BF16": UInt64(value.bitPattern >> 16)
          case "F16": UInt64(Float16(value).bitPattern)
          default: UInt64(value.bitPattern)
          }
      }
      for byte in 0..<width { data.append(UInt8(truncatingIfNeeded: bits >> UInt64(8 * byte))) }
    }
    header.append(
      #""t\#(index)":{"dtype":"\#(name)","shape":[\#(count)],"data_offsets":[\#(start),\#(data.count)]}"#
    )
  }
  let text = Array("{\(header.joined(separator: ","))}".utf8)
  return littleEndian(UInt64(text.count)) + text + data
}

@Test func everyTypeAndCodecRestoresTheSameBytes() throws {
  let folder = TemporaryFolder()
  var generator = SplitMix64(seed: 1)
  let bytes = manyTypes(&generator)
  let input = folder.write("model.safetensors", bytes)
  let choices: [(PackingOptions.Codec, Int?, PackingOptions.Format)] = [
    (.auto, nil, .ingot), (.zstd, nil, .ingot), (.lz4, nil, .ingot), (.auto, 1, .ingot),
    (.zstd, 19, .ingot), (.lz4, 9, .ingot), (.auto, nil, .seekableZstd), (.zstd, 10, .seekableZstd),
  ]
  for (codec, level, format) in choices {
    let output = folder.file("packed")
    let summary = try pack(input, to: output) {
      $0.codec = codec
      $0.level = level
      $0.format = format
    }
    #expect(summary.contentByteCount == UInt64(bytes.count))
    // Most of these bytes are noise.
    if codec != .lz4 { #expect(summary.ratio < (format == .ingot ? 0.97 : 0.99)) }
    let file = try PositionalFile(output)
    #expect(try file.read(at: 0, count: bytes.count) == bytes)
    for _ in 0..<200 {
      let start = Int.random(in: 0..<bytes.count, using: &generator)
      let count = Int.random(in: 0...min(400_000, bytes.count - start), using: &generator)
      #expect(try file.read(at: UInt64(start), count: count) == Array(bytes[start..<start + count]))
    }
    #expect(throws: FormatError.self) { try file.read(at: file.byteCount - 1, count: 2) }
    _ = try unpack(output, to: folder.file("restored"))
    #expect(
      try PositionalFile(plain: folder.file("restored")).read(at: 0, count: bytes.count) == bytes)
    _ = try unpack(output, to: nil)
  }
}

@Test func sizesAroundFramesRestoreTheSameBytes() throws {
  let folder = TemporaryFolder()
  let frame = 256 << 10
  for count in [0, 1, 7, frame - 1, frame, frame + 1, 255 * 1024] {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 3) }
    let input = folder.write("input", bytes)
    for format in PackingOptions.Format.allCases {
      _ = try pack(input, to: folder.file("packed")) { $0.format = format }
      #expect(try PositionalFile.readAll(folder.file("packed"), limit: 1 << 20) == bytes)
      _ = try unpack(folder.file("packed"), to: folder.file("restored"))
      #expect(try PositionalFile.readAll(folder.file("restored"), limit: 1 << 20) == bytes)
    }
  }
}

@Test func bytesDoNotDependOnThreads() throws {
  let folder = TemporaryFolder()
  var generator = SplitMix64(seed: 2)
  let input = folder.write("in/model.safetensors", manyTypes(&generator))
  folder.write("in/config.json", "{}")
  for format in PackingOptions.Format.allCases {
    let what = format == .ingot ? folder.file("in") : input
    _ = try pack(what, to: folder.file("one"), threads: 1) { $0.format = format }
    let one = try PositionalFile(plain: folder.file("one"))
    for threads in [2, 3, 8, 64] {
      _ = try pack(what, to: folder.file("many"), threads: threads) { $0.format = format }
      let many = try PositionalFile(plain: folder.file("many"))
      #expect(many.byteCount == one.byteCount)
      #expect(
        try many.read(at: 0, count: Int(many.byteCount))
          == one.read(at: 0, count: Int(one.byteCount)), "\(threads) threads")
    }
  }
}

/// A tensor is read though every frame but its own is damaged: no other is looked at.
@Test func oneTensorReadsOnlyItsFrames() throws {
  let folder = TemporaryFolder()
  let count = 1 << 20
  let header =
    #"{"a":{"dtype":"U8","shape":[1048576],"data_offsets":[0,1048576]},"#
    + #""b":{"dtype":"BF16","shape":[524288],"data_offsets":[1048576,2097152]},"#
    + #""c":{"dtype":"U8","shape":[1048576],"data_offsets":[2097152,3145728]}}"#
  var bytes = littleEndian(UInt64(header.utf8.count)) + Array(header.utf8)
  let dataStart = bytes.count
  bytes += (0..<3 * count).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) }
  let input = folder.write("model.safetensors", bytes)
  _ = try pack(input, to: folder.file("packed"))
  var packed = try PositionalFile(plain: folder.file("packed")).read(
    at: 0, count: Int(PositionalFile(plain: folder.file("packed")).byteCount))
  let archive = try #require(try OpenedPacked(PositionalFile(plain: folder.file("packed"))))
  let content = archive.content
  let wanted = UInt64(dataStart + count)..<UInt64(dataStart + 2 * count)
  var damagedCount = 0
  for index in 0..<content.frameCount {
    let frame = content.contentFrame(index)
    guard !frame.content.overlaps(wanted) else { continue }
    for place in try content.place(of: frame) { packed[Int(place)] = 0xFF }
    damagedCount += 1
  }
  #expect(damagedCount == content.frameCount - 4)
  let file = try PositionalFile(folder.write("damaged", packed))
  #expect(
    try file.read(at: wanted.lowerBound, count: count)
      == Array(bytes[Int(wanted.lowerBound)..<Int(wanted.upperBound)]))
  #expect(throws: FormatError.self) { try file.read(at: wanted.upperBound, count: 1) }
  #expect(throws: FormatError.self) { try file.read(at: wanted.lowerBound - 1, count: 1) }
}

@Test func layoutsAreThoseOfTheFormatPage() throws {
  let rows = try MarkdownTable(page: "packed-archive.md", columns: ["types", "layout"]).rows
  var told: Set<TensorType> = []
  for row in rows {
    let layout = try #require(row["layout"]).filter { $0 != "`" }
    let number = try #require(UInt8(layout.dropFirst(2), radix: 16))
    let names = try #require(row["types"]).split(separator: ",").map { $0.filter { $0 != " " } }
    for name in names where name != "allothers" {
      let type = try #require(TensorType(name: String(name)), "\(name)")
      told.insert(type)
      #expect(PackedLayout(type).rawValue == number, "\(type)")
    }
  }
  for type in TensorType.allCases where !told.contains(type) {
    #expect(PackedLayout(type) == .bytes, "\(type)")
  }
  #expect(Set(rows.compactMap { $0["layout"] }).count == PackedLayout.allCases.count)
}
