// Inner products of two vectors and how far they are apart, LANES entries at a time.
//
// Included by Measures.c after LogitPair.h, whose vector types it uses.

static void NAME(compare)(
  const float *a, const float *b, size_t count, ingot_vector_pair *result) {
  // Sums of 4096 products stay in single precision at most.
  for (size_t start = 0; start < count; start += 4096) {
    size_t end = count - start < 4096 ? count : start + 4096;
    NAME(vfloat) aa = 0.0f, ab = 0.0f, bb = 0.0f, dd = 0.0f, largest = 0.0f;
    size_t i = start;
    for (; i + LANES <= end; i += LANES) {
      NAME(vfloat) x, y;
      memcpy(&x, a + i, sizeof x);
      memcpy(&y, b + i, sizeof y);
      NAME(vfloat) d = x - y;
      NAME(vfloat) square = d * d;
      aa += x * x;
      ab += x * y;
      bb += y * y;
      dd += square;
      largest = square > largest ? square : largest;
    }
    result->aa += NAME(total)(aa);
    result->ab += NAME(total)(ab);
    result->bb += NAME(total)(bb);
    result->dd += NAME(total)(dd);
    double maximum = 0;
    for (int lane = 0; lane < LANES; ++lane)
      maximum = (double)largest[lane] > maximum ? (double)largest[lane] : maximum;
    for (; i < end; ++i) {
      double x = (double)a[i], y = (double)b[i], d = x - y;
      result->aa += x * x;
      result->ab += x * y;
      result->bb += y * y;
      result->dd += d * d;
      maximum = d * d > maximum ? d * d : maximum;
    }
    if (maximum > result->largest_dd) result->largest_dd = maximum;
  }
}
