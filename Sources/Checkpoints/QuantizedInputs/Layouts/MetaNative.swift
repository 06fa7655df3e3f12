import ByteIO
import Tensors

extension QuantizedAssembly {
  /// Eight-bit floats with one scale per row, brought together from two files.
  ///
  /// Matrices of experts are stored transposed, one below the other, so that there a scale is that of
  /// one column of one expert.
  mutating func assembleMetaFP8() throws(FormatError) {
    for (position, tensor) in source.tensors.enumerated()
    where Self.fp8Types.contains(tensor.type) {
      let name = tensor.name.string + "_scale"
      let scale = try required(name, by: tensor)
      try check(tensor, types: [.f8_E4M3], rank: 2)
      var block: (height: Int, width: Int)?
      if scale.shape.rank == 2, let experts = scale.shape.dimensions.first, experts > 0,
        tensor.rowCount.isMultiple(of: experts)
      {
        block = (tensor.rowCount / experts, 1)
      }
      try add(fp8Weight(tensor, scale, block), at: position, beside: [name])
    }
    for (name, position) in tensors(endingIn: "_scale") where !hidden.contains(position) {
      throw error(
        source.tensors[position],
        tensor(name).map {
          .inconsistent("is the scale of a weight that is stored as \($0.type)")
        } ?? .missing("the weight \(printable(name, limit: 100)) that it belongs to"))
    }
  }

  /// `X.weight` in I8 with `X.scales`: four-bit codes in groups, or eight-bit codes of the
  /// embedding and the output.
  mutating func assembleMetaInt4(_ quantization: MetaQuantization) throws(FormatError) {
    var adaptorCount = 0
    for (position, codes) in source.tensors.enumerated() where codes.type == .i8 {
      let name = codes.name.string
      guard name.hasSuffix(".weight") else { continue }
      let base = String(name.dropLast(".weight".count))
      try check(codes, types: [.i8], rank: 2)
      if base == "tok_embeddings" || base == "output" {
        let grid = try metaScales(base, codes, .row)
        let weight = GridWeight(
          logical: try logical(
            name, codes.shape.dimensions, Self.deliveredType(scales: grid.tensor.type),
            codes: codes),
          codes: codes, layout: .int8, scales: grid)
        try add(weight, at: position, beside: ["\(base).scales"])
        continue
      }
      let weight = try metaInt4(base, codes, quantization)
      if weight.adaptor != nil { adaptorCount += 1 }
      try add(
        weight, at: position,
        beside: ["scales", "zeros", "adaptor.A.weight", "adaptor.B.weight"].map { "\(base).\($0)" }
      )
    }
    for (base, position) in tensors(endingIn: ".scales") where !hidden.contains(position) {
      let weight = tensor(base + ".weight")
      throw error(
        source.tensors[position],
        weight.map { .inconsistent("is the scale of a weight that is stored as \($0.type)") }
          ?? .missing("the weight \(printable(base, limit: 100)).weight that it belongs to"))
    }
    if quantization.lora != nil, adaptorCount == 0, let first = source.tensors.first {
      throw error(first, .missing("adaptors, which lora_args speaks of"))
    }
  }

  private func metaScales(
    _ base: String, _ codes: TensorDescriptor, _ granularity: ScaleGrid.Granularity
  ) throws(FormatError) -> ScaleGrid {
    let scales = try required("\(base).scales", by: codes)
    try check(scales, types: [.f32, .f16, .bf16], rank: 2)
    guard let matrix = MatrixShape(codes.shape),
      let grid = ScaleGrid(scales, for: matrix, granularity)
    else {
      throw error(
        scales,
        .inconsistent(
          "\(scales.shape) does not fit a weight of \(codes.shape) with \(granularity.description)")
      )
    }
    return grid
  }

  private func metaInt4(
    _ base: String, _ codes: TensorDescriptor, _ quantization: MetaQuantization
  ) throws(FormatError) -> AdaptedWeight {
    let grid = try metaScales(base, codes, .group(quantization.groupLength))
    var weight = GridWeight(
      logical: try logical("\(base).weight", codes.shape.dimensions, .f32, codes: codes),
      codes: codes, layout: .int8, scales: grid)
    if let zeros = tensor("\(base).zeros") {
      try check(zeros, types: [.f32, .f16, .bf16, .i8])
      guard zeros.shape == grid.tensor.shape else {
        throw error(
          zeros, .inconsistent("\(zeros.shape) does not fit scales of \(grid.tensor.shape)"))
      }
      weight.zeroPoints = .plain(zeros)
    }
    let isRotated = quantization.hasRotatedInputs && base.hasSuffix(".feed_forward.w2")
    let columnCount = codes.columnCount
    guard !isRotated || columnCount & (columnCount - 1) == 0 else {
      throw error(
        codes,
        .unsupported(
          found: "\(columnCount) rotated columns", allowed: "a power of two with spinquant"))
    }
    return AdaptedWeight(
      base: weight, adaptor: try adaptor(base, codes, quantization.lora), isRotated: isRotated)
  }

  private func adaptor(
    _ base: String, _ codes: TensorDescriptor, _ lora: MetaQuantization.LoRA?
  ) throws(FormatError) -> AdaptedWeight.Adaptor? {
    let names = ["A", "B"].map { "\(base).adaptor.\($0).weight" }
    guard names.contains(where: { tensor($0) != nil }) else { return nil }
    let a = try required(names[0], by: codes)
    let b = try required(names[1], by: codes)
    guard let lora else {
      throw error(a, .inconsistent("is an adaptor, but params.json has no lora_args"))
    }
    for (tensor, shape) in [
      (a, [lora.rank, codes.columnCount]), (b, [codes.rowCount, lora.rank]),
    ] {
      try check(tensor, types: [.f32, .f16, .bf16])
      guard tensor.shape.dimensions == shape else {
        throw error(
          tensor,
          .inconsistent("\(tensor.shape), but a weight of \(codes.shape) needs \(Shape(shape))"))
      }
    }
    return AdaptedWeight.Adaptor(a: a, b: b, scale: lora.scale)
  }
}
