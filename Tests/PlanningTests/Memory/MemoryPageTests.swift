import ByteIO
import Planning
import TestSupport
import Testing

/// The numbers that `formats/memory-model.md` leads through are the code's.
@Test(arguments: [("Scout", ModelShape.scout), ("Maverick", .maverick)])
func pageLeadsToTheCodesNumbers(_ name: String, _ shape: ModelShape) throws {
  let column = name + ", one H100"
  let table = try MarkdownTable(page: "memory-model.md", columns: [column])
  func cell(_ row: String) throws -> String {
    try #require(table.rows.first { $0[""] == row }?[column])
  }
  let hardware = try #require(Hardware(name: "h100-80gb"))
  let fit = MemoryFit(try shape.dimensions(), hardware: hardware)
  let run = MemoryRun(context: 131_072, outputCount: 1)
  let tensors = shape.tensors()
  let device = fit.estimate(tensors, run).accelerators[0]
  let room = fit.room(run)[0]
  let weightCount = fit.limited(tensors).reduce(0) { $0 + ($1.shape.checkedElementCount ?? 0) }
  #expect(try cell("usable") == "\(hardware.deviceByteCount >> 20)")
  #expect(try cell("reserve") == "\(device.reserve >> 20)")
  #expect(device.cache == 7368 << 20)
  #expect(try cell("compute buffer") == fixed(mebibytes(device.compute), 2))
  #expect(try cell("left for weights") == fixed(mebibytes(room), 2))
  #expect(
    try cell("weights on the device").filter { $0 != "," }.hasSuffix("= \(weightCount)"))
  #expect(try cell("bits per weight") == fixed(Double(room) * 8 / Double(weightCount), 2))
}

/// The page explains exactly the columns that the table has.
@Test func hardwarePageExplainsTheTable() throws {
  let page = try MarkdownTable(page: "hardware/README.md", columns: ["column", "meaning"])
  let bytes = try PositionalFile.readAll(
    Fixtures.root + "/formats/hardware/hardware.tsv", limit: 1 << 20)
  let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
  let header = try #require(lines.first { !$0.hasPrefix("#") })
  #expect(
    page.rows.map { ($0["column"] ?? "").filter { $0 != "`" } }
      == header.split(separator: "\t").map(String.init))
}
