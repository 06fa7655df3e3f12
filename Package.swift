// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "ingot",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "Ingot", targets: ["Ingot"]),
    .executable(name: "ingot", targets: ["ingot-cli"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", "1.8.0"..<"1.9.0"),
    .package(url: "https://github.com/apple/swift-system", "1.6.0"..<"1.9.0"),
  ],
  targets: [
    // Front matter of model cards.
    .systemLibrary(
      name: "CYAML", pkgConfig: "yaml-0.1",
      providers: [.apt(["libyaml-dev"]), .brew(["libyaml"])]),
    // Codecs and checksums of packed files; digests of manifests.
    .systemLibrary(
      name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"]), .brew(["zstd"])]),
    .systemLibrary(
      name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"]), .brew(["lz4"])]),
    .systemLibrary(
      name: "CXXHash", pkgConfig: "libxxhash",
      providers: [.apt(["libxxhash-dev"]), .brew(["xxhash"])]),
    .systemLibrary(
      name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    // Inner loops in C; everything else is Swift.
    .target(name: "CKernels"),
    // Tables about bytes and names, embedded in the binary.
    .target(
      name: "Formats",
      path: "formats",
      // Pages for people; tests read them from the source tree.
      exclude: [
        "architectures/README.md", "checks/README.md", "general-metadata.md", "gguf.md",
        "hardware/README.md", "imatrix.md", "journal.md", "manifest.md", "many-machines.md",
        "memory-model.md", "meta-native.md", "mixes/README.md", "modelfile/README.md",
        "packed-archive.md", "pytorch.md", "quant", "quantized-inputs.md", "recipe.md",
        "safetensors.md", "split-experts.md",
        "tokenizers/README.md", "tokenizers/encoding.md", "verification/README.md",
        "verification/saved-reference.md",
        "verification/junit.xsd",
      ],
      sources: ["Formats.swift", "FormatTable.swift"],
      resources: [
        .embedInCode("architectures/architectures.tsv"),
        .embedInCode("architectures/experts.tsv"),
        .embedInCode("architectures/llama.tsv"),
        .embedInCode("architectures/llama4.tsv"),
        .embedInCode("architectures/llama4-vision.tsv"),
        .embedInCode("architectures/mixtral.tsv"),
        .embedInCode("architectures/mllama.tsv"),
        .embedInCode("architectures/meta-llama.tsv"),
        .embedInCode("architectures/meta-llama4.tsv"),
        .embedInCode("architectures/meta-llama4-shards.tsv"),
        .embedInCode("checks/archive-keys.tsv"),
        .embedInCode("checks/archive-tensors.tsv"),
        .embedInCode("hardware/hardware.tsv"),
        .embedInCode("mixes/mixes.tsv"),
        .embedInCode("mixes/mix-rules.tsv"),
        .embedInCode("mixes/tensor-roles.tsv"),
        .embedInCode("mixes/model-classes.tsv"),
        .embedInCode("mixes/output-types.tsv"),
        .embedInCode("fitting/priors.tsv"),
        .embedInCode("fitting/slow-types.tsv"),
        .embedInCode("modelfile/chat-families.tsv"),
        .embedInCode("tokenizers/meta-special-tokens.tsv"),
        .embedInCode("tokenizers/meta-special-tokens-llama4.tsv"),
        .embedInCode("tokenizers/pre-tokenizers.tsv"),
        .embedInCode("verification/error-bands.tsv"),
        .embedInCode("verification/policies.tsv"),
        .embedInCode("tokenizers/unicode-classes.tsv"),
      ]
    ),
    .target(
      name: "ByteIO",
      dependencies: [
        .product(name: "SystemPackage", package: "swift-system"), "CKernels", "CZstd", "CLZ4",
        "CXXHash",
        .target(name: "CCrypto", condition: .when(platforms: [.linux])),
      ]),
    .target(name: "Threads"),
    .target(name: "StrictJSON", dependencies: ["ByteIO"]),
    .target(name: "Tensors", dependencies: ["ByteIO"]),

    // Siblings: none of these five imports another.
    .target(
      name: "Checkpoints", dependencies: ["Tensors", "StrictJSON", "ByteIO", "Formats", "CYAML"]),
    .target(name: "Architectures", dependencies: ["Tensors", "StrictJSON", "ByteIO", "Formats"]),
    .target(name: "Tokenizers", dependencies: ["Tensors", "StrictJSON", "ByteIO", "Formats"]),
    .target(name: "Quantizers", dependencies: ["Tensors", "CKernels"]),
    .target(name: "GGUF", dependencies: ["Tensors", "ByteIO"]),

    .target(
      name: "Planning",
      dependencies: [
        "Checkpoints", "Architectures", "Tokenizers", "Quantizers", "GGUF", "Formats",
      ]),
    .target(
      name: "Conversion", dependencies: ["Planning", "StrictJSON", "Threads", "CKernels"]),
    // Writes packed files, and restores what is in them; ByteIO reads them wherever it opens a file.
    .target(
      name: "Packing",
      dependencies: [
        "Checkpoints", "GGUF", "Tensors", "StrictJSON", "ByteIO", "Threads", "CKernels", "CZstd",
        "CLZ4",
      ]),
    // Loads OpenBLAS when the first matrix product is wanted; Accelerate on Apple.
    .target(
      name: "ReferenceModel",
      dependencies: ["Checkpoints", "Architectures", "GGUF", "Quantizers", "Threads"]),
    // What every run of a text through models shares: opened models, chunks, groups that fit.
    .target(
      name: "ForwardRuns",
      dependencies: ["Planning", "ReferenceModel", "Tokenizers", "GGUF", "Checkpoints"]),
    .target(
      name: "Verification",
      dependencies: [
        "Planning", "ForwardRuns", "ReferenceModel", "Tokenizers", "Quantizers", "StrictJSON",
        "GGUF", "Formats", "Threads",
      ]),
    .target(
      name: "Calibration",
      dependencies: ["Planning", "ForwardRuns", "ReferenceModel", "Quantizers", "GGUF", "Threads"]),
    // Measures what types do to a model, and chooses them for a size.
    .target(
      name: "Fitting",
      dependencies: [
        "Conversion", "Planning", "ForwardRuns", "ReferenceModel", "Verification", "Quantizers",
        "StrictJSON", "Formats", "Threads",
      ]),
    .target(
      name: "Ingot",
      dependencies: [
        "Conversion", "Fitting", "Calibration", "Verification", "Packing", "ReferenceModel",
        "Formats",
      ]),
    .executableTarget(
      name: "ingot-cli",
      dependencies: [
        "Ingot", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),

    // Writes a checkpoint of real size for measurements; not a product.
    .executableTarget(
      name: "make-checkpoint",
      dependencies: ["ByteIO", .product(name: "SystemPackage", package: "swift-system")],
      path: "Sources/Benchmarks/SyntheticCheckpoint"),
    // Measures the kernels against a built ggml; not a product.
    .executableTarget(
      name: "kernel-benchmarks",
      dependencies: [
        "Quantizers", "Tensors", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Sources/Benchmarks/Kernels"),

    // Measures forward passes against the matrix library alone; not a product.
    .executableTarget(
      name: "forward-benchmarks",
      dependencies: [
        "ReferenceModel", "Quantizers", "Tensors", "Threads", "ByteIO",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Sources/Benchmarks/Forward"),

    // What the memory model says of an archive, for the comparison with llama.cpp; not a product.
    .executableTarget(
      name: "estimate-memory",
      dependencies: ["Planning", "GGUF", "StrictJSON"],
      path: "Tests/Interop/EstimateMemory"),
    .target(
      name: "TestSupport",
      dependencies: [
        "ByteIO", "StrictJSON", .product(name: "SystemPackage", package: "swift-system"),
      ], path: "Tests/TestSupport"),
    .testTarget(name: "ByteIOTests", dependencies: ["ByteIO", "TestSupport"]),
    .testTarget(name: "StrictJSONTests", dependencies: ["StrictJSON", "TestSupport"]),
    .testTarget(name: "TensorsTests", dependencies: ["Tensors", "Formats", "TestSupport"]),
    .testTarget(
      name: "CheckpointsTests", dependencies: ["Checkpoints", "StrictJSON", "TestSupport"]),
    .testTarget(
      name: "ArchitecturesTests", dependencies: ["Architectures", "Formats", "TestSupport"]),
    .testTarget(
      name: "TokenizersTests",
      dependencies: ["Tokenizers", "Tensors", "StrictJSON", "TestSupport"]),
    .testTarget(
      name: "QuantizersTests",
      dependencies: ["Quantizers", "Tensors", "StrictJSON", "TestSupport"]),
    .testTarget(name: "GGUFTests", dependencies: ["GGUF", "TestSupport"]),
    // Readers as the fuzzer calls them; what it kept is read by the tests too.
    .target(
      name: "FuzzedReaders",
      dependencies: [
        "Checkpoints", "Architectures", "Tokenizers", "GGUF", "Packing", "StrictJSON", "ByteIO",
        "TestSupport",
      ],
      path: "Tests/Fuzz/Readers"),
    .testTarget(name: "FuzzTests", dependencies: ["FuzzedReaders", "ByteIO", "TestSupport"]),
    .testTarget(name: "PlanningTests", dependencies: ["Planning", "TestSupport"]),
    .testTarget(
      name: "ConversionTests",
      dependencies: ["Conversion", "Planning", "Architectures", "Threads", "TestSupport"]),
    .testTarget(
      name: "PackingTests",
      dependencies: ["Packing", "Checkpoints", "GGUF", "Tensors", "ByteIO", "TestSupport"]),
    .testTarget(
      name: "ReferenceModelTests",
      dependencies: [
        "ReferenceModel", "Ingot", "GGUF", "Quantizers", "StrictJSON", "ByteIO", "TestSupport",
      ]),
    .testTarget(
      name: "VerificationTests",
      dependencies: [
        "Verification", "ForwardRuns", "Ingot", "ReferenceModel", "GGUF", "Formats", "Quantizers",
        "StrictJSON", "TestSupport",
      ]),
    .testTarget(
      name: "CalibrationTests",
      dependencies: [
        "Calibration", "ForwardRuns", "Ingot", "ReferenceModel", "GGUF", "Quantizers", "StrictJSON",
        "TestSupport",
      ]),
    .testTarget(
      name: "FittingTests",
      dependencies: [
        "Fitting", "ForwardRuns", "Ingot", "GGUF", "ReferenceModel", "Quantizers", "StrictJSON",
        "TestSupport",
      ]),
    .testTarget(
      name: "EndToEndTests",
      dependencies: [
        "Ingot", "Checkpoints", "GGUF", "Formats", "StrictJSON", "TestSupport", "ingot-cli",
      ]),
  ],
  swiftLanguageModes: [.v6]
)

// Needs flags that no dependency may ask for: Tests/Fuzz/run.sh gives them.
if Context.environment["INGOT_FUZZ"] != nil {
  package.targets += [
    .systemLibrary(name: "CFuzzer", path: "Tests/Fuzz/CFuzzer"),
    .executableTarget(
      name: "fuzz-readers", dependencies: ["CFuzzer", "FuzzedReaders", "TestSupport"],
      path: "Tests/Fuzz/Target"),
  ]
}
