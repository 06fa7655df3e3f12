/// A string that equals another only when their UTF-8 bytes are equal.
///
/// Swift's `String` calls composed and decomposed "é" equal; in a file they are two tensor names or
/// two tokens. Names from files are keyed by this type.
public struct ExactString: Hashable, Sendable, Comparable, ExpressibleByStringLiteral,
  CustomStringConvertible
{
  public var string: String

  public init(_ string: String) { self.string = string }
  public init(stringLiteral value: String) { string = value }

  /// Decodes UTF-8; `nil` when the bytes are not valid UTF-8.
  public init?(utf8 bytes: some Sequence<UInt8>) {
    guard let string = String(validating: bytes, as: UTF8.self) else { return nil }
    self.string = string
  }

  public var utf8: String.UTF8View { string.utf8 }
  public var description: String { string }

  public static func == (a: Self, b: Self) -> Bool {
    a.string.utf8.count == b.string.utf8.count && a.string.utf8.elementsEqual(b.string.utf8)
  }
  /// Order of bytes, which for valid UTF-8 is the order of code points.
  public static func < (a: Self, b: Self) -> Bool {
    a.string.utf8.lexicographicallyPrecedes(b.string.utf8)
  }
  public func hash(into hasher: inout Hasher) {
    var copy = string
    copy.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
  }
}
