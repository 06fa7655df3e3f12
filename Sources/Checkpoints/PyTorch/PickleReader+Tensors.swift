import ByteIO
import Tensors

extension PickleReader {
  /// The value that a REDUCE or NEWOBJ stands for.
  mutating func construct(_ target: PickleValue, _ arguments: PickleValue) throws(FormatError)
    -> PickleValue
  {
    guard let global = target.global, case .tuple(let tuple) = arguments else {
      throw error(
        .unsupported(
          found: "\(target.kind) applied to \(arguments.kind)",
          allowed: "a known constructor applied to a tuple"), advice: Self.safeAdvice)
    }
    let values = heap.containers[tuple]
    if opcode == .NEWOBJ, global.role != .opaque {
      throw error(
        .unsupported(found: "a new object of \(global.name)", allowed: "buffers"),
        advice: Self.safeAdvice)
    }
    switch global.role {
    case .tensor(let counts, let isTyped):
      guard counts.contains(values.count) else { throw wrongArguments(global) }
      return try tensor(global, values, isTyped: isTyped)
    case .parameter(let count):
      guard values.count == count, case .tensor = values[0] else { throw wrongArguments(global) }
      return values[0]
    case .tensorWithState:
      guard values.count == 4, let inner = values[0].global,
        let type = values[1].global, type.role == .tensorClass
      else { throw wrongArguments(global) }
      switch inner.role {
      case .tensor, .parameter: return try construct(values[0], values[2])
      default: throw wrongArguments(global)
      }
    case .orderedDictionary: return try orderedDictionary(global, values)
    case .size:
      guard values.count == 1, case .tuple = values[0] else { throw wrongArguments(global) }
      return values[0]
    case .opaque: return .opaque
    case .storage, .elementType, .tensorClass: throw wrongArguments(global)
    }
  }

  private func wrongArguments(_ global: PickleGlobal) -> FormatError {
    error(.unsupported(found: "\(global.name) with other arguments", allowed: "its own"))
  }

  /// Empty, or of Python 2: a list of pairs.
  private mutating func orderedDictionary(_ global: PickleGlobal, _ values: [PickleValue])
    throws(FormatError) -> PickleValue
  {
    guard let first = values.first else { return .dictionary(try allocate()) }
    guard values.count == 1, case .list(let list) = first else { throw wrongArguments(global) }
    // One list may be used again and again: what is copied is counted before.
    let dictionary = try allocate()
    try charge(2 * PickleCharge.item * UInt64(heap.containers[list].count))
    var items: [PickleValue] = []
    for entry in heap.containers[list] {
      switch entry {
      case .tuple(let pair), .list(let pair):
        guard heap.containers[pair].count == 2 else { throw wrongArguments(global) }
        items += heap.containers[pair]
      default: throw wrongArguments(global)
      }
    }
    heap.containers[dictionary] = items
    return .dictionary(dictionary)
  }

  /// `(storage, offset, shape, strides, requires gradient, hooks, [type], [metadata])`.
  private mutating func tensor(_ global: PickleGlobal, _ values: [PickleValue], isTyped: Bool)
    throws(FormatError) -> PickleValue
  {
    guard case .storage(let index) = values[0], case .int(let first) = values[1],
      let shape = try counts(values[2]), let strides = try counts(values[3]),
      shape.count == strides.count
    else { throw wrongArguments(global) }
    guard first >= 0, shape.allSatisfy({ $0 >= 0 }), strides.allSatisfy({ $0 >= 0 }) else {
      throw error(.outOfRange(found: "a negative number", allowed: "0 or more"))
    }
    // Bits that say "negate" or "conjugate when read".
    if values.count > (isTyped ? 7 : 6), let metadata = values.last, !isEmpty(metadata) {
      throw error(
        .unsupported(found: "a tensor with conjugate or negative bit", allowed: "plain tensors"))
    }
    let storage = heap.storages[index]
    let type: TensorType
    if isTyped {
      guard let global = values[6].global, case .elementType(let named) = global.role else {
        throw wrongArguments(global)
      }
      guard let named else {
        throw error(.unsupported(found: global.name, allowed: "types of at most 64 bits"))
      }
      type = named
    } else {
      type = storage.type ?? .u8
    }
    let view = PickledTensor(
      storage: index, type: type, firstElement: first, shape: Shape(shape), strides: strides)
    try check(view, in: storage)
    try charge(PickleCharge.tensor + PickleCharge.dimension * UInt64(shape.count))
    heap.tensors.append(view)
    return .tensor(heap.tensors.count - 1)
  }

  private func counts(_ value: PickleValue) throws(FormatError) -> [Int]? {
    guard case .tuple(let tuple) = value else { return nil }
    let items = heap.containers[tuple]
    guard items.count <= PickleLimits.dimensionCount else {
      throw tooMany("dimensions", PickleLimits.dimensionCount)
    }
    var counts: [Int] = []
    counts.reserveCapacity(items.count)
    for item in items {
      guard case .int(let count) = item else { return nil }
      counts.append(count)
    }
    return counts
  }

  private func isEmpty(_ value: PickleValue) -> Bool {
    switch value {
    case .none: true
    case .dictionary(let dictionary): heap.containers[dictionary].isEmpty
    default: false
    }
  }

  /// Every element of a view lies inside its storage, and sizes do not overflow.
  private func check(_ view: PickledTensor, in storage: PickledStorage) throws(FormatError) {
    guard let count = view.shape.checkedElementCount, view.type.byteCount(weightCount: count) != nil
    else {
      throw error(
        .outOfRange(
          found: printable("\(view.shape)", limit: 120), allowed: "a product below 2^63 bytes"))
    }
    guard count > 0 else { return }
    var (last, overflows) = (view.firstElement, false)
    for (dimension, stride) in zip(view.shape.dimensions, view.strides) {
      let (distance, tooFar) = (dimension - 1).multipliedReportingOverflow(by: stride)
      let (sum, tooLarge) = last.addingReportingOverflow(distance)
      (last, overflows) = (sum, overflows || tooFar || tooLarge)
    }
    let available = storage.byteCount / view.type.bytesPerBlock
    guard !overflows, last < available else {
      throw error(
        .outOfRange(
          found: "element \(overflows ? "beyond 2^63" : "\(last)") of the storage",
          allowed: "below \(available)"))
    }
  }

  /// `("storage", storage type, key, device, element count [, view])`.
  mutating func storage(_ id: PickleValue) throws(FormatError) -> PickleValue {
    guard case .tuple(let tuple) = id else {
      throw error(.unsupported(found: "\(id.kind) as persistent id", allowed: "a storage's tuple"))
    }
    let values = heap.containers[tuple]
    guard (5...6).contains(values.count), heap.text(values[0]) == "storage",
      let global = values[1].global, case .storage(let type) = global.role,
      let key = heap.text(values[2]), case .int(let elementCount) = values[4]
    else {
      let kinds = values.prefix(6).map { value in
        heap.text(value).map { "\"\(printable($0.string, limit: 40))\"" } ?? value.kind
      }
      throw error(
        .unsupported(
          found: "persistent id (\(kinds.joined(separator: ", ")))",
          allowed: "(\"storage\", storage type, key, device, element count)"))
    }
    if values.count == 6 {
      guard case .none = values[5] else {
        throw error(
          .unsupported(
            found: "a view of a storage, of torch before 0.4", allowed: "whole storages"),
          advice: "load and save the file with a newer torch")
      }
    }
    let storage = PickledStorage(key: key, type: type, elementCount: elementCount)
    guard elementCount >= 0,
      !elementCount.multipliedReportingOverflow(by: storage.bytesPerElement).overflow
    else {
      throw error(
        .outOfRange(found: "\(elementCount) elements", allowed: "0 or more, below 2^63 bytes"))
    }
    let knownCount = heap.storages.count
    guard let index = heap.intern(storage) else {
      throw error(
        .inconsistent("storage \(printable(key.string, limit: 40)) has two types or sizes"))
    }
    if index == knownCount { try charge(PickleCharge.storage + UInt64(key.utf8.count)) }
    return .storage(index)
  }
}

extension PickleValue {
  fileprivate var global: PickleGlobal? {
    if case .global(let index) = self { PickleGlobal.allowed[index] } else { nil }
  }
}
