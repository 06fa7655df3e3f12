import ByteIO

/// Reads the value of one pickle as data.
///
/// A pickle is a program for a small stack machine that can name any function of Python and have
/// it called. This machine has no functions: a name is either on the list of `PickleGlobal` and
/// stands for a tensor, a storage or a dictionary, or the file is refused. Protocols 2 to 5.
///
/// Source: formats/pytorch.md
struct PickleReader {
  /// Everything that values refer to; several pickles of one file share it.
  var heap: PickleHeap
  var cursor: FileCursor
  private let start: UInt64
  /// Position of the opcode that is being carried out, for errors.
  private(set) var opcodeOffset: UInt64
  private(set) var opcode: PickleOpcode = .PROTO

  private var stack: [PickleValue] = []
  /// Heights of the stack at each MARK that is not closed yet.
  private var marks: [Int] = []
  /// Entries 0, 1, 2, … as pickles number them.
  private var memo: [PickleValue] = []
  /// Those whose number was not the next one.
  private var scatteredMemo: [UInt32: PickleValue] = [:]
  private var frameEnd: UInt64?

  /// - Parameters:
  ///   - cursor: at the first byte; its end is the most that may be read.
  ///   - heap: of the pickles before this one.
  init(_ cursor: FileCursor, heap: PickleHeap = PickleHeap()) {
    self.cursor = cursor
    self.heap = heap
    start = cursor.offset
    opcodeOffset = cursor.offset
  }

  /// Reads up to STOP; the cursor stands behind it then.
  mutating func read() throws(FormatError) -> PickleValue {
    try readProtocol()
    var opcodeCount = 0
    while true {
      opcodeOffset = cursor.offset
      let byte: UInt8 = try cursor.readInteger("pickle.opcode")
      guard let next = PickleOpcode(rawValue: byte) else {
        throw cursor.error(
          "pickle.opcode",
          .unsupported(
            found: "byte 0x\(String(byte, radix: 16))",
            allowed: "the instructions of protocols 2 to 5"), at: opcodeOffset)
      }
      opcode = next
      opcodeCount += 1
      guard opcodeCount <= PickleLimits.opcodeCount else {
        throw tooMany("instructions", PickleLimits.opcodeCount)
      }
      guard cursor.offset - start <= PickleLimits.byteCount else {
        throw tooMany("bytes", Int(PickleLimits.byteCount))
      }
      if opcode == .STOP { break }
      guard opcode.isRead else {
        throw error(
          .unsupported(found: opcode.name, allowed: "the instructions of state dictionaries"),
          advice: Self.safeAdvice)
      }
      try execute()
      if let end = frameEnd, cursor.offset >= end {
        guard cursor.offset == end else {
          throw error(.inconsistent("crosses the end of its frame at byte \(end)"))
        }
        frameEnd = nil
      }
    }
    guard marks.isEmpty, stack.count == 1, let value = stack.last else {
      throw error(.malformed("\(stack.count) values are left on the stack instead of 1"))
    }
    guard frameEnd == nil || frameEnd == cursor.offset else {
      throw error(.inconsistent("stands inside a frame that goes on"))
    }
    heap.readByteCount += cursor.offset - start
    return value
  }

  static let safeAdvice =
    "if you trust the file, load it in Python and save its tensors with safetensors"

  private mutating func readProtocol() throws(FormatError) {
    let first: UInt8 = try cursor.readInteger("pickle.PROTO")
    guard first == PickleOpcode.PROTO.rawValue else {
      throw error(
        .unsupported(
          found: "byte 0x\(String(first, radix: 16))", allowed: "PROTO as first instruction"))
    }
    let version: UInt8 = try cursor.readInteger("pickle.PROTO")
    guard (2...5).contains(version) else {
      throw error(.unsupported(found: "protocol \(version)", allowed: "2 to 5"))
    }
  }

  // MARK: The stack

  mutating func push(_ value: PickleValue) throws(FormatError) {
    guard stack.count < PickleLimits.stackCount else {
      throw tooMany("values on the stack", PickleLimits.stackCount)
    }
    stack.append(value)
  }

  /// Takes the top value; what lies below the last MARK stays out of reach.
  mutating func pop() throws(FormatError) -> PickleValue {
    guard stack.count > marks.last ?? 0, let value = stack.popLast() else {
      throw error(.malformed("takes a value from an empty stack"))
    }
    return value
  }

  /// Takes everything above the last MARK.
  mutating func popToMark() throws(FormatError) -> [PickleValue] {
    guard let height = marks.popLast() else { throw error(.malformed("has no MARK before it")) }
    let values = Array(stack[height...])
    stack.removeSubrange(height...)
    return values
  }

  mutating func pushMark() throws(FormatError) {
    guard marks.count < PickleLimits.markCount else {
      throw tooMany("nested marks", PickleLimits.markCount)
    }
    marks.append(stack.count)
  }

  // MARK: Memory

  /// Puts a new container on the heap and returns its number.
  mutating func allocate(_ items: [PickleValue] = []) throws(FormatError) -> Int {
    try charge(PickleCharge.container + PickleCharge.item * UInt64(items.count))
    heap.containers.append(items)
    return heap.containers.count - 1
  }

  /// Adds to a container.
  mutating func extend(_ container: Int, _ items: [PickleValue]) throws(FormatError) {
    try charge(PickleCharge.item * UInt64(items.count))
    heap.containers[container].append(contentsOf: items)
  }

  /// Counts memory before it is taken: a file gets as much as its pickles' bytes justify.
  mutating func charge(_ byteCount: UInt64) throws(FormatError) {
    let readByteCount = heap.readByteCount + (cursor.offset - start)
    let limit = min(
      PickleLimits.heldByteCount,
      PickleLimits.freeHeldByteCount + PickleLimits.heldBytesPerByte * readByteCount)
    let (sum, overflow) = heap.chargedByteCount.addingReportingOverflow(byteCount)
    guard !overflow, sum <= limit else {
      throw error(
        .outOfRange(
          found: "more than \(limit) bytes of values after \(readByteCount) bytes of pickle",
          allowed: "at most \(limit)"))
    }
    heap.chargedByteCount = sum
  }

  // MARK: The memo

  mutating func store(_ index: UInt32) throws(FormatError) {
    guard stack.count > marks.last ?? 0, let value = stack.last else {
      throw error(.malformed("stores a value of an empty stack"))
    }
    if Int(index) < memo.count {
      memo[Int(index)] = value
    } else if Int(index) == memo.count {
      try charge(PickleCharge.item)
      memo.append(value)
      if !scatteredMemo.isEmpty { scatteredMemo[index] = nil }
    } else {
      if scatteredMemo[index] == nil { try charge(PickleCharge.scatteredMemo) }
      scatteredMemo[index] = value
    }
  }

  mutating func memoize() throws(FormatError) {
    try store(UInt32(memo.count + scatteredMemo.count))
  }

  mutating func load(_ index: UInt32) throws(FormatError) {
    let known = Int(index) < memo.count ? memo[Int(index)] : scatteredMemo[index]
    guard let known else {
      throw error(.malformed("memo entry \(index) was never stored"))
    }
    try push(known)
  }

  mutating func beginFrame() throws(FormatError) {
    let byteCount: UInt64 = try readInteger()
    guard frameEnd == nil else { throw error(.inconsistent("starts inside another frame")) }
    try require(byteCount)
    frameEnd = cursor.offset + byteCount
  }

  // MARK: Fields and errors

  /// Of the instruction; only made for errors.
  var field: String { "pickle.\(opcode.name)" }

  /// Throws unless the pickle has so many bytes more; readers behind it name no instruction.
  func require(_ byteCount: UInt64) throws(FormatError) {
    guard byteCount <= cursor.bytesLeft else {
      try cursor.require(byteCount, field)
      return
    }
  }

  mutating func readInteger<T: FixedWidthInteger>(as type: T.Type = T.self) throws(FormatError) -> T
  {
    try require(UInt64(MemoryLayout<T>.size))
    return try cursor.readInteger("pickle")
  }

  /// An error about the opcode that is being carried out.
  func error(_ reason: FormatError.Reason, advice: String? = nil) -> FormatError {
    cursor.error(field, reason, at: opcodeOffset, advice: advice)
  }

  func tooMany(_ what: String, _ limit: Int) -> FormatError {
    error(.outOfRange(found: "more than \(limit) \(what)", allowed: "at most \(limit)"))
  }
}
