import ByteIO
import Tensors

extension QuantizedAssembly {
  mutating func assembleCompressedTensors(
    _ schemes: [CompressedTensorsScheme]
  ) throws(FormatError) {
    var targets = SchemeTargets(schemes)
    for (position, tensor) in source.tensors.enumerated() {
      let name = tensor.name.string
      if name.hasSuffix(".weight_packed") {
        let base = String(name.dropLast(".weight_packed".count))
        try addCompressed(base, tensor, at: position, schemes, &targets)
      } else if Self.fp8Types.contains(tensor.type) || tensor.type == .i8,
        name.hasSuffix(".weight")
      {
        try addCompressed(
          String(name.dropLast(".weight".count)), tensor, at: position, schemes, &targets)
      }
    }
    try refuseLoneScales([".weight_scale", ".weight_zero_point", ".weight_shape"])
  }

  /// Adds one weight by the scheme that fits it.
  private mutating func addCompressed(
    _ base: String, _ codes: TensorDescriptor, at position: Int,
    _ schemes: [CompressedTensorsScheme], _ targets: inout SchemeTargets
  ) throws(FormatError) {
    var fits: [(index: Int, scheme: CompressedTensorsScheme, weight: GridWeight)] = []
    var mismatch: FormatError?
    for (index, scheme) in schemes.enumerated() {
      do throws(FormatError) {
        fits.append((index, scheme, try compressedWeight(base, codes, scheme.arithmetic)))
      } catch {
        // Of several schemes the one for this kind of codes has the telling error.
        if mismatch == nil || codes.type == Self.codeType(scheme.arithmetic) { mismatch = error }
      }
    }
    if tensor("\(base).weight_zero_point") != nil,
      fits.contains(where: { !$0.scheme.arithmetic.isSymmetric })
    {
      // Where zero points are stored, they are there to be used.
      fits.removeAll(where: { $0.scheme.arithmetic.isSymmetric })
    }
    if Set(fits.map(\.scheme.arithmetic)).count > 1 {
      // Short rows may fit several widths: then the targets decide.
      let named = try targets.scheme(of: base)
      fits = fits.filter { $0.index == named }
    }
    guard let fit = fits.first else {
      throw mismatch
        ?? error(
          codes,
          .unsupported(
            found: "a weight that several config_groups fit",
            allowed: "one group for a weight, or targets that give it one of them"))
    }
    try add(
      fit.weight, at: position,
      beside: [
        "weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx",
        "weight_global_scale",
      ].map { "\(base).\($0)" })
  }

  private static func codeType(_ arithmetic: CompressedTensorsScheme.Arithmetic) -> TensorType {
    switch arithmetic.format {
    case .packed: .i32
    case .mxfp4, .nvfp4: .u8
    default: arithmetic.isFloat ? .f8_E4M3 : .i8
    }
  }

  private func compressedWeight(
    _ base: String, _ codes: TensorDescriptor, _ arithmetic: CompressedTensorsScheme.Arithmetic
  ) throws(FormatError) -> GridWeight {
    let expected = Self.codeType(arithmetic)
    try check(codes, types: expected == .f8_E4M3 ? Self.fp8Types : [expected])
    let scale = try required("\(base).weight_scale", by: codes)
    var dimensions = codes.shape.dimensions
    let layout: CodeLayout
    switch arithmetic.format {
    case .packed:
      dimensions = try packedShape(base, codes, bits: arithmetic.bits)
      layout = .packed(bits: arithmetic.bits)
    case .mxfp4, .nvfp4:
      try check(scale, types: arithmetic.format == .nvfp4 ? [.f8_E4M3] : [.u8, .f8_E8M0])
      dimensions = try doubledColumns(codes)
      layout = .e2m1(hasNegativeZero: true)
    default:
      if arithmetic.format == .mxfp8 { try check(scale, types: [.u8, .f8_E8M0]) }
      layout = codes.type == .i8 ? .int8 : codes.type == .f8_E5M2 ? .e5m2 : .e4m3
    }
    guard let matrix = MatrixShape(Shape(dimensions)) else {
      throw error(
        codes, .outOfRange(found: "shape \(codes.shape)", allowed: "2 dimensions or more"))
    }
    guard var grid = ScaleGrid(scale, for: matrix, arithmetic.granularity) else {
      throw error(
        scale,
        .inconsistent(
          "\(scale.type) \(scale.shape) does not fit a weight of \(Shape(dimensions)) "
            + "with \(arithmetic.granularity.description)"))
    }
    if arithmetic.format == .nvfp4 {
      let global = try required("\(base).weight_global_scale", by: codes)
      grid.global = .divide(try source.readScalar(global))
    }
    var weight = GridWeight(
      logical: try logical(
        "\(base).weight", dimensions, Self.deliveredType(scales: scale.type), codes: codes),
      codes: codes, layout: layout, scales: grid)
    weight.zeroPoints = try zeroPoints(base, codes, matrix, grid, arithmetic)
    weight.groupOfColumn = try groupOfColumn(base, matrix, grid, arithmetic)
    return weight
  }

  /// Shape of a packed weight: `weight_shape`, which has to agree with the words that are there.
  private func packedShape(
    _ base: String, _ codes: TensorDescriptor, bits: Int
  ) throws(FormatError) -> [Int] {
    try check(codes, types: [.i32], rank: 2)
    let tensor = try required("\(base).weight_shape", by: codes)
    try check(tensor, types: [.i64, .i32])
    guard tensor.elementCount == 2 else {
      throw error(
        tensor, .outOfRange(found: "\(tensor.elementCount) numbers", allowed: "2"))
    }
    let bytes = try source.readSmall(tensor, limit: 16)
    let dimensions: [Int] = bytes.withUnsafeBytes { bytes in
      (0..<2).map { index in
        tensor.type == .i64
          ? Int(
            truncatingIfNeeded: Int64(
              littleEndian: bytes.loadUnaligned(fromByteOffset: index * 8, as: Int64.self)))
          : Int(
            Int32(littleEndian: bytes.loadUnaligned(fromByteOffset: index * 4, as: Int32.self)))
      }
    }
    let stored = codes.shape.dimensions
    let (bitCount, overflow) = dimensions[1].multipliedReportingOverflow(by: bits)
    guard dimensions[0] == stored[0], dimensions[1] >= 0, !overflow,
      bitCount.dividedUp(by: 32) == stored[1]
    else {
      let perWord = 32 / bits
      if 32 % bits != 0, dimensions[0] == stored[0], dimensions[1] >= 0,
        dimensions[1].dividedUp(by: perWord) == stored[1]
      {
        throw error(
          codes,
          .unsupported(
            found: "words of \(perWord) \(bits)-bit codes, as older compressed-tensors wrote them",
            allowed: "codes without gaps"),
          advice: "start from the checkpoint that this one was quantized from")
      }
      throw error(
        tensor,
        .inconsistent(
          "says \(Shape(dimensions)), which \(codes.shape) words of \(bits)-bit codes do not hold"
        ))
    }
    return dimensions
  }

  /// Two codes in a byte.
  func doubledColumns(_ codes: TensorDescriptor) throws(FormatError) -> [Int] {
    var dimensions = codes.shape.dimensions
    guard let last = dimensions.last, last <= Int.max / 2 else {
      throw error(
        codes, .outOfRange(found: "shape \(codes.shape)", allowed: "2 dimensions or more"))
    }
    dimensions[dimensions.count - 1] = last * 2
    return dimensions
  }

  private func zeroPoints(
    _ base: String, _ codes: TensorDescriptor, _ matrix: MatrixShape, _ grid: ScaleGrid,
    _ arithmetic: CompressedTensorsScheme.Arithmetic
  ) throws(FormatError) -> GridWeight.ZeroPoints? {
    let name = "\(base).weight_zero_point"
    guard !arithmetic.isSymmetric else {
      // Older releases store zero points all the same. Some readers subtract and some ignore them,
      // which is one and the same only where they are zero.
      if let tensor = tensor(name) { try checkAllZero(tensor, matrix, grid, arithmetic) }
      return nil
    }
    let tensor = try required(name, by: codes)
    let isPacked =
      arithmetic.format == .packed && arithmetic.granularity != .tensor && tensor.type == .i32
    guard isPacked else {
      try check(tensor, types: [.i8])
      guard tensor.elementCount == grid.tensor.elementCount else {
        throw error(
          tensor,
          .inconsistent("\(tensor.shape) does not fit scales of \(grid.tensor.shape)"))
      }
      return .plain(tensor)
    }
    let expected = [
      (matrix.rowCount * arithmetic.bits).dividedUp(by: 32), grid.columnCount,
    ]
    guard tensor.shape.dimensions == expected else {
      throw error(
        tensor,
        .inconsistent(
          "\(tensor.shape), but scales of \(grid.tensor.shape) need \(Shape(expected))"))
    }
    return .packedRows(tensor, bits: arithmetic.bits)
  }
}

extension ScaleGrid.Granularity: CustomStringConvertible {
  var description: String {
    switch self {
    case .tensor: "one scale per tensor"
    case .row: "one scale per row"
    case .group(let length): "groups of \(length)"
    case .block(let height, let width): "blocks of \(height)×\(width)"
    case .byShape: "scales per tensor, row or column"
    }
  }
}
