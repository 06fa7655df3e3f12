/// How the weights of a tensor are stored: one row of `rows` per type, and no other list.
///
/// Covers the GGML types that a GGUF file names by number, and the element types that only
/// checkpoints use (no GGML number).
public enum TensorType: UInt8, Hashable, Sendable, CaseIterable {
  case f32, f16, bf16, f64
  case q4_0, q4_1, q5_0, q5_1, q8_0, q8_1
  case q2_K, q3_K, q4_K, q5_K, q6_K, q8_K
  case iq1_S, iq1_M, iq2_XXS, iq2_XS, iq2_S, iq3_XXS, iq3_S, iq4_NL, iq4_XS
  case tq1_0, tq2_0, mxfp4, nvfp4, q1_0, q2_0
  case i8, i16, i32, i64
  case u8, u16, u32, u64, bool
  case f8_E4M3, f8_E5M2, f8_E8M0, c64

  /// The facts about one type.
  public struct Row: Sendable {
    /// Number in a GGUF file; `nil` for types that a GGUF file cannot hold.
    public var ggmlID: UInt32?
    /// As the ecosystem spells it.
    public var name: String
    public var weightsPerBlock: Int
    public var bytesPerBlock: Int
  }

  // swift-format-ignore
  private static let rows: [Row] = [
    Row(ggmlID: 0, name: "F32", weightsPerBlock: 1, bytesPerBlock: 4),
    Row(ggmlID: 1, name: "F16", weightsPerBlock: 1, bytesPerBlock: 2),
    Row(ggmlID: 30, name: "BF16", weightsPerBlock: 1, bytesPerBlock: 2),
    Row(ggmlID: 28, name: "F64", weightsPerBlock: 1, bytesPerBlock: 8),
    Row(ggmlID: 2, name: "Q4_0", weightsPerBlock: 32, bytesPerBlock: 18),
    Row(ggmlID: 3, name: "Q4_1", weightsPerBlock: 32, bytesPerBlock: 20),
    Row(ggmlID: 6, name: "Q5_0", weightsPerBlock: 32, bytesPerBlock: 22),
    Row(ggmlID: 7, name: "Q5_1", weightsPerBlock: 32, bytesPerBlock: 24),
    Row(ggmlID: 8, name: "Q8_0", weightsPerBlock: 32, bytesPerBlock: 34),
    Row(ggmlID: 9, name: "Q8_1", weightsPerBlock: 32, bytesPerBlock: 36),
    Row(ggmlID: 10, name: "Q2_K", weightsPerBlock: 256, bytesPerBlock: 84),
    Row(ggmlID: 11, name: "Q3_K", weightsPerBlock: 256, bytesPerBlock: 110),
    Row(ggmlID: 12, name: "Q4_K", weightsPerBlock: 256, bytesPerBlock: 144),
    Row(ggmlID: 13, name: "Q5_K", weightsPerBlock: 256, bytesPerBlock: 176),
    Row(ggmlID: 14, name: "Q6_K", weightsPerBlock: 256, bytesPerBlock: 210),
    Row(ggmlID: 15, name: "Q8_K", weightsPerBlock: 256, bytesPerBlock: 292),
    Row(ggmlID: 19, name: "IQ1_S", weightsPerBlock: 256, bytesPerBlock: 50),
    Row(ggmlID: 29, name: "IQ1_M", weightsPerBlock: 256, bytesPerBlock: 56),
    Row(ggmlID: 16, name: "IQ2_XXS", weightsPerBlock: 256, bytesPerBlock: 66),
    Row(ggmlID: 17, name: "IQ2_XS", weightsPerBlock: 256, bytesPerBlock: 74),
    Row(ggmlID: 22, name: "IQ2_S", weightsPerBlock: 256, bytesPerBlock: 82),
    Row(ggmlID: 18, name: "IQ3_XXS", weightsPerBlock: 256, bytesPerBlock: 98),
    Row(ggmlID: 21, name: "IQ3_S", weightsPerBlock: 256, bytesPerBlock: 110),
    Row(ggmlID: 20, name: "IQ4_NL", weightsPerBlock: 32, bytesPerBlock: 18),
    Row(ggmlID: 23, name: "IQ4_XS", weightsPerBlock: 256, bytesPerBlock: 136),
    Row(ggmlID: 34, name: "TQ1_0", weightsPerBlock: 256, bytesPerBlock: 54),
    Row(ggmlID: 35, name: "TQ2_0", weightsPerBlock: 256, bytesPerBlock: 66),
    Row(ggmlID: 39, name: "MXFP4", weightsPerBlock: 32, bytesPerBlock: 17),
    Row(ggmlID: 40, name: "NVFP4", weightsPerBlock: 64, bytesPerBlock: 36),
    Row(ggmlID: 41, name: "Q1_0", weightsPerBlock: 128, bytesPerBlock: 18),
    Row(ggmlID: 42, name: "Q2_0", weightsPerBlock: 64, bytesPerBlock: 18),
    Row(ggmlID: 24, name: "I8", weightsPerBlock: 1, bytesPerBlock: 1),
    Row(ggmlID: 25, name: "I16", weightsPerBlock: 1, bytesPerBlock: 2),
    Row(ggmlID: 26, name: "I32", weightsPerBlock: 1, bytesPerBlock: 4),
    Row(ggmlID: 27, name: "I64", weightsPerBlock: 1, bytesPerBlock: 8),
    Row(ggmlID: nil, name: "U8", weightsPerBlock: 1, bytesPerBlock: 1),
    Row(ggmlID: nil, name: "U16", weightsPerBlock: 1, bytesPerBlock: 2),
    Row(ggmlID: nil, name: "U32", weightsPerBlock: 1, bytesPerBlock: 4),
    Row(ggmlID: nil, name: "U64", weightsPerBlock: 1, bytesPerBlock: 8),
    Row(ggmlID: nil, name: "BOOL", weightsPerBlock: 1, bytesPerBlock: 1),
    Row(ggmlID: nil, name: "F8_E4M3", weightsPerBlock: 1, bytesPerBlock: 1),
    Row(ggmlID: nil, name: "F8_E5M2", weightsPerBlock: 1, bytesPerBlock: 1),
    Row(ggmlID: nil, name: "F8_E8M0", weightsPerBlock: 1, bytesPerBlock: 1),
    Row(ggmlID: nil, name: "C64", weightsPerBlock: 1, bytesPerBlock: 8),
  ]

  private static let byGGMLID: [UInt32: TensorType] = {
    var table: [UInt32: TensorType] = [:]
    for type in allCases { if let id = type.ggmlID { table[id] = type } }
    return table
  }()

  public var row: Row { Self.rows[Int(rawValue)] }
  public var ggmlID: UInt32? { row.ggmlID }
  public var name: String { row.name }
  public var weightsPerBlock: Int { row.weightsPerBlock }
  public var bytesPerBlock: Int { row.bytesPerBlock }
  public var bitsPerWeight: Double { Double(bytesPerBlock * 8) / Double(weightsPerBlock) }

  /// Whether blocks of several weights share scales.
  public var isBlockType: Bool { weightsPerBlock > 1 }

  public init?(ggmlID: UInt32) {
    guard let type = Self.byGGMLID[ggmlID] else { return nil }
    self = type
  }

  /// Finds a type by its name in any case.
  public init?(name: String) {
    let wanted = name.uppercased()
    guard let type = Self.allCases.first(where: { $0.name == wanted }) else { return nil }
    self = type
  }

  /// Bytes that `weightCount` weights take; `nil` when they are no whole blocks or overflow.
  public func byteCount(weightCount: Int) -> Int? {
    guard weightCount >= 0, weightCount % weightsPerBlock == 0 else { return nil }
    let (bytes, overflow) = (weightCount / weightsPerBlock)
      .multipliedReportingOverflow(by: bytesPerBlock)
    return overflow ? nil : bytes
  }
}

extension TensorType: CustomStringConvertible {
  public var description: String { name }
}

extension TensorType: Codable {
  public init(from decoder: any Decoder) throws {
    let name = try decoder.singleValueContainer().decode(String.self)
    guard let type = TensorType(name: name) else {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: "unknown tensor type \(name)"))
    }
    self = type
  }
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(name)
  }
}
