import Quantizers
import Tensors
import TestSupport
import Testing

/// The pages under formats/quant and the code say the same.
struct FormatPageTests {
  @Test func tableOfTypesMatchesCode() throws {
    let table = try MarkdownTable(
      page: "quant/README.md", columns: ["type", "GGUF number", "weights", "bytes"])
    var listed: Set<TensorType> = []
    for row in table.rows {
      let type = try #require(TensorType(name: row["type"] ?? ""))
      #expect(listed.insert(type).inserted)
      #expect(row["GGUF number"] == type.ggmlID.map(String.init))
      #expect(row["weights"] == String(type.weightsPerBlock))
      #expect(row["bytes"] == String(type.bytesPerBlock))
      let page = type.isBlockType ? "[\(type.name)](\(type.name).md)" : "[elements](elements.md)"
      #expect(row["page"] == page)
      #expect(KernelTable.scalar.canDequantize(type))
    }
    #expect(listed == Set(TensorType.allCases.filter(KernelTable.scalar.canDequantize)))
  }

  @Test(arguments: quantizedTypes.filter(\.isBlockType))
  func fieldsTileTheBlock(_ type: TensorType) throws {
    let fields = try MarkdownTable(
      page: "quant/\(type.name).md", columns: ["offset", "bytes", "field", "holds"])
    var end = 0
    var halves: [Int] = []
    for row in fields.rows {
      #expect(row["offset"] == String(end))
      if row["holds"]?.hasPrefix("F16") == true {
        halves.append(end)
        #expect(row["bytes"] == "2")
      }
      end += try #require(Int(row["bytes"] ?? ""))
    }
    #expect(end == type.bytesPerBlock)
    // IQ1_M keeps the bits of its scale in four places.
    #expect(halves == KernelTable.scaleOffsets(type) ?? [])
  }
}
