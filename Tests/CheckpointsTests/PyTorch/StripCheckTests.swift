import ByteIO
import Checkpoints
import Tensors
import TestSupport
import Testing

/// A matrix that is read in strips of columns, as transposed experts are.
private enum Example {
  static let rowCount = 96
  static let rowByteCount = 4096

  /// The file, with a bit of the byte at `damage` flipped.
  static func open(damage: Int? = nil) throws -> (TemporaryFolder, PyTorchFile) {
    let shape = [rowCount, rowByteCount / 4]
    let elementCount = shape[0] * shape[1]
    let pickle = PickleBytes().dictionary {
      $0.text("t").tensor("0", storageCount: elementCount, shape: shape, strides: [shape[1], 1])
    }.op(.STOP)
    let folder = TemporaryFolder()
    let bytes = TorchArchive.bytes(pickle: pickle.bytes, records: [floats(elementCount)])
    let file = try PyTorchFile(folder.write("x.pt", bytes))
    guard let damage else { return (folder, file) }
    var damaged = bytes
    damaged[Int(file.tensors[0].regions[0].fileOffset) + damage] ^= 1
    return (folder, try PyTorchFile(folder.write("damaged.pt", damaged)))
  }

  /// Strips of rows and columns that make up the matrix.
  static func strips(height: Int, width: Int) -> [ByteRuns] {
    stride(from: 0, to: rowByteCount, by: width).flatMap { column in
      stride(from: 0, to: rowCount, by: height).map { row in
        ByteRuns(
          start: row * rowByteCount + column, byteCount: width,
          count: min(height, rowCount - row), stride: rowByteCount)
      }
    }
  }

  /// Reads strips and checks; how many bytes the process read, where the system counts them.
  static func read(_ strips: [ByteRuns], of file: PyTorchFile) throws -> Int? {
    let expected = floats(rowCount * rowByteCount / 4)
    return try byteCountRead {
      for runs in strips {
        var bytes = [UInt8](repeating: 0, count: runs.count * runs.byteCount)
        try bytes.withUnsafeMutableBytes { try file.read(file.tensors[0], runs: runs, into: $0) }
        let isRight = (0..<runs.count).allSatisfy { index in
          let start = runs.start(of: index)
          return bytes[(index * runs.byteCount)..<((index + 1) * runs.byteCount)].elementsEqual(
            expected[start..<start + runs.byteCount])
        }
        #expect(isRight, "\(runs)")
      }
      try file.checkUnchanged()
    }
  }
}

/// Every byte once, in any order, some of it twice: nothing is read again for the checksum.
@Test func stripsCostNoSecondReading() throws {
  let strips = Example.strips(height: 25, width: 512)
  for order in [strips, strips.reversed(), strips + strips.prefix(3)] {
    let (folder, file) = try Example.open()
    defer { withExtendedLifetime(folder) {} }
    let wanted = order.reduce(0) { $0 + $1.count * $1.byteCount }
    if let count = try Example.read(order, of: file) {
      #expect(count < wanted + 4096, "\(count) bytes read for \(wanted)")
    }
  }
}

/// Strips that overlap, leave something out, or are mixed with other readings are no damage.
@Test func acceptsStripsThatDoNotMakeUpTheWhole() throws {
  let strips = Example.strips(height: 25, width: 512)
  let wider = Example.strips(height: 40, width: 1024)
  var far = strips[0]
  far.stride *= 2
  for order in [
    Array(strips.dropFirst()), Array(strips.dropLast(4)) + wider, [far] + strips, wider + strips,
    // One run is a range like any other.
    [ByteRuns(start: 0, byteCount: 700)] + strips,
  ] {
    let (folder, file) = try Example.open()
    defer { withExtendedLifetime(folder) {} }
    _ = try Example.read(order, of: file)
  }
}

/// A flipped bit is found, whether all strips were read or the rest is read in the end.
@Test(arguments: [0, 512, 4096 * 95 + 4095])
func findsDamageInStrips(_ place: Int) throws {
  let strips = Example.strips(height: 96, width: 512)
  for order in [strips, Array(strips[3...4])] {
    let (folder, file) = try Example.open(damage: place)
    for runs in order {
      var bytes = [UInt8](repeating: 0, count: runs.count * runs.byteCount)
      try bytes.withUnsafeMutableBytes { try file.read(file.tensors[0], runs: runs, into: $0) }
    }
    let error = try #require(throws: FormatError.self) { try file.checkUnchanged() }
    #expect("\(error)".contains("checksum"), "\(error)")
    #expect(error.file == folder.file("damaged.pt"))
  }
}
