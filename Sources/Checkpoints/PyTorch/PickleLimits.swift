/// Bounds of what is read; the largest published checkpoint files stay far below.
///
/// Source: formats/pytorch.md
enum PickleLimits {
  static let byteCount: UInt64 = 64 << 20
  static let opcodeCount = 8_388_608
  static let stackCount = 65_536
  static let markCount = 1_024
  static let memoCount = 1_048_576
  /// Tuples, lists, dictionaries and sets.
  static let containerCount = 1_048_576
  static let tensorCount = 1_048_576
  static let dimensionCount = 64
  /// Of a text that is kept; longer ones are no names and are passed over.
  static let textByteCount: UInt64 = 65_535
  /// Of a module's or a class's name.
  static let nameByteCount = 255
  static let integerByteCount: UInt64 = 255
}
