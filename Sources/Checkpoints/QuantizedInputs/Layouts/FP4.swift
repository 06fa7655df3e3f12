import ByteIO
import Tensors

extension QuantizedAssembly {
  /// MXFP4 as `X_blocks` `[rows, groups, 16]` and `X_scales` `[rows, groups]`.
  mutating func assembleMXFP4() throws(FormatError) {
    for (name, position) in tensors(endingIn: "_blocks") {
      let codes = source.tensors[position]
      try check(codes, types: [.u8], rank: 3)
      let scale = try required("\(name)_scales", by: codes)
      try check(scale, types: [.u8, .f8_E8M0], rank: 2)
      let sizes = codes.shape.dimensions
      guard sizes[2] == 16, scale.shape.dimensions == Array(sizes[..<2]),
        sizes[1] <= Int.max / 32,
        let matrix = MatrixShape(Shape([sizes[0], sizes[1] * 32])),
        let grid = ScaleGrid(scale, for: matrix, .group(32))
      else {
        throw error(
          scale,
          .inconsistent("\(scale.shape) does not fit blocks of \(codes.shape): [rows, groups, 16]"))
      }
      try add(
        GridWeight(
          logical: try logical(name, [sizes[0], sizes[1] * 32], .bf16, codes: codes),
          codes: codes, layout: .e2m1(hasNegativeZero: true), scales: grid),
        at: position, beside: ["\(name)_scales"])
    }
  }

  /// ModelOpt: FP8 with `weight_scale`; NVFP4 with `weight_scale` in FP8 and `weight_scale_2`.
  mutating func assembleModelOpt() throws(FormatError) {
    for (position, tensor) in source.tensors.enumerated() {
      let name = tensor.name.string
      guard name.hasSuffix(".weight") else { continue }
      if Self.fp8Types.contains(tensor.type) {
        try addFP8(tensor, at: position, (128, 128))
      } else if tensor.type == .u8 {
        try addModelOptFP4(tensor, at: position)
      }
    }
    try refuseLoneScales([".weight_scale", ".weight_scale_2"])
  }

  private mutating func addModelOptFP4(
    _ codes: TensorDescriptor, at position: Int
  ) throws(FormatError) {
    let name = codes.name.string
    let scale = try required("\(name)_scale", by: codes)
    let global = try required("\(name)_scale_2", by: codes)
    try check(scale, types: [.f8_E4M3])
    try check(global, types: [.f32])
    let dimensions = try doubledColumns(codes)
    guard let matrix = MatrixShape(Shape(dimensions)),
      var grid = ScaleGrid(scale, for: matrix, .group(16))
    else {
      throw error(
        scale,
        .inconsistent(
          "\(scale.shape) does not fit a weight of \(Shape(dimensions)) with groups of 16"))
    }
    grid.global = .multiply(try source.readScalar(global))
    try add(
      GridWeight(
        logical: try logical(name, dimensions, .f32, codes: codes), codes: codes,
        layout: .e2m1(hasNegativeZero: false), scales: grid),
      at: position, beside: ["\(name)_scale", "\(name)_scale_2"])
  }
}
