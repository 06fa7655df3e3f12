import ByteIO

extension PickleReader {
  /// Carries out the opcode that was just read.
  mutating func execute() throws(FormatError) {
    switch opcode {
    case .PROTO: throw error(.malformed("stands inside the pickle"))
    case .FRAME: try beginFrame()
    case .MARK: try pushMark()

    case .NONE: try push(.none)
    case .NEWTRUE: try push(.bool(true))
    case .NEWFALSE: try push(.bool(false))
    case .BININT: try push(.int(Int(try readInteger(as: Int32.self))))
    case .BININT1: try push(.int(Int(try readInteger(as: UInt8.self))))
    case .BININT2: try push(.int(Int(try readInteger(as: UInt16.self))))
    case .LONG1: try pushInteger(byteCount: UInt64(try readInteger(as: UInt8.self)))
    case .LONG4: try pushInteger(byteCount: UInt64(try readInteger(as: UInt32.self)))
    case .BINFLOAT:
      try push(.float(Double(bitPattern: try readInteger(as: UInt64.self).byteSwapped)))
    case .SHORT_BINSTRING, .SHORT_BINUNICODE:
      try pushText(byteCount: UInt64(try readInteger(as: UInt8.self)))
    case .BINSTRING, .BINUNICODE: try pushText(byteCount: UInt64(try readInteger(as: UInt32.self)))
    case .BINUNICODE8: try pushText(byteCount: try readInteger())
    case .SHORT_BINBYTES: try skipBytes(UInt64(try readInteger(as: UInt8.self)))
    case .BINBYTES: try skipBytes(UInt64(try readInteger(as: UInt32.self)))
    case .BINBYTES8, .BYTEARRAY8: try skipBytes(try readInteger())

    case .EMPTY_TUPLE: try push(.tuple(try emptyTuple()))
    case .TUPLE: try push(.tuple(try allocate(try popToMark())))
    case .TUPLE1: try pushTuple(count: 1)
    case .TUPLE2: try pushTuple(count: 2)
    case .TUPLE3: try pushTuple(count: 3)
    case .EMPTY_LIST: try push(.list(try allocate()))
    case .APPEND: try append([try pop()])
    case .APPENDS: try append(try popToMark())
    case .EMPTY_DICT: try push(.dictionary(try allocate()))
    case .SETITEM:
      let value = try pop()
      try setItems([try pop(), value])
    case .SETITEMS: try setItems(try popToMark())
    case .EMPTY_SET: try push(.opaque)
    case .ADDITEMS:
      _ = try popToMark()
      guard case .opaque = try top() else { throw unfit(try top(), "a set") }
    case .FROZENSET:
      _ = try popToMark()
      try push(.opaque)

    case .BINPUT: try store(UInt32(try readInteger(as: UInt8.self)))
    case .LONG_BINPUT: try store(try readInteger())
    case .MEMOIZE: try memoize()
    case .BINGET: try load(UInt32(try readInteger(as: UInt8.self)))
    case .LONG_BINGET: try load(try readInteger())

    case .GLOBAL:
      let module = try readLine()
      try pushGlobal(module, try readLine())
    case .STACK_GLOBAL:
      let (name, module) = (try pop(), try pop())
      guard let nameText = heap.text(name), let moduleText = heap.text(module) else {
        throw error(.malformed("needs two texts, found \(module.kind) and \(name.kind)"))
      }
      try pushGlobal(Array(moduleText.utf8), Array(nameText.utf8))
    case .REDUCE, .NEWOBJ:
      let arguments = try pop()
      try push(try construct(try pop(), arguments))
    case .BUILD: try build()
    case .BINPERSID: try push(try storage(try pop()))

    default: preconditionFailure("\(opcode.name) is refused before")
    }
  }

  // MARK: Constants

  private mutating func pushInteger(byteCount: UInt64) throws(FormatError) {
    try require(byteCount)
    guard byteCount <= PickleLimits.integerByteCount else {
      throw tooMany("bytes of an integer", Int(PickleLimits.integerByteCount))
    }
    let bytes = try cursor.readBytes(byteCount, "pickle")
    guard bytes.count <= 8 else {
      try charge(PickleCharge.text + byteCount)
      heap.longs.append(bytes)
      try push(.long(heap.longs.count - 1))
      return
    }
    let isNegative = bytes.last.map { $0 >= 0x80 } ?? false
    let value = bytes.reversed().reduce(isNegative ? -1 : 0) { $0 << 8 | Int($1) }
    try push(.int(value))
  }

  private mutating func pushText(byteCount: UInt64) throws(FormatError) {
    guard byteCount <= PickleLimits.textByteCount else {
      try skipBytes(byteCount)
      return
    }
    try require(byteCount)
    let bytes = try cursor.readBytes(byteCount, "pickle")
    // Texts of Python 2 may be bytes, and lone surrogates are no UTF-8: none of them is a name.
    guard let text = ExactString(utf8: bytes) else {
      try push(.opaque)
      return
    }
    try charge(PickleCharge.text + byteCount)
    heap.texts.append(text)
    try push(.text(heap.texts.count - 1))
  }

  private mutating func skipBytes(_ byteCount: UInt64) throws(FormatError) {
    try require(byteCount)
    try cursor.skip(byteCount, "pickle")
    try push(.opaque)
  }

  // MARK: Containers

  private mutating func top() throws(FormatError) -> PickleValue {
    let value = try pop()
    try push(value)
    return value
  }

  /// Tuples do not change, so that one empty one does for all.
  private mutating func emptyTuple() throws(FormatError) -> Int {
    if let known = heap.emptyTuple { return known }
    let tuple = try allocate()
    heap.emptyTuple = tuple
    return tuple
  }

  private mutating func pushTuple(count: Int) throws(FormatError) {
    var items: [PickleValue] = []
    for _ in 0..<count { items.append(try pop()) }
    try push(.tuple(try allocate(items.reversed())))
  }

  private mutating func append(_ items: [PickleValue]) throws(FormatError) {
    let target = try top()
    guard case .list(let list) = target else { throw unfit(target, "a list") }
    try extend(list, items)
  }

  private mutating func setItems(_ items: [PickleValue]) throws(FormatError) {
    let target = try top()
    guard case .dictionary(let dictionary) = target else { throw unfit(target, "a dictionary") }
    guard items.count.isMultiple(of: 2) else { throw error(.malformed("a key without a value")) }
    try extend(dictionary, items)
  }

  /// State that goes with a dictionary (`_metadata`) or a buffer says nothing about tensors.
  private mutating func build() throws(FormatError) {
    let state = try pop()
    let target = try top()
    switch (target, state) {
    case (.dictionary, .dictionary), (.opaque, _): return
    default:
      throw error(
        .unsupported(
          found: "\(state.kind) as state of \(target.kind)",
          allowed: "a dictionary as state of a dictionary"), advice: Self.safeAdvice)
    }
  }

  private func unfit(_ value: PickleValue, _ wanted: String) -> FormatError {
    error(.unsupported(found: value.kind, allowed: wanted), advice: Self.safeAdvice)
  }

  // MARK: Names

  /// Reads up to the end of a line, which is no part of it.
  private mutating func readLine() throws(FormatError) -> [UInt8] {
    let limit = PickleLimits.nameByteCount
    guard let line = try cursor.readLine(limit: limit, "pickle") else {
      try require(UInt64(limit) + 1)
      throw tooMany("bytes of a name", limit)
    }
    return line
  }

  private mutating func pushGlobal(_ module: [UInt8], _ name: [UInt8]) throws(FormatError) {
    let full = module + [UInt8(ascii: " ")] + name
    guard let global = PickleGlobal.index(of: full) else {
      let shown = printable(String(decoding: full, as: UTF8.self), limit: 120)
      throw error(
        .unsupported(
          found: "the name \(shown)", allowed: "what state dictionaries of tensors are made of"),
        advice: Self.safeAdvice)
    }
    try push(.global(global))
  }
}
