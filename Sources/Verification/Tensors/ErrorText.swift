import ByteIO

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A relative error as people read it.
func errorText(_ error: Double) -> String {
  guard error.isFinite else { return "\(error)" }
  return fixed(100 * error, error < 0.001 ? 4 : 2) + " %"
}

func decimalLogarithm(_ value: Double) -> Double { log10(value) }
