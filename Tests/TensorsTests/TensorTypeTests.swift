import Tensors
import Testing

@Test func namesAndNumbersAreUnique() {
  #expect(Set(TensorType.allCases.map(\.name)).count == TensorType.allCases.count)
  let ids = TensorType.allCases.compactMap(\.ggmlID)
  #expect(Set(ids).count == ids.count)
}
