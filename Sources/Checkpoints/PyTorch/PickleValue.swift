import ByteIO
import Tensors

/// What an instruction of a pickle leaves on the stack: data, never an object.
///
/// Containers are numbers into `PickleHeap`, so that no depth of nesting is a depth of recursion.
enum PickleValue: Sendable {
  case none
  case bool(Bool)
  case int(Int)
  /// More than 64 bits, little-endian two's complement.
  case long([UInt8])
  case float(Double)
  case text(ExactString)
  /// Something that no tensor needs: bytes, sets, devices, buffers.
  case opaque
  case global(PickleGlobal)
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
    case .global(let global): global.name
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
  var storages: [PickledStorage] = []
  var tensors: [PickledTensor] = []
  private var storageByKey: [ExactString: Int] = [:]

  func entries(_ dictionary: Int) -> some Sequence<(key: PickleValue, value: PickleValue)> {
    let items = containers[dictionary]
    return stride(from: 0, to: items.count, by: 2).lazy.map { (items[$0], items[$0 + 1]) }
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
