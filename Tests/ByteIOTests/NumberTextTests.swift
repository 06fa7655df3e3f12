import ByteIO
import Testing

@Test func numbersAreWrittenForPeople() {
  #expect(significant(0.011315, 4) == "0.01132")
  #expect(significant(11.79238, 4) == "11.79")
  #expect(significant(0.00003, 2) == "3e-5")
  #expect(significant(-2.5e-300, 3) == "-2.5e-300")
  #expect(significant(.leastNonzeroMagnitude, 3) != "0")
  #expect(significant(.nan, 3) == "not a number")
  #expect(significant(-.infinity, 3) == "-∞")
  #expect(significant(9.99999e-6, 3) == "1.0e-5")
  #expect(significant(-9.99999e20, 3) == "-1.0e21")
  for (value, text) in [
    (0.05, "0.05"), (1, "1"), (1000, "1000"), (100, "100"), (0, "0"), (1.005, "1.005"),
    (1e-6, "1e-6"),
    (2.5e-7, "2.5e-7"), (1e10, "1e10"), (0.1 + 0.2, "0.3"), (.infinity, "∞"),
  ] { #expect(typed(value) == text) }
  #expect(significant(1.5e300, 3) == "1.5e300")
  #expect(fixed(1e15, 6) == "1000000000000000.0")
  #expect(fixed(-0.001, 2) == "0.00")
  #expect(fixed(-1.005, 1) == "-1.0")
  #expect(fixed(0.0625, 3) == "0.063")
  #expect(byteText(999) == "999 B")
  #expect(byteText(3_572_992) == "3.57 MB")
}
