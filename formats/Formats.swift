/// Tables about bytes and names that tests read and the binary embeds.
package enum Formats {
  /// Chat formats for Modelfiles: `formats/modelfile/README.md`.
  package static var chatFamilies: [UInt8] { PackageResources.chat_families_tsv }

  /// Names of pre-tokenizers by split expression: `tokenizers/pre-tokenizers.tsv`.
  package static var preTokenizers: [UInt8] { PackageResources.pre_tokenizers_tsv }

  /// Special tokens of Llama 3 and later: `tokenizers/meta-special-tokens.tsv`.
  package static var metaSpecialTokens: [UInt8] { PackageResources.meta_special_tokens_tsv }

  /// Those of Llama 4: `tokenizers/meta-special-tokens-llama4.tsv`.
  package static var metaSpecialTokensOfLlama4: [UInt8] {
    PackageResources.meta_special_tokens_llama4_tsv
  }

  /// Shipped gates for each mix: `formats/verification/README.md`.
  package static var verificationPolicies: [UInt8] { PackageResources.policies_tsv }

  /// General categories by code point: `tokenizers/unicode-classes.tsv`.
  package static var unicodeClasses: [UInt8] { PackageResources.unicode_classes_tsv }

  /// `architectures/architectures.tsv`: model classes and what they mean.
  package static var architectures: [UInt8] { PackageResources.architectures_tsv }

  /// `architectures/NAME.tsv`: tensor names of one architecture; `nil` when there is no such table.
  package static func tensorNames(_ name: String) -> [UInt8]? {
    switch name {
    case "llama": PackageResources.llama_tsv
    case "llama4": PackageResources.llama4_tsv
    case "llama4-vision": PackageResources.llama4_vision_tsv
    case "mixtral": PackageResources.mixtral_tsv
    case "mllama": PackageResources.mllama_tsv
    case "meta-llama": PackageResources.meta_llama_tsv
    case "meta-llama4": PackageResources.meta_llama4_tsv
    default: nil
    }
  }

  /// `architectures/experts.tsv`: how checkpoints store experts.
  package static var expertTensors: [UInt8] { PackageResources.experts_tsv }

  /// `architectures/meta-llama4-shards.tsv`: how Meta's shards of a Llama 4 store tensors.
  package static var metaLlama4Shards: [UInt8] { PackageResources.meta_llama4_shards_tsv }

  /// How much a model minds a tensor's error: `recipe.md`.
  package static var fittingPriors: [UInt8] { PackageResources.priors_tsv }

  /// Where types are slow: `recipe.md`.
  package static var slowTypes: [UInt8] { PackageResources.slow_types_tsv }

  /// Errors that types explain: `verification/error-bands.tsv`.
  package static var errorBands: [UInt8] { PackageResources.error_bands_tsv }

  /// What `ingot check` expects of an archive: `checks/README.md` explains the two tables.
  package enum Checks {
    package static var keys: [UInt8] { PackageResources.archive_keys_tsv }
    package static var tensors: [UInt8] { PackageResources.archive_tensors_tsv }
  }

  /// Memory of accelerators and machines: `hardware/README.md` explains the columns.
  package static var hardware: [UInt8] { PackageResources.hardware_tsv }

  /// Stock mixes: `formats/mixes/README.md` explains these five tables.
  package enum Mixes {
    package static var mixes: [UInt8] { PackageResources.mixes_tsv }
    package static var rules: [UInt8] { PackageResources.mix_rules_tsv }
    package static var roles: [UInt8] { PackageResources.tensor_roles_tsv }
    package static var classes: [UInt8] { PackageResources.model_classes_tsv }
    package static var outputTypes: [UInt8] { PackageResources.output_types_tsv }
  }
}
