#include "common/float_text.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

namespace vexact {
namespace {

std::string Text(float value) {
  std::string text;
  AppendJsonFloat(value, text);
  return text;
}

TEST(FloatText, PrintsTheShortestDecimalAndNotTheDoubles) {
  EXPECT_EQ(Text(0.1f), "0.1");  // as a double it would be 0.10000000149011612
  EXPECT_EQ(Text(-2.5f), "-2.5");
  EXPECT_EQ(Text(-16777216.0f), "-16777216");
  std::string text;
  AppendJsonDouble(0.1, text);
  EXPECT_EQ(text, "0.1");
}

TEST(FloatText, ZeroHasNoSignAndWhatJsonCannotSayIsNull) {
  EXPECT_EQ(Text(-0.0f), "0");
  EXPECT_EQ(Text(-std::numeric_limits<float>::infinity()), "null");
  EXPECT_EQ(Text(std::numeric_limits<float>::quiet_NaN()), "null");
}

TEST(FloatText, EveryFloatReadsBackToItsBitsThroughAJsonReadersDouble) {
  std::mt19937 random(7);
  for (int i = 0; i < 200000; ++i) {
    const float value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isfinite(value) || value == 0.0f) continue;
    const std::string text = Text(value);
    const auto as_double = nlohmann::json::parse(text).get<double>();
    ASSERT_EQ(std::bit_cast<uint32_t>(static_cast<float>(as_double)),
              std::bit_cast<uint32_t>(value))
        << text;
    ASSERT_EQ(std::strtof(text.c_str(), nullptr), value) << text;
  }
}

}  // namespace
}  // namespace vexact
