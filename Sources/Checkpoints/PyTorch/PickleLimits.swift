/// Bounds of what is read; the largest published checkpoint files stay far below.
///
/// Source: formats/pytorch.md
package enum PickleLimits {
  package static let byteCount: UInt64 = 64 << 20
  package static let opcodeCount = 8_388_608
  package static let stackCount = 65_536
  package static let markCount = 1_024
  package static let dimensionCount = 64
  /// Of a text that is kept; longer ones are no names and are passed over.
  package static let textByteCount: UInt64 = 65_535
  /// Of a module's or a class's name.
  package static let nameByteCount = 255
  package static let integerByteCount: UInt64 = 255

  /// Memory for what the pickles of a file make, whatever they are.
  package static let heldByteCount: UInt64 = 64 << 20
  /// Memory that any file may have, and that each byte of a pickle adds.
  package static let freeHeldByteCount: UInt64 = 1 << 20
  package static let heldBytesPerByte: UInt64 = 64
}

/// Bytes of memory that the values of a pickle take.
///
/// What is made of them later (descriptors, places in the file) is counted here too.
enum PickleCharge {
  static let item: UInt64 = 16
  static let container: UInt64 = 48
  /// And its bytes.
  static let text: UInt64 = 64
  /// And those of its key.
  static let storage: UInt64 = 256
  static let tensor: UInt64 = 512
  static let dimension: UInt64 = 32
  /// Of an entry of the memo that is not the next one.
  static let scatteredMemo: UInt64 = 64
}
