import Fitting
import Planning

/// What the types of an archive are chosen by.
public struct FitOptions: Sendable {
  /// `nil` where no size is meant, but the curve of all sizes.
  public var target: FitTarget?
  /// A text that shows how much each tensor matters; without it only errors of weights are known.
  public var text: String?
  /// Tokens of a chunk.
  public var contextLength: Int?
  /// Chunks of the text that are read.
  public var chunkLimit: Int?
  /// Types that tensors may get, by name; empty for the standard ones.
  public var types: [String] = []
  public var minimumType: String?
  public var maximumType: String?
  /// Kinds of hardware on which no chosen type may be slow, out of `fastPlaces`.
  public var fastOn: [String] = []
  /// Types that are tried on the text, one tensor at a time; empty for the standard ones.
  public var probeTypes: [String] = []
  /// Where the recipe will be written, so that it is no input; `nil` where it is not.
  public var recipeFile: String?
  /// Where measurements are kept, for other targets and to go on after an interruption.
  public var measurementsFile: String?

  /// Files that a curve is drawn in, so that they are no inputs.
  public var plotFiles: [String] = []

  public init(target: FitTarget?) { self.target = target }

  /// Most tokens of a context, sequences, and tokens of a micro-batch.
  public static var contextLimit: Int { MemoryRun.contextLimit }
  public static var parallelLimit: Int { MemoryRun.parallelLimit }
  public static var microBatchLimit: Int { MemoryRun.batchLimit }

  /// What `fastOn` takes, for help texts.
  public static var fastPlaces: [String] { SlowTypes.places }
}
