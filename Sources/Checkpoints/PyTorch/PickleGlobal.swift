import ByteIO
import Tensors

/// A name that a pickle may mention: each stands for one inert meaning, and none is ever called.
///
/// Source: formats/pytorch.md
package struct PickleGlobal: Hashable, Sendable {
  package enum Role: Hashable, Sendable {
    /// Arguments of the tensor that it stands for; `isTyped` where one of them is the type.
    case tensor(argumentCounts: ClosedRange<Int>, isTyped: Bool)
    /// A tensor around the one in its arguments.
    case parameter(argumentCount: Int)
    /// A tensor with attributes: constructor, class, arguments, state.
    case tensorWithState
    /// `nil` for bytes.
    case storage(TensorType?)
    /// `nil` for a type that `TensorType` does not have.
    case elementType(TensorType?)
    case orderedDictionary
    /// The tuple that is its argument.
    case size
    /// Made from plain values and passed over.
    case opaque
    /// Named only, as an argument.
    case tensorClass
  }

  /// Module and name as GLOBAL writes them, with a space between.
  package var name: String
  package var role: Role

  /// Position in `allowed` of a module and a name with a space between.
  static func index(of name: [UInt8]) -> Int? { byName[name] }

  private static let byName = Dictionary(
    uniqueKeysWithValues: allowed.enumerated().map { (Array($1.name.utf8), $0) })

  // swift-format-ignore
  package static let allowed: [PickleGlobal] = [
    .init("torch._utils _rebuild_tensor", .tensor(argumentCounts: 4...4, isTyped: false)),
    .init("torch._utils _rebuild_tensor_v2", .tensor(argumentCounts: 6...7, isTyped: false)),
    .init("torch._utils _rebuild_tensor_v3", .tensor(argumentCounts: 7...8, isTyped: true)),
    .init("torch._utils _rebuild_parameter", .parameter(argumentCount: 3)),
    .init("torch._utils _rebuild_parameter_with_state", .parameter(argumentCount: 4)),
    .init("torch._tensor _rebuild_from_type_v2", .tensorWithState),
    .init("torch Tensor", .tensorClass),
    .init("torch.nn.parameter Parameter", .tensorClass),

    .init("torch DoubleStorage", .storage(.f64)),
    .init("torch FloatStorage", .storage(.f32)),
    .init("torch HalfStorage", .storage(.f16)),
    .init("torch BFloat16Storage", .storage(.bf16)),
    .init("torch LongStorage", .storage(.i64)),
    .init("torch IntStorage", .storage(.i32)),
    .init("torch ShortStorage", .storage(.i16)),
    .init("torch CharStorage", .storage(.i8)),
    .init("torch ByteStorage", .storage(.u8)),
    .init("torch BoolStorage", .storage(.bool)),
    .init("torch ComplexFloatStorage", .storage(.c64)),
    .init("torch.storage UntypedStorage", .storage(nil)),

    .init("torch float64", .elementType(.f64)),
    .init("torch float32", .elementType(.f32)),
    .init("torch float16", .elementType(.f16)),
    .init("torch bfloat16", .elementType(.bf16)),
    .init("torch int64", .elementType(.i64)),
    .init("torch int32", .elementType(.i32)),
    .init("torch int16", .elementType(.i16)),
    .init("torch int8", .elementType(.i8)),
    .init("torch uint64", .elementType(.u64)),
    .init("torch uint32", .elementType(.u32)),
    .init("torch uint16", .elementType(.u16)),
    .init("torch uint8", .elementType(.u8)),
    .init("torch bool", .elementType(.bool)),
    .init("torch float8_e4m3fn", .elementType(.f8_E4M3)),
    .init("torch float8_e5m2", .elementType(.f8_E5M2)),
    .init("torch float8_e8m0fnu", .elementType(.f8_E8M0)),
    .init("torch complex64", .elementType(.c64)),
    .init("torch complex128", .elementType(nil)),

    .init("collections OrderedDict", .orderedDictionary),
    .init("torch Size", .size),
    .init("torch device", .opaque),
    .init("torch.serialization _get_layout", .opaque),
    .init("_io BytesIO", .opaque),
    .init("io BytesIO", .opaque),
    .init("_codecs encode", .opaque),
    .init("__builtin__ bytes", .opaque),
    .init("builtins bytes", .opaque),
    .init("__builtin__ bytearray", .opaque),
    .init("builtins bytearray", .opaque),
    .init("__builtin__ set", .opaque),
    .init("builtins set", .opaque),
    .init("__builtin__ complex", .opaque),
    .init("builtins complex", .opaque),
  ]

  private init(_ name: String, _ role: Role) {
    self.name = name
    self.role = role
  }
}
