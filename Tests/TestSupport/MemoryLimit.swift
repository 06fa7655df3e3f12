/// A limit for conversions inside the test process, whose memory all tests share.
///
/// That a conversion keeps its limit is shown by running the command.
package let testMemoryLimit: UInt64 = 64 << 30
