/// One token and an expert that a router picked for it.
struct ExpertChoice: BitwiseCopyable {
  var expert: Int32
  var token: Int32
  /// What multiplies the expert's input or output.
  var weight: Float
}

/// What routers of a forward pass write; shared like `FloatBuffer`.
final class RoutingBuffers: @unchecked Sendable {
  /// `[tokenCount, experts]`.
  let scores: FloatBuffer
  /// `[tokenCount, experts used]`, in the order of the tokens.
  let picked: UnsafeMutablePointer<ExpertChoice>
  /// The same in the order of the experts, then of the tokens.
  let sorted: UnsafeMutablePointer<ExpertChoice>
  private let choiceCount: Int

  init(scoreCount: Int, choiceCount: Int) {
    scores = FloatBuffer(count: max(1, scoreCount))
    self.choiceCount = max(1, choiceCount)
    picked = .allocate(capacity: self.choiceCount)
    sorted = .allocate(capacity: self.choiceCount)
  }

  deinit {
    picked.deallocate()
    sorted.deallocate()
  }

  static func byteCount(scoreCount: Int, choiceCount: Int) -> Int {
    max(1, scoreCount) * 4 + max(1, choiceCount) * 2 * MemoryLayout<ExpertChoice>.stride
  }

  var byteCount: Int { Self.byteCount(scoreCount: scores.count, choiceCount: choiceCount) }
}

/// Which tokens go to which experts of a layer.
struct Routing: @unchecked Sendable {
  /// In the order of the experts, then of the text.
  let choices: UnsafeBufferPointer<ExpertChoice>
  /// Where each expert's choices begin, and the end of all.
  private let starts: [Int]

  /// Choices of one expert that are worked on together.
  struct Part: Hashable, Sendable {
    var expert: Int
    /// Of all choices.
    var choices: Range<Int>
  }

  /// Sorts what `pick` wrote for every token.
  init(_ buffers: RoutingBuffers, choiceCount: Int, expertCount: Int) {
    var counts = [Int](repeating: 0, count: expertCount + 1)
    for index in 0..<choiceCount { counts[Int(buffers.picked[index].expert) + 1] += 1 }
    for expert in 0..<expertCount { counts[expert + 1] += counts[expert] }
    starts = counts
    for index in 0..<choiceCount {
      let choice = buffers.picked[index]
      buffers.sorted[counts[Int(choice.expert)]] = choice
      counts[Int(choice.expert)] += 1
    }
    choices = UnsafeBufferPointer(start: buffers.sorted, count: choiceCount)
  }

  /// Picks a token's experts and weighs them.
  ///
  /// Of equal scores the lower index is taken first. The framework of the checkpoints and llama.cpp
  /// sort without such a rule; scores of trained models are not equal.
  ///
  /// - Parameters:
  ///   - scores: one for each expert; spoilt.
  ///   - token: whose they are.
  ///   - experts: how many to pick, and how to weigh them.
  ///   - target: room for `usedCount` choices.
  static func pick(
    _ scores: UnsafeMutablePointer<Float>, token: Int, _ experts: ForwardExperts,
    into target: UnsafeMutablePointer<ExpertChoice>
  ) {
    if experts.weighting == .outputByProbability {
      VectorMath.softmax(scores, count: experts.count)
    }
    var sum: Float = 0
    for place in 0..<experts.usedCount {
      // Written so that what is no number is picked only when nothing else is left.
      var best: Int?
      for expert in 0..<experts.count
      where !(0..<place).contains(where: {
        target[$0].expert == Int32(expert)
      }) {
        guard let known = best else {
          best = expert
          continue
        }
        if scores[expert] > scores[known] || (scores[known].isNaN && !scores[expert].isNaN) {
          best = expert
        }
      }
      let expert = best ?? 0
      let score = scores[expert]
      sum += score
      target[place] = ExpertChoice(
        expert: Int32(expert), token: Int32(token),
        weight: experts.weighting == .inputBySigmoid ? VectorMath.sigmoid(score) : score)
    }
    guard experts.weighting == .outputByProbability else { return }
    for place in 0..<experts.usedCount { target[place].weight /= sum }
  }

  /// All choices in blocks of at most `limit`, each expert whole in one block where it fits.
  func blocks(limit: Int) -> [[Part]] {
    precondition(limit > 0)
    var blocks: [[Part]] = []
    var room = 0
    for expert in 0..<starts.count - 1 {
      var rest = starts[expert]..<starts[expert + 1]
      while !rest.isEmpty {
        if rest.count > room, room < limit {
          blocks.append([])
          room = limit
        }
        let part = rest.prefix(room)
        blocks[blocks.count - 1].append(Part(expert: expert, choices: part))
        room -= part.count
        rest = rest.dropFirst(part.count)
      }
    }
    return blocks
  }
}
