import ByteIO
import Tensors

extension QuantizedAssembly {
  static let fp8Types: [TensorType] = [.f8_E4M3, .f8_E5M2]

  /// Names of a scale, put behind the weight's own or in place of its last part.
  private static let scaleSuffixes = ["_scale_inv", "_scale"]
  private static let scaleNames = ["scale", "qscale_weight"]

  /// `fp8` and `fbgemm_fp8`: eight-bit floats and scales, found by type and name.
  mutating func assembleFP8(_ blockSize: (height: Int, width: Int)) throws(FormatError) {
    for (position, tensor) in source.tensors.enumerated()
    where Self.fp8Types.contains(tensor.type) {
      try addFP8(tensor, at: position, blockSize)
    }
    try refuseLoneScales([".weight_scale", ".weight_scale_inv", ".qscale_weight"])
  }

  /// Adds one weight with whichever scale lies beside it.
  mutating func addFP8(
    _ tensor: TensorDescriptor, at position: Int, _ blockSize: (height: Int, width: Int)?
  ) throws(FormatError) {
    let name = tensor.name.string
    var candidates = Self.scaleSuffixes.map { name + $0 }
    if name.hasSuffix(".weight") {
      candidates += Self.scaleNames.map { name.dropLast("weight".count) + $0 }
    }
    try check(tensor, types: Self.fp8Types)
    let present = candidates.filter { self.tensor($0) != nil }
    guard let scaleName = present.first else {
      throw error(
        tensor, .missing("its scale, one of \(candidates.joined(separator: ", "))"))
    }
    guard present.count == 1 else {
      throw error(tensor, .duplicate("scale: \(present.joined(separator: " and "))"))
    }
    let scale = try required(scaleName, by: tensor)
    let weight = try fp8Weight(tensor, scale, blockSize)
    try add(weight, at: position, beside: [scaleName])
  }

  func fp8Weight(
    _ tensor: TensorDescriptor, _ scale: TensorDescriptor,
    _ blockSize: (height: Int, width: Int)?
  ) throws(FormatError) -> GridWeight {
    guard let matrix = MatrixShape(tensor.shape) else {
      throw error(
        tensor, .outOfRange(found: "shape \(tensor.shape)", allowed: "2 dimensions or more"))
    }
    var flat = scale
    // ModelOpt's blocks may be [rows, 1, columns, 1].
    let sizes = scale.shape.dimensions
    if sizes.count == 4, sizes[1] == 1, sizes[3] == 1, tensor.shape.rank == 2 {
      flat.shape = Shape([sizes[0], sizes[2]])
    }
    let grid =
      blockSize.flatMap {
        ScaleGrid(flat, for: matrix, .block(height: $0.height, width: $0.width))
      } ?? ScaleGrid(scale, for: matrix, .byShape)
    guard let grid else {
      let blocks = blockSize.map { ", or blocks of \($0.height)×\($0.width)" } ?? ""
      throw error(
        scale,
        .inconsistent(
          "\(scale.type) \(scale.shape) does not fit \(tensor.name) \(tensor.shape): "
            + "scales are per tensor, row or column\(blocks)"))
    }
    return GridWeight(
      logical: try logical(
        tensor.name.string, tensor.shape.dimensions, Self.deliveredType(scales: scale.type),
        codes: tensor),
      codes: tensor, layout: tensor.type == .f8_E5M2 ? .e5m2 : .e4m3, scales: grid)
  }

  /// Refuses scales whose weight is stored in a type that needs none.
  func refuseLoneScales(_ suffixes: [String]) throws(FormatError) {
    for suffix in suffixes {
      for (base, position) in tensors(endingIn: suffix)
      where weights[position] == nil && !hidden.contains(position) {
        let weight = tensor(base + ".weight")
        throw error(
          source.tensors[position],
          weight.map { .inconsistent("is the scale of a weight that is stored as \($0.type)") }
            ?? .missing("the weight \(printable(base, limit: 100)).weight that it belongs to"))
      }
    }
  }
}
