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
    // Inner loops in C; everything else is Swift.
    .target(name: "CKernels"),
    // Tables about bytes and names, embedded in the binary.
    .target(
      name: "Formats",
      path: "formats",
      exclude: ["tokenizers/README.md"],
      sources: ["Formats.swift"],
      resources: [.embedInCode("tokenizers/pre-tokenizers.tsv")]
    ),
    .target(
      name: "ByteIO",
      dependencies: [.product(name: "SystemPackage", package: "swift-system")]),
    .target(name: "StrictJSON", dependencies: ["ByteIO"]),
    .target(name: "Tensors", dependencies: ["ByteIO"]),

    // Siblings: none of these five imports another.
    .target(name: "Checkpoints", dependencies: ["Tensors", "StrictJSON", "ByteIO"]),
    .target(name: "Architectures", dependencies: ["Tensors", "StrictJSON", "ByteIO", "Formats"]),
    .target(name: "Tokenizers", dependencies: ["Tensors", "StrictJSON", "ByteIO", "Formats"]),
    .target(name: "Quantizers", dependencies: ["Tensors", "CKernels"]),
    .target(name: "GGUF", dependencies: ["Tensors", "ByteIO"]),

    .target(
      name: "Planning",
      dependencies: [
        "Checkpoints", "Architectures", "Tokenizers", "Quantizers", "GGUF", "Formats",
      ]),
    .target(name: "Conversion", dependencies: ["Planning"]),
    .target(name: "Verification", dependencies: ["Planning"]),
    .target(name: "Ingot", dependencies: ["Conversion", "Verification"]),
    .executableTarget(
      name: "ingot-cli",
      dependencies: [
        "Ingot", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),

    .target(name: "TestSupport", dependencies: ["ByteIO", "StrictJSON"], path: "Tests/TestSupport"),
    .testTarget(name: "ByteIOTests", dependencies: ["ByteIO", "TestSupport"]),
    .testTarget(name: "StrictJSONTests", dependencies: ["StrictJSON", "TestSupport"]),
    .testTarget(name: "TensorsTests", dependencies: ["Tensors", "Formats", "TestSupport"]),
    .testTarget(name: "CheckpointsTests", dependencies: ["Checkpoints", "TestSupport"]),
    .testTarget(name: "ArchitecturesTests", dependencies: ["Architectures", "TestSupport"]),
    .testTarget(
      name: "TokenizersTests",
      dependencies: ["Tokenizers", "Tensors", "StrictJSON", "Formats", "TestSupport"]),
    .testTarget(name: "QuantizersTests", dependencies: ["Quantizers", "TestSupport"]),
    .testTarget(name: "GGUFTests", dependencies: ["GGUF", "TestSupport"]),
    .testTarget(name: "PlanningTests", dependencies: ["Planning", "TestSupport"]),
    .testTarget(name: "ConversionTests", dependencies: ["Conversion", "TestSupport"]),
    .testTarget(name: "VerificationTests", dependencies: ["Verification", "TestSupport"]),
    .testTarget(name: "EndToEndTests", dependencies: ["Ingot", "TestSupport"]),
  ],
  swiftLanguageModes: [.v6]
)
