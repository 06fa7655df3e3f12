import ByteIO
import Tensors

/// What an instruction of a pickle leaves on the stack: data, never an object.
///
/// Containers and texts are numbers into `PickleHeap`: no depth of nesting is a depth of recursion,
/// and a value takes 16 bytes whatever it is.
enum PickleValue: Sendable {
  case none
  case bool(Bool)
  case int(Int)
  /// More than 64 bits: a number into `PickleHeap.longs`.
  case long(Int)
  case float(Double)
  case text(Int)
  /// Something that no tensor needs: bytes, sets, devices, buffers.
  case opaque
  /// A number into `PickleGlobal.allowed`.
  case global(Int)
  case tuple(Int)
  case list(Int)
  case dictionary(Int)
  case storage(Int)
  case tensor(Int)

  /// For errors.
  var kind: String {
    switch self {
    case .none: "None"
    case .bool: "a bool"
    case .int, .long: "an integer"
    case .float: "a float"
    case .text: "a text"
    case .opaque: "an object that is passed over"
    case .global(let global): PickleGlobal.allowed[global].name
    case .tuple: "a tuple"
    case .list: "a list"
    case .dictionary: "a dictionary"
    case .storage: "a storage"
    case .tensor: "a tensor"
    }
  }
}

/// The bytes behind one or more tensors, as a persistent id names them.
struct PickledStorage: Hashable, Sendable {
  /// `data/KEY` in a ZIP archive; an address in the legacy form.
  var key: ExactString
  /// `nil` for untyped storages, whose elements are bytes.
  var type: TensorType?
  var elementCount: Int

  var bytesPerElement: Int { type?.bytesPerBlock ?? 1 }
  /// Checked against overflow when the id was read.
  var byteCount: Int { elementCount * bytesPerElement }
}

/// A view of a storage; it was checked to lie inside.
struct PickledTensor: Hashable, Sendable {
  /// Index into `PickleHeap.storages`.
  var storage: Int
  var type: TensorType
  /// In elements of `type`.
  var firstElement: Int
  var shape: Shape
  /// Elements from one entry to the next, per dimension.
  var strides: [Int]
}

/// Everything that the values of a pickle refer to.
struct PickleHeap: Sendable {
  /// Entries of tuples and lists; of dictionaries key, value, key, value in the order of the file.
  var containers: [[PickleValue]] = []
  var texts: [ExactString] = []
  /// Little-endian two's complement.
  var longs: [[UInt8]] = []
  var storages: [PickledStorage] = []
  var tensors: [PickledTensor] = []
  /// The empty tuple, once there is one.
  var emptyTuple: Int?
  private var storageByKey: [ExactString: Int] = [:]

  /// Bytes of memory that all of this takes, and what is made of it.
  var chargedByteCount: UInt64 = 0
  /// Bytes of the pickles of the same file that were read to their ends.
  var readByteCount: UInt64 = 0

  func entries(_ dictionary: Int) -> some Sequence<(key: PickleValue, value: PickleValue)> {
    let items = containers[dictionary]
    return stride(from: 0, to: items.count, by: 2).lazy.map { (items[$0], items[$0 + 1]) }
  }

  /// The text that a value is, if it is one.
  func text(_ value: PickleValue) -> ExactString? {
    if case .text(let index) = value { texts[index] } else { nil }
  }

  /// The number of a storage; `nil` when its key already stands for another one.
  mutating func intern(_ storage: PickledStorage) -> Int? {
    if let known = storageByKey[storage.key] {
      return storages[known] == storage ? known : nil
    }
    storageByKey[storage.key] = storages.count
    storages.append(storage)
    return storages.count - 1
  }

  func storage(_ key: ExactString) -> PickledStorage? {
    storageByKey[key].map { storages[$0] }
  }
}
