/// Bounds of what is read; the largest published checkpoint files stay far below.
///
/// Source: formats/pytorch.md
package enum PickleLimits {
  package static let byteCount: UInt64 = 64 << 20
  package static let opcodeCount = 8_388_608
  package static let stackCount = 65_536
  package static let markCount = 1_024
  package static let memoCount = 1_048_576
  /// Tuples, lists, dictionaries and sets.
  package static let containerCount = 1_048_576
  package static let tensorCount = 1_048_576
  package static let dimensionCount = 64
  /// Of a text that is kept; longer ones are no names and are passed over.
  package static let textByteCount: UInt64 = 65_535
  /// Of a module's or a class's name.
  package static let nameByteCount = 255
  package static let integerByteCount: UInt64 = 255
}
