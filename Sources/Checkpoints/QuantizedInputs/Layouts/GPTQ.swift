import ByteIO
import Tensors

extension QuantizedAssembly {
  /// `X.qweight`, `X.qzeros`, `X.scales` and `X.g_idx`.
  mutating func assembleGPTQ(
    _ parameters: QuantizationConfiguration.GPTQ
  ) throws(FormatError) {
    for (base, position) in tensors(endingIn: ".qweight") {
      let codes = source.tensors[position]
      let bits = parameters.bits
      try check(codes, types: [.i32], rank: 2)
      let scales = try required("\(base).scales", by: codes)
      let zeroPoints = try required("\(base).qzeros", by: codes)
      let groups = tensor("\(base).g_idx")
      if let groups { try check(groups, types: [.i32], rank: 1) }
      if groups == nil, parameters.isOrderedByActivation, scales.shape.dimensions.first != 1 {
        throw error(
          codes,
          .missing("tensor \(printable(base, limit: 100)).g_idx, which desc_act needs"),
          advice: "without it nothing says which columns share a scale")
      }
      // Without g_idx there is no padding to leave out.
      let rowCount = codes.shape.dimensions[1]
      let columnCount = groups?.elementCount ?? codes.shape.dimensions[0] * 32 / bits
      guard (columnCount * bits).dividedUp(by: 32) == codes.shape.dimensions[0] else {
        throw error(
          groups ?? codes,
          .inconsistent(
            "\(columnCount) columns of \(bits) bits do not fill the words of \(codes.shape)"))
      }
      let weight = try transposed(
        base, codes, scales, zeroPoints, rowCount: rowCount, columnCount: columnCount,
        groupLength: parameters.groupLength,
        TransposedWeight.Parameters(
          packing: .alongColumns, bits: bits, zeroCorrection: parameters.isFirstFormat ? 1 : 0,
          groupOfColumn: groups, method: "GPTQ"))
      if let groups {
        let missingCount = try checkGroups(groups, groupCount: weight.groupCount)
        guard missingCount == 0 else {
          throw error(
            groups,
            .inconsistent("gives no group, -1, to \(missingCount) of \(columnCount) columns"))
        }
      }
      try add(
        weight, at: position,
        beside: ["scales", "qzeros", "g_idx"].map { "\(base).\($0)" })
    }
  }

  /// `X.qweight`, `X.qzeros` and `X.scales` of the `gemm` version.
  mutating func assembleAWQ(_ groupLength: Int?) throws(FormatError) {
    for (base, position) in tensors(endingIn: ".qweight") {
      let codes = source.tensors[position]
      try check(codes, types: [.i32], rank: 2)
      let scales = try required("\(base).scales", by: codes)
      let zeroPoints = try required("\(base).qzeros", by: codes)
      guard codes.shape.dimensions[1] <= Int.max / 8 else {
        throw error(codes, .outOfRange(found: "shape \(codes.shape)", allowed: "smaller"))
      }
      let weight = try transposed(
        base, codes, scales, zeroPoints, rowCount: codes.shape.dimensions[1] * 8,
        columnCount: codes.shape.dimensions[0], groupLength: groupLength,
        TransposedWeight.Parameters(
          packing: .interleavedRows, bits: 4, zeroCorrection: 0, groupOfColumn: nil,
          method: "AWQ"))
      try add(weight, at: position, beside: ["scales", "qzeros"].map { "\(base).\($0)" })
    }
  }

  /// Checks scales and zero points against the codes.
  private func transposed(
    _ base: String, _ codes: TensorDescriptor, _ scales: TensorDescriptor,
    _ zeroPoints: TensorDescriptor, rowCount: Int, columnCount: Int, groupLength: Int?,
    _ parameters: TransposedWeight.Parameters
  ) throws(FormatError) -> TransposedWeight {
    try check(scales, types: [.f16, .bf16, .f32], rank: 2)
    try check(zeroPoints, types: [.i32], rank: 2)
    let length = groupLength ?? max(1, columnCount)
    let expected = [columnCount.dividedUp(by: length), rowCount]
    guard scales.shape.dimensions == expected else {
      throw error(
        scales,
        .inconsistent(
          "\(scales.shape), but \(rowCount) rows and \(columnCount) columns in groups of "
            + "\(length) need \(Shape(expected))"))
    }
    let words = [expected[0], (rowCount * parameters.bits).dividedUp(by: 32)]
    guard zeroPoints.shape.dimensions == words else {
      throw error(
        zeroPoints,
        .inconsistent("\(zeroPoints.shape), but scales of \(scales.shape) need \(Shape(words))"))
    }
    return TransposedWeight(
      logical: try logical(
        "\(base).weight", [rowCount, columnCount], scales.type, codes: codes),
      codes: codes, scales: scales, zeroPoints: zeroPoints, groupLength: length,
      parameters: parameters)
  }
}
