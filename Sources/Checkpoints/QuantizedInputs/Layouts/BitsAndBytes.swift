import ByteIO
import StrictJSON
import Tensors

extension QuantizedAssembly {
  private static let stateNames = [
    "nf4": "quant_state.bitsandbytes__nf4", "fp4": "quant_state.bitsandbytes__fp4",
  ]

  /// Four-bit weights with a `quant_state`, eight-bit ones with `SCB`.
  mutating func assembleBitsAndBytes() throws(FormatError) {
    for kind in ["nf4", "fp4"] {
      let suffix = "." + (Self.stateNames[kind] ?? "")
      for (name, position) in tensors(endingIn: suffix) {
        try addFourBit(name, kind, state: source.tensors[position])
        hide(name + suffix)
      }
    }
    for (base, position) in tensors(endingIn: ".SCB") {
      try addEightBit(base, scales: source.tensors[position])
    }
  }

  private mutating func addFourBit(
    _ name: String, _ kind: String, state: TensorDescriptor
  ) throws(FormatError) {
    guard let position = position(of: name) else {
      throw error(
        state, .missing("the weight \(printable(name, limit: 100)) that it belongs to"))
    }
    let codes = source.tensors[position]
    // Any storage type: only the bytes count.
    try check(codes, types: [.u8, .i8, .f16, .bf16, .f32])
    let facts = try FourBitState(self, state)
    guard facts.kind == kind else {
      throw error(state, .inconsistent("says quant_type \"\(printable(facts.kind))\""))
    }
    let logical = try logical(name, facts.shape, facts.type, codes: codes)
    guard codes.byteCount == logical.elementCount.dividedUp(by: 2) else {
      throw error(
        codes,
        .inconsistent(
          "\(codes.byteCount) bytes, but two weights a byte of \(logical.shape) take "
            + "\(logical.elementCount.dividedUp(by: 2))"))
    }
    let absmax = try required("\(name).absmax", by: codes)
    let blockCount = logical.elementCount.dividedUp(by: facts.blockLength)
    guard absmax.elementCount == blockCount else {
      throw error(
        absmax,
        .inconsistent(
          "\(absmax.elementCount) scales, but blocks of \(facts.blockLength) in \(logical.shape) "
            + "need \(blockCount)"))
    }
    var weight = BlockwiseWeight(
      logical: logical, codes: codes, kind: kind,
      map: try codeMap(kind, "\(name).quant_map", codes),
      blockLength: facts.blockLength, absmax: absmax)
    if let nested = facts.nested {
      try check(absmax, types: [.u8])
      let outer = try required("\(name).nested_absmax", by: codes)
      try check(outer, types: [.f32])
      guard outer.elementCount == blockCount.dividedUp(by: nested.blockLength) else {
        throw error(
          outer,
          .inconsistent(
            "\(outer.elementCount) scales for \(blockCount) quantized scales in blocks of "
              + "\(nested.blockLength)"))
      }
      weight.nested = BlockwiseWeight.Nested(
        map: try numbers("\(name).nested_quant_map", count: 256, of: codes), absmax: outer,
        blockLength: nested.blockLength, offset: nested.offset)
    } else {
      try check(absmax, types: [.f32, .f16, .bf16])
    }
    try add(
      weight, at: position,
      beside: ["absmax", "quant_map", "nested_absmax", "nested_quant_map"].map { "\(name).\($0)" })
  }

  /// The numbers of a kind's codes, which the file has to agree with.
  ///
  /// The kernels of the library have them built in, whatever the file says.
  private func codeMap(
    _ kind: String, _ name: String, _ codes: TensorDescriptor
  ) throws(FormatError) -> [Float] {
    let map = kind == "nf4" ? NarrowFloats.nf4 : NarrowFloats.fp4
    let stored = try numbers(name, count: 16, of: codes)
    for (code, (found, expected)) in zip(stored, map).enumerated() {
      guard abs(found - expected) <= expected.ulp else {
        throw error(
          try required(name, by: codes),
          .inconsistent("says \(found) for code \(code), which is \(expected) in \(kind)"))
      }
    }
    return map
  }

  /// Reads a small table of F32 numbers.
  private func numbers(
    _ name: String, count: Int, of owner: TensorDescriptor
  ) throws(FormatError) -> [Float] {
    let tensor = try required(name, by: owner)
    try check(tensor, types: [.f32])
    guard tensor.elementCount == count else {
      throw error(
        tensor, .outOfRange(found: "\(tensor.elementCount) numbers", allowed: "\(count)"))
    }
    let bytes = try source.readSmall(tensor, limit: count * 4)
    var values = [Float](repeating: 0, count: count)
    bytes.withUnsafeBytes { bytes in
      values.withUnsafeMutableBufferPointer { values in
        if let start = values.baseAddress {
          TensorType.f32.loadScales(bytes, count: count, into: start)
        }
      }
    }
    return values
  }

  private mutating func addEightBit(
    _ base: String, scales: TensorDescriptor
  ) throws(FormatError) {
    let name = "\(base).weight"
    guard let position = position(of: name) else {
      throw error(
        scales, .missing("the weight \(printable(name, limit: 100)) that it belongs to"))
    }
    let codes = source.tensors[position]
    try check(codes, types: [.i8], rank: 2)
    try check(scales, types: [.f32])
    guard let matrix = MatrixShape(codes.shape), let grid = ScaleGrid(scales, for: matrix, .row)
    else {
      throw error(
        scales, .inconsistent("\(scales.shape) does not fit \(codes.name) \(codes.shape)"))
    }
    // The order of the bytes: 0 is row by row, others are tiles for some tensor cores.
    if let order = tensor("\(base).weight_format") {
      guard try source.readSmall(order, limit: 8).allSatisfy({ $0 == 0 }) else {
        throw error(order, .unsupported(found: "tiled weights", allowed: "0, row by row"))
      }
    }
    try add(
      GridWeight(
        logical: try logical(name, codes.shape.dimensions, .f32, codes: codes), codes: codes,
        layout: .int8, scales: grid, factor: 1 / 127),
      at: position, beside: ["\(base).SCB", "\(base).weight_format"])
  }
}

/// What the JSON text beside a four-bit weight says.
private struct FourBitState {
  var kind: String
  var shape: [Int]
  var type: TensorType
  var blockLength: Int
  var nested: (blockLength: Int, offset: Float)?

  /// Largest text that is read; real ones have some 200 bytes.
  private static let byteCountLimit = 4096
  private static let types: [String: TensorType] = [
    "float32": .f32, "float16": .f16, "bfloat16": .bf16,
  ]

  init(_ assembly: QuantizedAssembly, _ tensor: TensorDescriptor) throws(FormatError) {
    try assembly.check(tensor, types: [.u8])
    let bytes = try assembly.source.readSmall(tensor, limit: Self.byteCountLimit)
    let file = tensor.regions.first.map { assembly.source.files[$0.file] } ?? ""
    let value: JSONValue
    do throws(FormatError) {
      value = try JSONValue(parsing: bytes, file: file)
    } catch {
      throw assembly.error(tensor, error.reason)
    }
    guard let object = value.object else {
      throw assembly.error(tensor, .malformed("is no JSON object"))
    }
    let fields = QuantizationFields(
      file: file, path: printable(tensor.name.string, limit: 120), object: object)
    guard let kind = try fields.string("quant_type") else {
      throw fields.error("quant_type", .missing("\"quant_type\""))
    }
    self.kind = kind
    let name = try fields.word("dtype", of: Self.types.keys.sorted())
    guard let type = name.flatMap({ Self.types[$0] }) else {
      throw fields.error("dtype", .missing("\"dtype\""))
    }
    self.type = type
    guard let sizes = fields["shape"]?.array, !sizes.isEmpty else {
      throw fields.error("shape", .missing("a list of sizes"))
    }
    shape = sizes.compactMap(\.int)
    guard shape.count == sizes.count, shape.allSatisfy({ $0 >= 0 }) else {
      throw fields.error(
        "shape", .outOfRange(found: "other values", allowed: "integers of 0 or more"))
    }
    guard let length = try fields.groupLength("blocksize") else {
      throw fields.error("blocksize", .missing("\"blocksize\""))
    }
    blockLength = length
    if let nestedLength = try fields.groupLength("nested_blocksize") {
      guard let offset = fields["nested_offset"]?.double, Float(offset).isFinite else {
        throw fields.error("nested_offset", .missing("a finite number"))
      }
      nested = (nestedLength, Float(offset))
    }
  }
}
