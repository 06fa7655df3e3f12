import StrictJSON

extension VerificationReport {
  /// Version of the form below; a new one when a member goes or changes its meaning.
  package static let jsonVersion = 1

  /// The whole result as stable JSON; numbers that are not finite are null.
  package var json: String {
    var writer = JSONWriter()
    writer.object { json in
      json.key("version")
      json.value(Self.jsonVersion)
      json.key("ingot")
      json.value(ingotVersion)
      json.key("verdict")
      json.value(result.verdict.rawValue)
      json.key("gates")
      json.array { json in for gate in result.gates { gate.write(to: &json) } }
      json.key("reference")
      result.reference.write(to: &json)
      json.key("candidate")
      if let candidate = result.candidate { candidate.write(to: &json) } else { json.null() }
      json.key("protocol")
      if let text = result.protocolSettings { text.write(to: &json) } else { json.null() }
      json.key("distribution")
      if let drift = result.distribution { drift.write(to: &json) } else { json.null() }
      json.key("layers")
      json.array { json in for layer in result.layers { layer.write(to: &json) } }
      json.key("worstTokens")
      json.array { json in for token in result.worstTokens { token.write(to: &json) } }
      json.key("tensors")
      json.array { json in for tensor in result.tensors { tensor.write(to: &json) } }
      json.key("uncomparedTensors")
      json.array { json in for name in result.uncomparedTensors { json.value(name) } }
      json.key("warnings")
      json.array { json in for warning in result.warnings { json.value(warning) } }
      json.key("seconds")
      json.value(result.seconds)
      json.key("peakResidentBytes")
      json.value(result.peakResidentByteCount)
    }
    return writer.text + "\n"
  }
}

extension GateOutcome {
  fileprivate func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("name")
      json.value(name)
      json.key("limit")
      json.value(limit)
      json.key("value")
      json.value(value)
      json.key("bound")
      json.value(bound)
      json.key("passed")
      json.value(passed)
      json.key("advice")
      json.value(advice)
    }
  }
}

extension VerificationResult.Side {
  fileprivate func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("path")
      json.value(path)
      json.key("kind")
      json.value(kind.rawValue)
      json.key("bytes")
      json.value(byteCount)
      json.key("weightCount")
      json.value(weightCount)
      json.key("bitsPerWeight")
      json.value(bitsPerWeight)
      json.key("type")
      json.value(type)
    }
  }
}

extension VerificationResult.ProtocolSettings {
  fileprivate func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("text")
      json.value(textPath)
      json.key("textBytes")
      json.value(textByteCount)
      json.key("tokens")
      json.value(tokenCount)
      json.key("context")
      json.value(contextLength)
      json.key("chunks")
      json.value(chunkCount)
      json.key("scoredPositions")
      json.value(scoredPositionCount)
      json.key("startsWithBOS")
      json.value(startsWithBOS)
    }
  }
}

extension Estimate {
  fileprivate func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("value")
      json.value(value)
      json.key("standardError")
      json.value(standardError)
      json.key("chunkStandardError")
      json.value(chunkStandardError)
    }
  }
}

extension DistributionDrift {
  fileprivate func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("referencePerplexity")
      referencePerplexity.write(to: &json)
      guard let comparison else { return }
      json.key("candidatePerplexity")
      comparison.candidatePerplexity.write(to: &json)
      json.key("logPerplexityRatio")
      comparison.logPerplexityRatio.write(to: &json)
      json.key("meanDivergence")
      comparison.meanDivergence.write(to: &json)
      json.key("divergenceIsEstimated")
      json.value(comparison.isFromSavedReference)
      json.key("divergenceQuantiles")
      json.array { json in
        for quantile in comparison.divergenceQuantiles {
          json.object { json in
            json.key("fraction")
            json.value(quantile.fraction)
            json.key("value")
            json.value(quantile.value)
            json.key("upperBound")
            json.value(quantile.upperBound)
          }
        }
      }
      json.key("topAgreement")
      comparison.topAgreement.write(to: &json)
      json.key("probabilityShiftRMS")
      comparison.probabilityShiftRMS.write(to: &json)
      json.key("histogram")
      json.array { json in
        for bin in comparison.histogram {
          json.object { json in
            json.key("lowerBound")
            json.value(bin.lowerBound)
            json.key("upperBound")
            json.value(bin.upperBound)
            json.key("count")
            json.value(bin.count)
          }
        }
      }
    }
  }
}

extension LayerDrift {
  fileprivate func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("layer")
      json.value(layer)
      json.key("cosine")
      json.value(cosine)
      json.key("relativeRMSError")
      json.value(relativeRMSError)
      json.key("driftBegins")
      json.value(isWhereDriftBegins)
    }
  }
}

extension WorstToken {
  fileprivate func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("chunk")
      json.value(chunk)
      json.key("position")
      json.value(position)
      json.key("divergence")
      json.value(divergence)
      json.key("context")
      json.value(context)
      json.key("token")
      json.value(token)
      json.key("referenceProbability")
      json.value(referenceProbability)
      json.key("candidateProbability")
      json.value(candidateProbability)
      json.key("referenceTop")
      json.value(referenceTop)
      json.key("candidateTop")
      json.value(candidateTop)
    }
  }
}

extension TensorError {
  fileprivate func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("name")
      json.value(name)
      json.key("expert")
      if let expert { json.value(expert) } else { json.null() }
      json.key("source")
      json.value(sourceName)
      json.key("type")
      json.value(type.name)
      json.key("weightCount")
      json.value(weightCount)
      json.key("bytes")
      json.value(byteCount)
      json.key("relativeRMSError")
      json.value(relativeRMSError)
      json.key("cosine")
      json.value(cosine)
      json.key("maximumError")
      json.value(maximumError)
      json.key("signalToNoise")
      json.value(signalToNoise)
      json.key("allowedError")
      if let allowedError { json.value(allowedError) } else { json.null() }
      json.key("finding")
      json.value(finding)
    }
  }
}
