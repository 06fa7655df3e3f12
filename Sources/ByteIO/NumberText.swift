/// A number with a fixed count of decimals; what no `Int64` can hold is written as Swift does.
package func fixed(_ value: Double, _ decimals: Int) -> String {
  var scale = 1.0
  for _ in 0..<decimals { scale *= 10 }
  let magnitude = (abs(value) * scale).rounded()
  guard magnitude < 9e18 else { return "\(value)" }
  let scaled = Int64(magnitude)
  let sign = value < 0 && scaled != 0 ? "-" : ""
  guard decimals > 0 else { return sign + "\(scaled)" }
  let digits = "\(scaled)"
  let padded = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
  return sign + padded.dropLast(decimals) + "." + padded.suffix(decimals)
}

/// A number with so many significant digits: `0.01132`, `11.79`, `3.1e-7`, `∞`.
package func significant(_ value: Double, _ digits: Int) -> String {
  if value.isNaN { return "not a number" }
  if value.isInfinite { return value < 0 ? "-∞" : "∞" }
  if value == 0 { return "0" }
  let exponent = decimalExponent(value)
  if (-4..<9).contains(exponent) { return fixed(value, max(0, digits - 1 - exponent)) }
  var mantissa = value
  for _ in 0..<abs(exponent) { mantissa = exponent < 0 ? mantissa * 10 : mantissa / 10 }
  let text = fixed(mantissa, max(0, digits - 2))
  // 9.99 may have become 10.0.
  if text.drop(while: { $0 == "-" }).hasPrefix("10") {
    return fixed(mantissa / 10, max(0, digits - 2)) + "e\(exponent + 1)"
  }
  return text + "e\(exponent)"
}

/// A number as a person would type it: `0.05`, `1`, `1e-6`; at most so many significant digits.
package func typed(_ value: Double, _ digits: Int = 6) -> String {
  let text = significant(value, digits)
  guard value.isFinite, text.contains(".") else { return text }
  let parts = text.split(separator: "e", maxSplits: 1)
  var mantissa = parts[0]
  while mantissa.last == "0" { mantissa.removeLast() }
  if mantissa.last == "." { mantissa.removeLast() }
  return parts.count > 1 ? mantissa + "e" + parts[1] : String(mantissa)
}

/// The power of ten of a finite number's first digit: −2 for 0.05.
///
/// - Precondition: `value` is finite and not 0.
package func decimalExponent(_ value: Double) -> Int {
  precondition(value.isFinite && value != 0)
  var magnitude = abs(value)
  var exponent = 0
  while magnitude >= 10 {
    magnitude /= 10
    exponent += 1
  }
  while magnitude < 1 {
    magnitude *= 10
    exponent -= 1
  }
  return exponent
}

/// Bytes with a decimal unit, such as `3.57 MB`.
package func byteText(_ byteCount: UInt64) -> String {
  let scales: [(Double, String)] = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")]
  for (factor, unit) in scales where Double(byteCount) >= factor {
    return fixed(Double(byteCount) / factor, 2) + " " + unit
  }
  return "\(byteCount) B"
}

/// `1 token`, `22057 tokens`.
package func counted(_ count: Int, _ noun: String) -> String {
  "\(count) \(noun)\(count == 1 ? "" : "s")"
}
