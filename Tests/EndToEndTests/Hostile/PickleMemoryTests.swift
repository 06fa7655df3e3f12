import TestSupport
import Testing

/// Pickles whose values are far larger than their bytes.
private enum Bomb: String, CaseIterable {
  case nothings, texts, tensors, namedTensors, dictionaries

  var pickle: [UInt8] {
    var bytes: [UInt8] = [0x80, 4] + Array("]".utf8)
    switch self {
    case .nothings:
      append(&bytes, Array("N".utf8), 8_000_000)
    case .texts:
      append(&bytes, [0x8C, 16] + [UInt8](repeating: 0x79, count: 16), 1_500_000)
    case .tensors:
      bytes += Self.tensor + Array("a".utf8)
      append(&bytes, Array("h\u{1}h\u{2}R".utf8), 1_000_000)
    case .namedTensors:
      bytes[2] = UInt8(ascii: "}")
      bytes += [0x8C, 1, 0x78] + Self.tensor + Array("s".utf8)
      for start in stride(from: 0, to: 800_000, by: 20_000) {
        bytes += Array("(".utf8)
        for index in start..<(start + 20_000) {
          let name = Array("\(index)".utf8)
          bytes += [0x8C, UInt8(name.count)] + name + Array("h\u{1}h\u{2}R".utf8)
        }
        bytes += Array("u".utf8)
      }
    case .dictionaries:
      bytes += Array("q\u{1}(".utf8)
      for _ in 0..<32_000 { bytes += Array("NN\u{86}".unicodeScalars.map { UInt8($0.value) }) }
      bytes += Array("e](".utf8)
      for _ in 0..<500 {
        bytes += Array("ccollections\nOrderedDict\nh\u{1}".utf8) + [0x85] + Array("R".utf8)
      }
      bytes += Array("e".utf8)
    }
    return bytes + Array(".".utf8)
  }

  /// A tensor of 64 dimensions; its constructor and arguments are memo entries 1 and 2.
  private static var tensor: [UInt8] {
    let ones = Array("(".utf8) + [UInt8](repeating: 0, count: 64).flatMap { _ in [0x4B, 1] }
    var bytes = Array(
      "ctorch._utils\n_rebuild_tensor_v2\nq\u{1}((\u{8C}".unicodeScalars.map {
        UInt8($0.value)
      })
    bytes += [7] + Array("storagectorch\nFloatStorage\n".utf8) + [0x8C, 1, 0x30, 0x8C, 3]
    bytes += Array("cpuK\u{1}tQK".utf8) + [0] + ones + Array("t".utf8) + ones + Array("t".utf8)
    return bytes + [0x89] + Array("Ntq\u{2}R".utf8)
  }

  /// Many of the same in as few containers as the stack allows.
  private func append(_ bytes: inout [UInt8], _ item: [UInt8], _ count: Int) {
    let list = Array("(".utf8) + (0..<60_000).flatMap { _ in item } + Array("e".utf8)
    for _ in 0..<(count / 60_000) { bytes += list }
  }
}

/// Refused, with little memory: what a pickle makes is bounded by its bytes.
@Test(arguments: Bomb.allCases)
private func picklesAreNotWorthMoreMemoryThanTheyHaveBytes(_ bomb: Bomb) {
  let folder = TemporaryFolder()
  let path = folder.write(
    "bomb.pt", TorchArchive.bytes(pickle: bomb.pickle, records: [[0, 0, 0, 0]]))
  let result = Command.ingot(addressSpace: 224, ["inspect", path])
  #expect(result.status == 65, "\(result.status) \(result.error)")
  #expect(result.error.contains("bytes of values"), "\(result.error)")
  #expect(isOfOrder(result.processorSeconds, of: 2))
}
