import ByteIO
import GGUF
import Ingot
import Tensors
import TestSupport

/// A real archive taken apart, to be written again with a fault in it.
struct EditedArchive {
  struct Tensor {
    var name: ExactString
    var shape: Shape
    var type: TensorType
    var bytes: [UInt8]
  }
  var metadata: Metadata
  var tensors: [Tensor]

  init(_ path: String) throws {
    let archive = try GGUFFile(path)
    metadata = archive.metadata
    tensors = try archive.tensors.map { tensor in
      var bytes = [UInt8](repeating: 0, count: tensor.byteCount)
      var failure: FormatError?
      bytes.withUnsafeMutableBytes { buffer in
        do throws(FormatError) {
          try archive.read(tensor, at: 0, into: buffer)
        } catch {
          failure = error
        }
      }
      if let failure { throw failure }
      return Tensor(name: tensor.name, shape: tensor.shape, type: tensor.type, bytes: bytes)
    }
  }

  /// The tensor of that name, which has to be there.
  subscript(name: String) -> Tensor {
    get { tensors[index(name)] }
    set { tensors[index(name)] = newValue }
  }

  private func index(_ name: String) -> Int {
    guard let index = tensors.firstIndex(where: { $0.name.string == name }) else {
      preconditionFailure("no tensor \(name)")
    }
    return index
  }

  mutating func swapData(_ a: String, _ b: String) {
    let bytes = self[a].bytes
    self[a].bytes = self[b].bytes
    self[b].bytes = bytes
  }

  /// Writes it and returns the path.
  func write(_ path: String) throws -> String {
    let layout = try GGUFLayout(
      metadata: metadata,
      tensors: tensors.map { GGUFTensorInfo(name: $0.name, shape: $0.shape, type: $0.type) })
    var file = layout.headerBytes
    for (tensor, offset) in zip(tensors, layout.tensorOffsets) {
      file += [UInt8](repeating: 0, count: Int(offset) - file.count) + tensor.bytes
    }
    file += [UInt8](repeating: 0, count: Int(layout.fileByteCount) - file.count)
    let output = try OutputFile(path)
    var failure: OutputError?
    file.withUnsafeBytes { bytes in
      do throws(OutputError) {
        try output.write(bytes, at: 0)
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    try output.commit()
    return path
  }
}

/// Archives of the bundled checkpoints, made once.
enum Archives {
  static func make(_ model: String, type: String, in folder: TemporaryFolder, imatrix: Bool = false)
    throws -> String
  {
    let path = folder.file("\(model)-\(type)-\(imatrix).gguf")
    var recipe = Recipe()
    recipe.type = type
    if imatrix { recipe.importanceFile = Fixtures.path("models/imatrix/\(model).gguf") }
    _ = try Converter(
      checkpoint: checkpoint(model), output: path, recipe: recipe, memoryLimit: testMemoryLimit
    ).run()
    return path
  }

  static func checkpoint(_ model: String) -> String { Fixtures.path("models/\(model)") }
  static let text = Fixtures.path("text/eval.txt")
}
