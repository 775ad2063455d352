#include "numerics/tree128.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "numerics/words.h"
#include "support/oracle.h"

namespace vexact {
namespace {

TEST(Tree128, EqualsTheOracle) {
  const auto p = OperatorOracle().Get("tree128.p").As<float>();
  const auto y = OperatorOracle().Get("tree128.y").As<float>();
  ASSERT_EQ(y.size(), 64u);
  for (size_t row = 0; row < y.size(); ++row) {
    std::array<float, 128> values;
    std::copy_n(p.data() + row * 128, 128, values.begin());
    EXPECT_EQ(CanonicalWord(Tree128(values.data())), CanonicalWord(y[row])) << row;
  }
}

TEST(Tree128, AddsEveryValueOnce) {
  for (int j = 0; j < 128; ++j) {
    std::array<float, 128> values{};
    values[j] = 3.0f;
    EXPECT_EQ(Tree128(values.data()), 3.0f) << j;
  }
}

// 1 + 2^-24 rounds to 1, so where the small values meet before they meet the 1 tells the order.
TEST(Tree128, AddsNeighboursFirstAndStridesOfTwoAndFourLast) {
  const auto sum = [](int big, int small, int other_small) {
    std::array<float, 128> values{};
    values[big] = 1.0f;
    values[small] = 0x1p-24f;
    values[other_small] = 0x1p-24f;
    return Tree128(values.data());
  };
  EXPECT_EQ(sum(0, 2, 3), 1.0f + 0x1p-23f);   // 2 and 3 meet first
  EXPECT_EQ(sum(0, 1, 2), 1.0f);              // 1 meets 0 before 2 does
  EXPECT_EQ(sum(0, 2, 10), 1.0f + 0x1p-23f);  // stride 8 before stride 2
  EXPECT_EQ(sum(0, 2, 4), 1.0f);              // stride 2 before stride 4
  EXPECT_EQ(sum(0, 4, 6), 1.0f + 0x1p-23f);   // 4 and 6 meet at stride 2, then 0
  EXPECT_EQ(sum(0, 8, 16), 1.0f);
  EXPECT_EQ(sum(0, 32, 96), 1.0f);             // stride 32 before stride 64
  EXPECT_EQ(sum(0, 64, 96), 1.0f + 0x1p-23f);  // 64 and 96 meet at stride 32
}

}  // namespace
}  // namespace vexact
