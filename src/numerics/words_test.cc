#include "numerics/words.h"

#include <gtest/gtest.h>

#include <limits>

#include "numerics/constants.h"

namespace vexact {
namespace {

TEST(CanonicalWord, MapsEveryNanToOneAndMinusZeroToPlusZero) {
  EXPECT_EQ(CanonicalWord(FloatFromWord(0xffc00001u)), 0x7fffffffu);
  EXPECT_EQ(CanonicalWord(FloatFromWord(0x7f800001u)), 0x7fffffffu);
  EXPECT_EQ(CanonicalWord(-0.0f), 0u);
  EXPECT_EQ(CanonicalWord(-1.0f), 0xbf800000u);
  EXPECT_EQ(CanonicalWord(-std::numeric_limits<float>::infinity()), 0xff800000u);
  EXPECT_EQ(CanonicalWord(bf16{0x8000}), 0);
  EXPECT_EQ(CanonicalWord(bf16{0xff81}), 0x7fff);
  EXPECT_EQ(CanonicalWord(bf16{0xff80}), 0xff80);
  EXPECT_EQ(CanonicalWord(bf16{0x8001}), 0x8001);
}

TEST(Bf16FromFloat, RoundsToNearestEven) {
  EXPECT_EQ(Bf16FromFloat(FloatFromWord(0x3f808000u)).bits, 0x3f80);  // tie, even below
  EXPECT_EQ(Bf16FromFloat(FloatFromWord(0x3f818000u)).bits, 0x3f82);  // tie, even above
  EXPECT_EQ(Bf16FromFloat(FloatFromWord(0x3f808001u)).bits, 0x3f81);
  EXPECT_EQ(Bf16FromFloat(FloatFromWord(0x7f7fffffu)).bits, 0x7f80);  // to infinity
  EXPECT_EQ(Bf16FromFloat(FloatFromWord(0x00008001u)).bits, 0x0001);  // subnormal
  EXPECT_EQ(Bf16FromFloat(FloatFromWord(0xff800001u)).bits, 0x7fff);  // NaN
}

TEST(Constants, AreTheWordsOfTheLaw) {
  EXPECT_EQ(WordFromFloat(kLog2E), 0x3fb8aa3bu);
  EXPECT_EQ(WordFromFloat(kLn2), 0x3f317218u);
  EXPECT_EQ(WordFromFloat(AttentionScale(64)), 0x3e38aa3bu);
  EXPECT_EQ(WordFromFloat(AttentionScale(128)), 0x3e0293eeu);
}

TEST(CeilOfProduct, RoundsTheProductBeforeTheCeiling) {
  EXPECT_EQ(CeilOfProduct(1.0f, kLog2E), 2.0f);
  EXPECT_EQ(CeilOfProduct(-1.0f, kLog2E), -1.0f);
  // The exact product is 1 + 2^-25, whose ceiling is 2.
  EXPECT_EQ(CeilOfProduct(3.0f, 0x1.555556p-2f), 1.0f);
}

}  // namespace
}  // namespace vexact
