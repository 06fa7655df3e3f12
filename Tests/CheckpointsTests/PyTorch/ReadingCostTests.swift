import ByteIO
import Checkpoints
import TestSupport
import Testing

/// A megabyte of names takes a small part of a second.
@Test func namesCostLittle() throws {
  let name = Array("ctorch\nfloat32\n".utf8)
  var pickle = PickleBytes().op(.EMPTY_LIST).bytes
  let list = [PickleOpcode.MARK.rawValue] + (0..<60_000).flatMap { _ in name }
  for _ in 0..<16 { pickle += list + [PickleOpcode.APPENDS.rawValue] }
  pickle.append(PickleOpcode.STOP.rawValue)
  let folder = TemporaryFolder()
  let path = folder.write("names.pt", TorchArchive.bytes(pickle: pickle))
  let time = processorTime {
    let error = #expect(throws: FormatError.self) { try PyTorchFile(path) }
    #expect(error.map { "\($0)".contains("found a list") } == true)
  }
  #expect(isOfOrder(time, of: 1), "\(time) s for \(pickle.count) bytes")
}

/// Entries that are far apart, in both directions alike: each costs itself, not what lies between.
@Test func scatteredEntriesAreReadAlone() throws {
  let (rows, columns, step) = (256, 16, 4096)
  let elementCount = (rows + columns) * step
  let pickle = PickleBytes().dictionary {
    $0.text("t").tensor(
      "0", storageCount: elementCount, shape: [columns, rows], strides: [step, step])
  }.op(.STOP)
  let folder = TemporaryFolder()
  let path = folder.write(
    "scattered.pt", TorchArchive.bytes(pickle: pickle.bytes, records: [floats(elementCount)]))
  let file = try PyTorchFile(path)
  let tensor = file.tensors[0]
  var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
  let count = try byteCountRead {
    try bytes.withUnsafeMutableBytes { try file.read(tensor, at: 0, into: $0) }
  }
  let expected = (0..<columns).flatMap { column in
    (0..<rows).flatMap { littleEndian(Float(($0 + column) * step).bitPattern) }
  }
  #expect(bytes == expected)
  if let count { #expect(count < 2 * bytes.count, "\(count) bytes read for \(bytes.count)") }
}

/// What was read twice, or in pieces that overlap, is not read again for its checksum.
@Test func checksumsCostNoSecondReading() throws {
  let elementCount = 1 << 18
  let pickle = PickleBytes().dictionary {
    $0.text("t").tensor("0", storageCount: elementCount, shape: [elementCount], strides: [1])
  }.op(.STOP)
  let folder = TemporaryFolder()
  let path = folder.write(
    "whole.pt", TorchArchive.bytes(pickle: pickle.bytes, records: [floats(elementCount)]))
  let file = try PyTorchFile(path)
  let byteCount = file.tensors[0].byteCount
  let pieces = [0..<4096, 8192..<12_288, 100..<300_000, 0..<byteCount, byteCount - 7..<byteCount]
  let wanted = pieces.reduce(0) { $0 + $1.count }
  let count = try byteCountRead {
    for piece in pieces {
      var bytes = [UInt8](repeating: 0, count: piece.count)
      try bytes.withUnsafeMutableBytes {
        try file.read(file.tensors[0], at: piece.lowerBound, into: $0)
      }
    }
    try file.checkUnchanged()
  }
  if let count { #expect(count < wanted + 4096, "\(count) bytes read for \(wanted)") }
}
