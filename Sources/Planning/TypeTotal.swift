import ByteIO
import StrictJSON
import Tensors

/// How many tensors, weights and bytes have one type.
public struct TypeTotal: Hashable, Sendable {
  public var type: TensorType
  public var tensorCount: Int
  public var weightCount: UInt64
  public var byteCount: UInt64

  package init(type: TensorType, tensorCount: Int, weightCount: UInt64, byteCount: UInt64) {
    self.type = type
    self.tensorCount = tensorCount
    self.weightCount = weightCount
    self.byteCount = byteCount
  }

  /// Sums by type, most bytes first.
  package static func list(_ tensors: [(type: TensorType, weights: UInt64, bytes: UInt64)])
    -> [TypeTotal]
  {
    var totals: [TensorType: TypeTotal] = [:]
    for (type, weights, bytes) in tensors {
      let empty = TypeTotal(type: type, tensorCount: 0, weightCount: 0, byteCount: 0)
      totals[type, default: empty].tensorCount += 1
      totals[type, default: empty].weightCount += weights
      totals[type, default: empty].byteCount += bytes
    }
    return totals.values.sorted { ($0.byteCount, $1.type.name) > ($1.byteCount, $0.type.name) }
  }

  package static func table(_ totals: [TypeTotal]) -> [String] {
    TextTable(
      ["type", "tensors", "weights", "bytes"],
      totals.map {
        [$0.type.name, "\($0.tensorCount)", "\($0.weightCount)", "\($0.byteCount)"]
      }, rightAligned: [1, 2, 3]
    ).lines
  }

  package static func write(_ totals: [TypeTotal], to json: inout JSONWriter) {
    json.array { json in
      for total in totals {
        json.object { json in
          json.key("type")
          json.value(total.type.name)
          json.key("tensors")
          json.value(total.tensorCount)
          json.key("weights")
          json.value(total.weightCount)
          json.key("bytes")
          json.value(total.byteCount)
        }
      }
    }
  }
}
