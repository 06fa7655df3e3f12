/// An instruction of the pickle language, by its byte.
///
/// Source: formats/pytorch.md, which has one row per case.
package enum PickleOpcode: UInt8, CaseIterable, Sendable {
  // Structure.
  case PROTO = 0x80
  case FRAME = 0x95
  case STOP = 0x2E
  case MARK = 0x28
  // Constants.
  case NONE = 0x4E
  case NEWTRUE = 0x88
  case NEWFALSE = 0x89
  case BININT = 0x4A
  case BININT1 = 0x4B
  case BININT2 = 0x4D
  case LONG1 = 0x8A
  case LONG4 = 0x8B
  case BINFLOAT = 0x47
  case BINSTRING = 0x54
  case SHORT_BINSTRING = 0x55
  case BINUNICODE = 0x58
  case SHORT_BINUNICODE = 0x8C
  case BINUNICODE8 = 0x8D
  case BINBYTES = 0x42
  case SHORT_BINBYTES = 0x43
  case BINBYTES8 = 0x8E
  case BYTEARRAY8 = 0x96
  // Containers.
  case EMPTY_TUPLE = 0x29
  case TUPLE = 0x74
  case TUPLE1 = 0x85
  case TUPLE2 = 0x86
  case TUPLE3 = 0x87
  case EMPTY_LIST = 0x5D
  case APPEND = 0x61
  case APPENDS = 0x65
  case EMPTY_DICT = 0x7D
  case SETITEM = 0x73
  case SETITEMS = 0x75
  case EMPTY_SET = 0x8F
  case ADDITEMS = 0x90
  case FROZENSET = 0x91
  // Memo.
  case BINPUT = 0x71
  case LONG_BINPUT = 0x72
  case MEMOIZE = 0x94
  case BINGET = 0x68
  case LONG_BINGET = 0x6A
  // Names and what is made of them.
  case GLOBAL = 0x63
  case STACK_GLOBAL = 0x93
  case REDUCE = 0x52
  case NEWOBJ = 0x81
  case BUILD = 0x62
  case BINPERSID = 0x51
  // Refused: no checkpoint has them.
  case EXT1 = 0x82
  case EXT2 = 0x83
  case EXT4 = 0x84
  case INST = 0x69
  case OBJ = 0x6F
  case NEWOBJ_EX = 0x92
  case PERSID = 0x50
  case POP = 0x30
  case POP_MARK = 0x31
  case DUP = 0x32
  case INT = 0x49
  case LONG = 0x4C
  case FLOAT = 0x46
  case STRING = 0x53
  case UNICODE = 0x56
  case LIST = 0x6C
  case DICT = 0x64
  case PUT = 0x70
  case GET = 0x67
  case NEXT_BUFFER = 0x97
  case READONLY_BUFFER = 0x98

  /// The name that Python gives it.
  package var name: String { "\(self)" }

  /// Whether a state dictionary may hold it.
  package var isRead: Bool {
    switch self {
    case .EXT1, .EXT2, .EXT4, .INST, .OBJ, .NEWOBJ_EX, .PERSID, .POP, .POP_MARK, .DUP, .INT,
      .LONG, .FLOAT, .STRING, .UNICODE, .LIST, .DICT, .PUT, .GET, .NEXT_BUFFER, .READONLY_BUFFER:
      false
    default: true
    }
  }
}
