#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

func decimalLogarithm(_ value: Double) -> Double { log10(value) }
