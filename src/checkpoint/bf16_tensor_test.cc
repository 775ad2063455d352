#include "checkpoint/bf16_tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "support/gguf_writer.h"

namespace vexact {
namespace {

std::span<const std::byte> AsBytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::vector<bf16> Convert(DType dtype, const std::string& bytes, size_t elements) {
  std::vector<bf16> words(elements);
  ConvertToBf16(dtype, AsBytes(bytes), words);
  return words;
}

// The value of a binary16 by its definition, in double.
double F16Value(int bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 31) {
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(mantissa + 1024, exponent - 25);
}

// The nearest bf16 of a finite x, ties to even, by arithmetic.
float NearestBf16(double x) {
  if (x == 0.0) return static_cast<float>(x);
  const int exponent = std::max(std::ilogb(x) - 7, -133);
  return static_cast<float>(std::ldexp(std::nearbyint(std::ldexp(x, -exponent)), exponent));
}

TEST(FloatFromF16, IsExactForAllWords) {
  for (int bits = 0; bits < 65536; ++bits) {
    const float found = FloatFromF16(static_cast<uint16_t>(bits));
    const double expected = F16Value(bits);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(found)) << bits;
    } else {
      EXPECT_EQ(found, expected) << bits;
      EXPECT_EQ(std::signbit(found), std::signbit(expected)) << bits;
    }
  }
}

TEST(ConvertToBf16, RoundsAllF16WordsToNearestEven) {
  for (int bits = 0; bits < 65536; ++bits) {
    const bf16 found = Convert(DType::kF16, BytesOf(static_cast<uint16_t>(bits)), 1)[0];
    const double value = F16Value(bits);
    if (std::isnan(value)) {
      EXPECT_EQ(found.bits, 0x7fff) << bits;
    } else if (std::isinf(value)) {
      EXPECT_EQ(FloatFromBf16(found), value) << bits;
    } else {
      EXPECT_EQ(FloatFromBf16(found), NearestBf16(value)) << bits;
    }
  }
}

TEST(ConvertToBf16, RoundsF32ToNearestEven) {
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) {
    uint32_t word = random();
    if (i % 4 == 0) word = (word & 0xffff0000u) | 0x8000u;  // ties
    const float value = std::bit_cast<float>(word);
    if (!std::isfinite(value) || std::fabs(value) > 0x1p127f) continue;
    const bf16 found = Convert(DType::kF32, BytesOf(value), 1)[0];
    EXPECT_EQ(FloatFromBf16(found), NearestBf16(value)) << value;
  }
}

TEST(ConvertToBf16, KeepsF32Specials) {
  const auto convert = [](uint32_t word) { return Convert(DType::kF32, BytesOf(word), 1)[0].bits; };
  EXPECT_EQ(convert(0x7f800000), 0x7f80);
  EXPECT_EQ(convert(0xff800000), 0xff80);
  EXPECT_EQ(convert(0x7f800001), 0x7fff);
  EXPECT_EQ(convert(0x7f7fffff), 0x7f80);  // rounds up to infinity
  EXPECT_EQ(convert(0x80000000), 0x8000);
}

TEST(ConvertToBf16, CopiesBf16WordsAsTheyAre) {
  std::string bytes;
  for (int bits = 0; bits < 65536; ++bits) bytes += BytesOf(static_cast<uint16_t>(bits));
  const std::vector<bf16> words = Convert(DType::kBf16, bytes, 65536);
  for (int bits = 0; bits < 65536; ++bits) EXPECT_EQ(words[bits].bits, bits);
}

// Scales of every kind: all finite binary16 in steps, subnormal ones too.
std::vector<uint16_t> Scales() {
  std::vector<uint16_t> scales;
  for (int bits = 0; bits < 65536; bits += 97) {
    if (((bits >> 10) & 31) != 31) scales.push_back(static_cast<uint16_t>(bits));
  }
  return scales;
}

TEST(ConvertToBf16, Q8BlocksAreScaleTimesLevel) {
  for (const uint16_t scale : Scales()) {
    for (int base = -128; base < 128; base += 32) {
      std::string block = BytesOf(scale);
      for (int i = 0; i < 32; ++i) block += BytesOf(static_cast<int8_t>(base + i));
      const std::vector<bf16> words = Convert(DType::kQ8_0, block, 32);
      for (int i = 0; i < 32; ++i) {
        volatile float product = FloatFromF16(scale) * static_cast<float>(base + i);
        EXPECT_EQ(words[i], Bf16FromFloat(product)) << scale << " " << base + i;
      }
    }
  }
}

// Sixteen bytes in which element i has level levels[i].
std::string Nibbles(const std::vector<int>& levels) {
  std::string bytes;
  for (int i = 0; i < 16; ++i) bytes += static_cast<char>(levels[i] + 16 * levels[i + 16]);
  return bytes;
}

std::vector<int> MixedLevels() {
  std::vector<int> levels;
  for (int i = 0; i < 32; ++i) levels.push_back((7 * i + i / 16) % 16);
  return levels;
}

TEST(ConvertToBf16, Q4_0BlocksAreScaleTimesCentredLevel) {
  const std::vector<int> levels = MixedLevels();
  for (const uint16_t scale : Scales()) {
    const std::vector<bf16> words = Convert(DType::kQ4_0, BytesOf(scale) + Nibbles(levels), 32);
    for (int i = 0; i < 32; ++i) {
      volatile float product = FloatFromF16(scale) * static_cast<float>(levels[i] - 8);
      EXPECT_EQ(words[i], Bf16FromFloat(product)) << scale << " " << i;
    }
  }
}

// The product of an fp16 scale and a level is exact in fp32, so only the sum rounds.
TEST(ConvertToBf16, Q4_1BlocksAreScaleTimesLevelPlusMinimum) {
  const std::vector<int> levels = MixedLevels();
  const std::vector<uint16_t> scales = Scales();
  for (size_t s = 0; s < scales.size(); ++s) {
    const uint16_t minimum = scales[(s * 31 + 7) % scales.size()];
    const std::vector<bf16> words =
        Convert(DType::kQ4_1, BytesOf(scales[s]) + BytesOf(minimum) + Nibbles(levels), 32);
    for (int i = 0; i < 32; ++i) {
      volatile float product = FloatFromF16(scales[s]) * static_cast<float>(levels[i]);
      volatile float sum = product + FloatFromF16(minimum);
      EXPECT_EQ(words[i], Bf16FromFloat(sum)) << scales[s] << " " << i;
    }
  }
}

TEST(ConvertToBf16, TakesBlocksOneAfterTheOtherAtAnyAlignment) {
  std::string bytes = "x";
  for (int block = 0; block < 3; ++block) {
    bytes += BytesOf(F16FromFloat(1.0f)) + std::string(32, static_cast<char>(block + 1));
  }
  std::vector<bf16> words(96);
  ConvertToBf16(DType::kQ8_0, AsBytes(bytes).subspan(1), words);
  for (int i = 0; i < 96; ++i) EXPECT_EQ(FloatFromBf16(words[i]), i / 32 + 1);
}

TEST(UnpermuteRotaryRows, TurnsPairsIntoHalves) {
  constexpr int kHeads = 2;
  constexpr int kHeadDim = 6;
  constexpr int kCols = 3;
  std::vector<bf16> src;
  for (int i = 0; i < kHeads * kHeadDim * kCols; ++i) src.push_back({static_cast<uint16_t>(i)});
  std::vector<bf16> dst(src.size());
  UnpermuteRotaryRows(src, kHeadDim, kCols, dst);
  const int from_row[] = {0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11};
  for (int row = 0; row < kHeads * kHeadDim; ++row) {
    for (int col = 0; col < kCols; ++col) {
      EXPECT_EQ(dst[row * kCols + col], src[from_row[row] * kCols + col]) << row;
    }
  }
}

}  // namespace
}  // namespace vexact
