import GGUF
import Planning
import StrictJSON
import Tensors

/// Prints the memory of a run: `estimate-memory ARCHIVE [context=N] [devices=N] …`.
///
/// Options are the ones of the bindings that `test_memory.py` passes to llama.cpp too.
@main
struct EstimateMemory {
  static func main() throws {
    let archive = try GGUFFile(CommandLine.arguments[1])
    var options: [String: String] = [:]
    for argument in CommandLine.arguments.dropFirst(2) {
      let parts = argument.split(separator: "=").map(String.init)
      if parts.count == 2 { options[parts[0]] = parts[1] }
    }
    func number(_ name: String, _ absent: Int) -> Int { options[name].flatMap(Int.init) ?? absent }
    func type(_ name: String) -> TensorType {
      options[name].flatMap(TensorType.init(name:)) ?? .f16
    }

    let outputs = number("outputs", 0)
    let run = MemoryRun(
      context: number("context", 512), parallel: number("parallel", 1), keyType: type("keys"),
      valueType: type("values"), batch: number("batch", 2048),
      microBatch: number("micro_batch", 512), flashAttention: number("flash", 1) == 1,
      isUnified: number("unified", 0) == 1, keepsFullWindow: number("full", 0) == 1,
      outputCount: outputs == 0 ? nil : outputs)
    let tensors = archive.tensors.map { MemoryTensor($0) }
    let model = try MemoryDimensions(archive.metadata, tensors: tensors, file: archive.files[0])
    // Devices that llama.cpp reaches over its network protocol, backed by a processor.
    var placement = DevicePlacement(
      layerCount: model.layers.count, acceleratorCount: number("devices", 0))
    placement.acceleratorAlignment = 32
    placement.rowPadding = 1
    placement.unpacksCache = false
    let estimate = MemoryEstimate(
      model, tensors: tensors, run: run, placement: placement, reserve: 0)

    var json = JSONWriter()
    json.object { json in
      json.key("total_context")
      json.value(run.totalContext)
      json.key("cells")
      json.array { json in
        let cells = model.layers.map {
          $0.isChunked ? run.cellCount(chunk: model.chunk) : run.cellCount
        }
        for count in Set(cells).sorted() { json.value(count) }
      }
      json.key("cache")
      json.value(KeyValueCache(model, run).byteCount)
      json.key("devices")
      json.array { json in
        for device in estimate.accelerators + [estimate.host] {
          json.object { json in
            json.key("weights")
            json.value(device.weights)
            json.key("cache")
            json.value(device.cache)
            json.key("compute")
            json.value(device.compute)
          }
        }
      }
      json.key("outputs")
      json.value(run.parallel * model.vocabulary * 4)
    }
    print(json.text)
  }
}
