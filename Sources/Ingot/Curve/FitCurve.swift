import Fitting

/// What every size of an archive costs: types chosen for sizes from the smallest to the one with
/// which nothing more is gained, and where the stock mixes lie beside them.
public struct FitCurve: Sendable {
  /// Types chosen for one size.
  public struct Point: Hashable, Sendable {
    /// Of the whole archive.
    public var byteCount: UInt64
    /// 8 × tensor bytes / weights.
    public var bitsPerWeight: Double
    /// Sum of the expected harms: in nats where a text was read, else a number to compare only.
    public var expectedDivergence: Double
    /// Mean KL divergence of all these types together on the text; `nil` where it was not measured.
    public var measuredDivergence: Estimate?
    /// Most bytes first.
    public var types: [TypeTotal]

    package init(
      byteCount: UInt64, bitsPerWeight: Double, expectedDivergence: Double,
      measuredDivergence: Estimate? = nil, types: [TypeTotal] = []
    ) {
      self.byteCount = byteCount
      self.bitsPerWeight = bitsPerWeight
      self.expectedDivergence = expectedDivergence
      self.measuredDivergence = measuredDivergence
      self.types = types
    }
  }

  /// A stock mix, by the same measurements.
  public struct Mix: Hashable, Sendable {
    public var name: String
    public var byteCount: UInt64
    public var bitsPerWeight: Double
    public var expectedDivergence: Double
    /// Of types chosen for as many bytes; `nil` where the types allowed cannot be as small.
    public var chosenDivergence: Double?

    package init(
      name: String, byteCount: UInt64, bitsPerWeight: Double, expectedDivergence: Double,
      chosenDivergence: Double?
    ) {
      self.name = name
      self.byteCount = byteCount
      self.bitsPerWeight = bitsPerWeight
      self.expectedDivergence = expectedDivergence
      self.chosenDivergence = chosenDivergence
    }
  }

  /// A size that was asked for, and the archive that fits it.
  public struct Budget: Hashable, Sendable {
    /// Such as the hardware.
    public var name: String
    /// Of the archive.
    public var byteCount: UInt64
    /// What it could have.
    public var byteLimit: UInt64
    public var expectedDivergence: Double

    package init(
      name: String, byteCount: UInt64, byteLimit: UInt64, expectedDivergence: Double
    ) {
      self.name = name
      self.byteCount = byteCount
      self.byteLimit = byteLimit
      self.expectedDivergence = expectedDivergence
    }
  }

  /// Name of the model.
  public var model: String
  /// By size.
  public var points: [Point]
  /// By size.
  public var mixes: [Mix]
  public var budget: Budget?
  /// Whether a text was read, so that harms are divergences.
  public var isMeasured: Bool

  package init(
    model: String, points: [Point], mixes: [Mix], budget: Budget? = nil, isMeasured: Bool
  ) {
    self.model = model
    self.points = points
    self.mixes = mixes
    self.budget = budget
    self.isMeasured = isMeasured
  }
}
