#include "numerics/ex2.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "base/sha256.h"
#include "support/oracle.h"

namespace vexact {
namespace {

constexpr uint32_t kTableSize = 1u << 23;

// The hash is of the table read from a GPU: ex2.approx.ftz.f32 agreed with it on all 2^32 inputs.
TEST(Ex2, TableHasTheHashMeasuredOnTheHardware) {
  std::vector<uint32_t> table(kTableSize);
  for (uint32_t r = 0; r < kTableSize; ++r) table[r] = Ex2TableWord(r);
  Sha256 sha;
  sha.Update(std::as_bytes(std::span<const uint32_t>(table)));
  EXPECT_EQ(sha.FinishHex(), "b2a42c4a626469c986e33e43f16f41bde9d84de94347cd9ceaa1bd68d36bcdf0");
}

TEST(Ex2, TableIsMonotoneInOneBinadeAndWithinItsRelativeError) {
  uint32_t previous = 0x3f800000u;
  double largest_error = 0;
  for (uint32_t r = 0; r < kTableSize; ++r) {
    const uint32_t word = Ex2TableWord(r);
    ASSERT_LE(previous, word) << r;
    previous = word;
    if (r % 61 != 0) continue;
    const double exact = std::exp2(static_cast<double>(r) / kTableSize);
    largest_error = std::max(largest_error, std::abs(FloatFromWord(word) / exact - 1));
  }
  EXPECT_LT(previous, 0x40000000u);
  EXPECT_LE(largest_error, 1.465e-7);
}

TEST(Ex2, EqualsTheOracle) {
  const auto x = OperatorOracle().Get("ex2.x").As<float>();
  const auto y = OperatorOracle().Get("ex2.y").As<float>();
  ASSERT_EQ(x.size(), 6000u);
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(CanonicalWord(Ex2(x[i])), CanonicalWord(y[i])) << x[i];
  }
}

TEST(Ex2, TakesSpecialValues) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(WordFromFloat(Ex2(std::numeric_limits<float>::quiet_NaN())), kNanWord);
  EXPECT_EQ(Ex2(infinity), infinity);
  EXPECT_EQ(Ex2(128.0f), infinity);
  EXPECT_EQ(WordFromFloat(Ex2(-infinity)), 0u);
  EXPECT_EQ(Ex2(0.0f), 1.0f);
  EXPECT_EQ(Ex2(-0.0f), 1.0f);
  EXPECT_EQ(Ex2(FloatFromWord(1)), 1.0f);
  EXPECT_EQ(Ex2(FloatFromWord(0x807fffffu)), 1.0f);
  const float below_128 = std::nextafter(128.0f, 0.0f);  // 128 - 2^-17: r = 2^23 - 64
  EXPECT_EQ(WordFromFloat(Ex2(below_128)), Ex2TableWord(kTableSize - 64) + (127u << 23));
}

TEST(Ex2, IsTheExactPowerOfTwoAtIntegersDownToMinus126AndZeroBelow) {
  for (int k = -126; k <= 127; ++k) {
    EXPECT_EQ(Ex2(static_cast<float>(k)), std::ldexp(1.0f, k)) << k;
  }
  EXPECT_EQ(WordFromFloat(Ex2(std::nextafter(-126.0f, -127.0f))), 0u);
  for (const float x : {-127.0f, -128.0f, -1000.0f, -1e30f}) EXPECT_EQ(WordFromFloat(Ex2(x)), 0u);
}

TEST(Ex2, IsMonotoneAcrossBinades) {
  for (int k = -126; k < 128; ++k) {
    float x = static_cast<float>(k);
    for (int i = 0; i < 4; ++i) x = std::nextafter(x, -200.0f);
    float previous = Ex2(x);
    for (int i = 0; i < 8; ++i) {
      x = std::nextafter(x, 200.0f);
      const float y = Ex2(x);
      EXPECT_LE(previous, y) << x;
      previous = y;
    }
  }
}

}  // namespace
}  // namespace vexact
