import ByteIO
import ForwardRuns
import ReferenceModel
import Tokenizers

/// Whether two models' facts agree, before their numbers are compared.
enum ConfigurationComparison {
  /// Refuses models that cannot be compared position by position.
  static func checkComparable(_ reference: OpenedModel, _ candidate: OpenedModel)
    throws(FormatError)
  {
    let (a, b) = (reference.model.dimensions, candidate.model.dimensions)
    let sizes = [
      ("vocabulary", a.vocabularySize, b.vocabularySize),
      ("layers", a.layerCount, b.layerCount),
      ("embedding length", a.embeddingLength, b.embeddingLength),
      ("feed-forward length", a.feedForwardLength, b.feedForwardLength),
      ("heads", a.headCount, b.headCount),
      ("key and value heads", a.headCountKV, b.headCountKV),
      ("head dimension", a.headDimension, b.headDimension),
      ("experts", a.experts?.count ?? 0, b.experts?.count ?? 0),
      ("experts used", a.experts?.usedCount ?? 0, b.experts?.usedCount ?? 0),
      (
        "experts' feed-forward length", a.experts?.feedForwardLength ?? 0,
        b.experts?.feedForwardLength ?? 0
      ),
      ("layers to one with experts", a.experts?.layerStep ?? 0, b.experts?.layerStep ?? 0),
    ]
    for (name, expected, found) in sizes where expected != found {
      throw FormatError(
        file: candidate.path, field: name,
        reason: .inconsistent(
          "is \(found), the reference \(printable(reference.path)) has \(expected)"),
        advice: "these are two different models")
    }
    // Where one of them ties its output to its embedding, the other may have both.
    let (own, others) = (reference.model.weights, candidate.model.weights)
    let missing = own.keys.filter { $0 != .output && others[$0] == nil }
    if let role = missing.min(by: { "\($0)" < "\($1)" }) {
      throw FormatError(
        file: candidate.path, field: "tensors",
        reason: .missing("the \(role), which the reference has as \(own[role]?.name.string ?? "")"))
    }
    if let extra = others.filter({ $0.key != .output && own[$0.key] == nil }).values
      .min(by: { $0.name < $1.name })
    {
      throw FormatError(
        file: candidate.path, field: extra.name.string,
        reason: .inconsistent("the reference has no such tensor"),
        advice: "these are two different models")
    }
  }

  /// Facts that differ although the models can be compared; each fails the verification.
  static func differences(_ reference: OpenedModel, _ candidate: OpenedModel) -> [GateOutcome] {
    var outcomes: [GateOutcome] = []
    func fail(_ name: String, expected: Double, found: Double, _ advice: String) {
      outcomes.append(.difference(name, expected: expected, found: found, advice))
    }
    let (a, b) = (reference.model.dimensions, candidate.model.dimensions)
    if a.normEpsilon != b.normEpsilon {
      fail(
        "norm epsilon", expected: Double(a.normEpsilon), found: Double(b.normEpsilon),
        "attention.layer_norm_rms_epsilon of the archive is not rms_norm_eps of the reference")
    }
    let frequencies = zip(
      reference.model.rotary.frequencies, candidate.model.rotary.frequencies)
    let worst = frequencies.enumerated().max {
      deviation($0.element) < deviation($1.element)
    }
    // The two roads round differently, by a few units in the last place.
    if let worst, !(deviation(worst.element) <= 1e-5) {
      fail(
        "rotary frequencies", expected: Double(worst.element.0), found: Double(worst.element.1),
        "rotation frequency \(worst.offset): look at rope.freq_base, rope.scaling.* and "
          + "rope_freqs.weight of the archive")
    }
    if !(abs(reference.model.rotary.attentionFactor - candidate.model.rotary.attentionFactor)
      <= 1e-6)
    {
      fail(
        "rotary attention factor", expected: Double(reference.model.rotary.attentionFactor),
        found: Double(candidate.model.rotary.attentionFactor),
        "look at rope.scaling.* of the archive")
    }
    for (name, expected, found) in attentionFacts(reference.model, candidate.model)
    where expected != found {
      fail(
        name, expected: expected, found: found,
        "llama.cpp computes this for every archive of this architecture, unless ingot.attention.* "
          + "keys say otherwise: convert again, with --allow-nonstock")
    }
    outcomes += differences(
      adds: reference.encoder.addsBeginningOfText, reference.encoder.beginningOfText,
      candidate.encoder)
    if reference.model.weights[.output] != nil, candidate.model.weights[.output] == nil {
      fail(
        "output tensor", expected: 1, found: 0,
        "the archive has no output.weight, so that its embedding serves in its place")
    }
    return outcomes
  }

  /// What the layers of Llama 4 see and how they rotate, in numbers; 0 for none.
  private static func attentionFacts(_ reference: ReferenceModel, _ candidate: ReferenceModel)
    -> [(String, Double, Double)]
  {
    guard let a = reference.attention, let b = candidate.attention else { return [] }
    func number(_ flag: Bool) -> Double { flag ? 1 : 0 }
    // Archives hold single precision.
    func single(_ value: Double?) -> Double { Double(Float(value ?? 0)) }
    var facts = [
      ("attention chunk length", Double(a.chunkLength ?? 0), Double(b.chunkLength ?? 0)),
      (
        "norm of queries and keys", number(a.normalizesRotated), number(b.normalizesRotated)
      ),
      (
        "temperature floor", single(a.temperature?.floor), single(b.temperature?.floor)
      ),
      (
        "temperature scale", single(a.temperature?.scale), single(b.temperature?.scale)
      ),
    ]
    for (layer, flags) in zip(a.rotates, b.rotates).enumerated() where flags.0 != flags.1 {
      facts.append(("rotation in layer \(layer)", number(flags.0), number(flags.1)))
    }
    return facts
  }

  /// Whether chunks begin as the reference's do.
  ///
  /// - Parameters:
  ///   - adds: whether the reference adds a beginning of text.
  ///   - token: which; of a saved reference it is known only where it is added.
  ///   - candidate: the archive's encoder.
  /// - Returns: an outcome for each difference.
  static func differences(adds: Bool, _ token: Int32?, _ candidate: TokenEncoder)
    -> [GateOutcome]
  {
    var outcomes: [GateOutcome] = []
    if adds != candidate.addsBeginningOfText {
      outcomes.append(
        .difference(
          "use of a beginning of text", expected: adds ? 1 : 0,
          found: candidate.addsBeginningOfText ? 1 : 0,
          "look at tokenizer.ggml.add_bos_token of the archive"))
    }
    if let token, token != candidate.beginningOfText {
      outcomes.append(
        .difference(
          "beginning of text", expected: Double(token),
          found: candidate.beginningOfText.map(Double.init) ?? -1,
          "look at tokenizer.ggml.bos_token_id of the archive"))
    }
    return outcomes
  }

  private static func deviation(_ pair: (Float, Float)) -> Double {
    let (a, b) = (Double(pair.0), Double(pair.1))
    let deviation = abs(a - b) / max(abs(a), .leastNormalMagnitude)
    return deviation.isNaN ? .infinity : deviation
  }
}

extension GateOutcome {
  /// A fact that should be the same and is not.
  fileprivate static func difference(
    _ name: String, expected: Double, found: Double, _ advice: String
  ) -> GateOutcome {
    GateOutcome(
      name: "same " + name, limit: expected, value: found, bound: found, passed: false,
      advice: advice, isEquality: true)
  }
}
