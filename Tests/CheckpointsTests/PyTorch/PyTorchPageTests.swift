import Checkpoints
import Tensors
import TestSupport
import Testing

private func table(_ columns: [String]) throws -> [[String]] {
  try MarkdownTable(page: "pytorch.md", columns: columns).rows.map { row in
    try columns.map { try #require(row[$0]) }
  }
}

@Test func opcodesMatchThePage() throws {
  let rows = try table(["opcode", "byte", "read"])
  let opcodes = PickleOpcode.allCases.map { opcode in
    [
      opcode.name, "0x" + String(opcode.rawValue, radix: 16, uppercase: true),
      opcode.isRead ? "yes" : "no",
    ]
  }
  #expect(rows == opcodes)
  // Every instruction of protocols 0 to 5.
  #expect(rows.count == 68)
}

@Test func pickleLimitsMatchThePage() throws {
  let rows = try table(["limit", "value"])
  #expect(
    rows == [
      ["bytes", "\(PickleLimits.byteCount)"],
      ["instructions", "\(PickleLimits.opcodeCount)"],
      ["values on the stack", "\(PickleLimits.stackCount)"],
      ["nested marks", "\(PickleLimits.markCount)"],
      ["bytes of values", "\(PickleLimits.heldByteCount)"],
      ["bytes of values in any file", "\(PickleLimits.freeHeldByteCount)"],
      ["bytes of values per byte of pickle", "\(PickleLimits.heldBytesPerByte)"],
      ["dimensions", "\(PickleLimits.dimensionCount)"],
      ["bytes of a text that is kept", "\(PickleLimits.textByteCount)"],
      ["bytes of a name", "\(PickleLimits.nameByteCount)"],
      ["bytes of an integer", "\(PickleLimits.integerByteCount)"],
    ])
}

@Test func allowedNamesMatchThePage() throws {
  let rows = try table(["name", "meaning"])
  let names = PickleGlobal.allowed.map { global in
    let meaning =
      switch global.role {
      case .tensor: "a tensor"
      case .parameter: "the tensor in its arguments"
      case .tensorWithState: "a tensor with attributes, which are dropped"
      case .tensorClass: "a class, as argument only"
      case .storage(nil): "a storage of bytes"
      case .storage(.some(let type)): "a storage of \(type.name)"
      case .elementType(nil): "an element type that is not read"
      case .elementType(.some(let type)): "element type \(type.name)"
      case .orderedDictionary: "a dictionary"
      case .size: "the tuple in its arguments"
      case .opaque: "passed over"
      }
    return [global.name, meaning]
  }
  #expect(rows == names)
}
