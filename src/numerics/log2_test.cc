#include "numerics/log2.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/oracle.h"

namespace vexact {
namespace {

TEST(Log2, EqualsTheOracle) {
  const auto x = OperatorOracle().Get("log2.x").As<float>();
  const auto y = OperatorOracle().Get("log2.y").As<float>();
  ASSERT_EQ(x.size(), 6005u);
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(CanonicalWord(Log2(x[i])), CanonicalWord(y[i])) << x[i];
  }
}

TEST(Log2, IsExactAtPowersOfTwo) {
  for (int k = -126; k <= 127; ++k) EXPECT_EQ(Log2(std::ldexp(1.0f, k)), static_cast<float>(k));
}

TEST(Log2, IsMonotoneAndWithinItsRelativeErrorOnHalfToTwo) {
  float previous = -1.0f;
  double largest_error = 0;
  for (uint32_t word = 0x3f000000u; word < 0x40000000u; word += 7) {
    const float x = FloatFromWord(word);
    const float y = Log2(x);
    ASSERT_LE(previous, y) << x;
    previous = y;
    const double exact = std::log2(static_cast<double>(x));
    if (exact != 0) largest_error = std::max(largest_error, std::abs(y / exact - 1));
  }
  EXPECT_LE(largest_error, 1.24e-7);
}

TEST(Log2, IsMonotoneWhereTheExponentChanges) {
  for (uint32_t word = 0x3f3504f4u - 1000; word < 0x3f3504f4u + 1000; ++word) {
    EXPECT_LE(Log2(FloatFromWord(word)), Log2(FloatFromWord(word + 1))) << word;
  }
}

}  // namespace
}  // namespace vexact
