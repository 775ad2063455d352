#include "numerics/dot16.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "support/oracle.h"

namespace vexact {
namespace {

constexpr uint32_t kMinusInfinityWord = 0xff800000u;

// A record of dot16_corners.bin: one step that a Hopper tensor core ran, and its answer.
struct Corner {
  uint32_t c;
  bf16 a[16];
  bf16 b[16];
  uint32_t answer;
  uint32_t kind;
};
static_assert(sizeof(Corner) == 76);

std::vector<Corner> ReadCorners() {
  const std::vector<std::byte> bytes = ReadTestFile(TestDataPath("oracle/dot16_corners.bin"));
  std::vector<Corner> corners(bytes.size() / sizeof(Corner));
  std::memcpy(corners.data(), bytes.data(), corners.size() * sizeof(Corner));
  return corners;
}

struct Group {
  bf16 x[kDotGroup] = {};
};

Group RandomGroup(std::mt19937& random, int lowest_exponent, int highest_exponent) {
  Group group;
  for (bf16& x : group.x) {
    const int exponent = std::uniform_int_distribution(lowest_exponent, highest_exponent)(random);
    const auto sign_and_fraction = static_cast<uint32_t>(random()) & 0x807fu;
    x.bits = static_cast<uint16_t>(sign_and_fraction | static_cast<uint32_t>(exponent + 127) << 7);
  }
  return group;
}

bf16 Bf16(float x) { return Bf16FromFloat(x); }

TEST(Dot16, EqualsTheHardwareAtEveryCorner) {
  const std::vector<Corner> corners = ReadCorners();
  ASSERT_EQ(corners.size(), 14u * 512u);
  std::vector<int> mismatches(14, 0);
  for (const Corner& corner : corners) {
    const float answer = Dot16(FloatFromWord(corner.c), corner.a, corner.b);
    if (WordFromFloat(answer) != corner.answer) ++mismatches.at(corner.kind);
  }
  EXPECT_EQ(mismatches, std::vector<int>(14, 0));
}

TEST(Dot16, DoesNotDependOnTheOrderInsideAGroupNorOnTheOperands) {
  std::mt19937 random(1);
  for (int round = 0; round < 500; ++round) {
    Group a = RandomGroup(random, -20, 20);
    Group b = RandomGroup(random, -20, 20);
    const float c = FloatFromBf16(RandomGroup(random, -30, 30).x[0]);
    const uint32_t answer = WordFromFloat(Dot16(c, a.x, b.x));
    EXPECT_EQ(answer, WordFromFloat(Dot16(c, b.x, a.x)));
    for (int i = 15; i > 0; --i) {
      const int j = std::uniform_int_distribution(0, i)(random);
      std::swap(a.x[i], a.x[j]);
      std::swap(b.x[i], b.x[j]);
    }
    EXPECT_EQ(answer, WordFromFloat(Dot16(c, a.x, b.x)));
  }
}

TEST(Dot16, CommutesWithPowersOfTwo) {
  std::mt19937 random(2);
  for (int round = 0; round < 500; ++round) {
    const Group a = RandomGroup(random, -10, 10);
    const Group b = RandomGroup(random, -10, 10);
    Group scaled = a;
    for (bf16& x : scaled.x) x = Bf16(FloatFromBf16(x) * 0x1p-7f);
    const float c = FloatFromBf16(RandomGroup(random, -10, 10).x[3]) * 1.0001f;
    EXPECT_EQ(WordFromFloat(Dot16(c, a.x, b.x) * 0x1p-7f),
              WordFromFloat(Dot16(c * 0x1p-7f, scaled.x, b.x)));
  }
}

TEST(Dot16, AGroupOfZeroProductsKeepsTheAccumulator) {
  const Group zeros;
  Group minus_ones;
  for (bf16& x : minus_ones.x) x = Bf16(-1.0f);
  for (const uint32_t word : {0u, 1u, 0x80000001u, 0x007fffffu, 0x00800000u, 0x3f800001u,
                              0xbfffffffu, 0x7f7fffffu, kInfinityWord, kMinusInfinityWord}) {
    EXPECT_EQ(WordFromFloat(Dot16(FloatFromWord(word), zeros.x, minus_ones.x)), word);
  }
  EXPECT_EQ(WordFromFloat(Dot16(-0.0f, zeros.x, minus_ones.x)), 0u);
}

TEST(Dot16, TruncatesEachTermBelowTheLargestTimesTwoToTheMinus25) {
  Group a;
  Group b;
  a.x[0] = Bf16(1.0f);
  b.x[0] = Bf16(1.0f);
  a.x[1] = Bf16(0x1p-13f);
  b.x[1] = Bf16(-0x1p-13f);  // -2^-26: truncated to zero
  EXPECT_EQ(Dot16(0.0f, a.x, b.x), 1.0f);
  a.x[1] = Bf16(0x1p-12f);  // -2^-25: kept, and the sum rounds toward zero
  EXPECT_EQ(WordFromFloat(Dot16(0.0f, a.x, b.x)), 0x3f7fffffu);
  // 1.5 * 1.5 keeps the exponent of 1 * 1: 2.25 does not raise E, so 2^-25 is kept beside it.
  a.x[0] = Bf16(1.5f);
  b.x[0] = Bf16(1.5f);
  EXPECT_EQ(WordFromFloat(Dot16(0.0f, a.x, b.x)), WordFromFloat(2.25f) - 1);
}

TEST(Dot16, RoundsTheSumTowardZeroIntoSubnormalsAndInfinity) {
  Group a;
  Group b;
  a.x[0] = Bf16(0x1p-74f);
  b.x[0] = Bf16(0x1p-75f);  // 2^-149, the smallest subnormal
  EXPECT_EQ(WordFromFloat(Dot16(0.0f, a.x, b.x)), 1u);
  b.x[0] = Bf16(-0x1.8p-76f);  // rounds to zero: +0, never -0
  EXPECT_EQ(WordFromFloat(Dot16(0.0f, a.x, b.x)), 0u);
  const float largest = std::numeric_limits<float>::max();
  a.x[0] = Bf16(0x1p127f);
  b.x[0] = Bf16(1.0f);
  EXPECT_EQ(WordFromFloat(Dot16(largest, a.x, b.x)), kInfinityWord);
  b.x[0] = Bf16(-1.0f);
  EXPECT_EQ(WordFromFloat(Dot16(-largest, a.x, b.x)), kMinusInfinityWord);
}

// E is at least -133: terms are multiples of 2^-158. None of the corners tells that floor from
// those beside it (only one above -131 makes a record differ).
TEST(Dot16, BelowTheFloorOfTheExponentTermsAreTruncatedToMultiplesOfTwoToTheMinus158) {
  Group a;
  Group b;
  a.x[0] = Bf16(0xffp-78f);
  b.x[0] = Bf16(0x1p-79f);
  for (const int i : {1, 2}) a.x[i] = b.x[i] = Bf16(0x1p-79f);
  // 2^-149 - 2^-157, and twice 2^-158: kept.
  EXPECT_EQ(WordFromFloat(Dot16(0.0f, a.x, b.x)), 1u);
  a.x[0] = Bf16(0x49p-79f);
  b.x[0] = Bf16(0x7p-79f);
  for (const int i : {1, 2}) a.x[i] = Bf16(0x1p-80f);
  // 2^-149 - 2^-158, and twice 2^-159: dropped.
  EXPECT_EQ(WordFromFloat(Dot16(0.0f, a.x, b.x)), 0u);
}

TEST(Dot16, PropagatesInfinitiesAndNan) {
  const float infinity = std::numeric_limits<float>::infinity();
  Group a;
  Group b;
  a.x[5] = Bf16(infinity);
  EXPECT_EQ(WordFromFloat(Dot16(0.0f, a.x, b.x)), kNanWord);  // infinity times 0
  b.x[5] = Bf16(-2.0f);
  EXPECT_EQ(WordFromFloat(Dot16(1.0f, a.x, b.x)), kMinusInfinityWord);
  EXPECT_EQ(WordFromFloat(Dot16(infinity, a.x, b.x)), kNanWord);
  EXPECT_EQ(WordFromFloat(Dot16(-infinity, a.x, b.x)), kMinusInfinityWord);
  EXPECT_EQ(WordFromFloat(Dot16(FloatFromWord(0xffc12345u), b.x, b.x)), kNanWord);
  b.x[0].bits = 0xff81;
  EXPECT_EQ(WordFromFloat(Dot16(0.0f, b.x, b.x)), kNanWord);
}

// Each of the 17 terms loses less than 2^(E-25) and the sum less than one unit in the last place of
// a result below 2^(E+6): together 17 * 2^(E-25) + 2^(E+6-23) < 2^(E-16.8).
TEST(Dot16, IsWithinItsDerivedErrorOfTheExactSum) {
  std::mt19937 random(3);
  for (int round = 0; round < 2000; ++round) {
    const Group a = RandomGroup(random, -8, 8);
    const Group b = RandomGroup(random, -8, 8);
    const float c = FloatFromBf16(RandomGroup(random, -16, 16).x[0]);
    double exact = c;
    int largest = std::ilogb(c);
    for (int i = 0; i < kDotGroup; ++i) {
      const float x = FloatFromBf16(a.x[i]);
      const float y = FloatFromBf16(b.x[i]);
      exact += static_cast<double>(x) * y;
      largest = std::max(largest, std::ilogb(x) + std::ilogb(y));
    }
    EXPECT_LT(std::abs(Dot16(c, a.x, b.x) - exact), std::ldexp(1.0, largest - 16));
  }
}

TEST(Chain, PadsTheLastGroupWithZeros) {
  std::mt19937 random(4);
  std::vector<bf16> a(64);
  std::vector<bf16> b(64);
  for (int k = 0; k <= 48; ++k) {
    for (int i = 0; i < 64; ++i) {
      a[i] = i < k ? RandomGroup(random, -3, 3).x[0] : bf16{0x7fff};
      b[i] = i < k ? RandomGroup(random, -3, 3).x[0] : bf16{0x7fff};
    }
    float expected = 0.0f;
    for (int begin = 0; begin < k; begin += kDotGroup) {
      Group x;
      Group y;
      for (int i = 0; i < std::min(kDotGroup, k - begin); ++i) {
        x.x[i] = a[begin + i];
        y.x[i] = b[begin + i];
      }
      expected = Dot16(expected, x.x, y.x);
    }
    EXPECT_EQ(WordFromFloat(Chain(a.data(), b.data(), k)), WordFromFloat(expected)) << k;
  }
}

}  // namespace
}  // namespace vexact
