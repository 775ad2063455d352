#include "kernels/rope/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numbers>

#include "support/backends.h"
#include "support/flush_to_zero.h"
#include "support/matrix.h"

namespace vexact {
namespace {

RopeConfig Config(int64_t rotary_dim, double theta) {
  RopeConfig config;
  config.theta = theta;
  config.rotary_dim = static_cast<int32_t>(rotary_dim);
  return config;
}

RopeConfig Llama3Config() {
  RopeConfig config = Config(128, 5e5);
  config.scaling = RopeScaling::kLlama3;
  config.factor = 8.0;
  config.low_freq_factor = 1.0;
  config.high_freq_factor = 4.0;
  config.original_max_position_embeddings = 8192.0;
  return config;
}

// The oracle's four cases.
RopeConfig OracleConfig(int i) {
  switch (i) {
    case 0:
      return Config(128, 1e6);
    case 1:
      return Config(64, 1e5);
    case 2:
      return Llama3Config();
    default: {
      RopeConfig config = Config(64, 1e4);
      config.scaling = RopeScaling::kLinear;
      config.factor = 4.0;
      return config;
    }
  }
}

// A table of the oracle's cosines and sines, whose row r is for its r-th position.
RopeTable OracleTable(int i) {
  const std::string name = "rope." + std::to_string(i) + ".";
  const OracleTensor& cos = OperatorOracle().Get(name + "cos");
  const auto c = cos.As<bf16>();
  const auto s = OperatorOracle().Get(name + "sin").As<bf16>();
  return {cos.shape[0], cos.shape[1], {c.begin(), c.end()}, {s.begin(), s.end()}};
}

TEST(RopeTable, EqualsTheOracle) {
  for (int i = 0; i < 4; ++i) {
    SCOPED_TRACE(i);
    const RopeTable wanted = OracleTable(i);
    const auto positions =
        OperatorOracle().Get("rope." + std::to_string(i) + ".positions").As<int32_t>();
    ASSERT_EQ(positions.back(), 131071);
    const ScopedFlushToZero host;
    const RopeTable table = BuildRopeTable(OracleConfig(i), positions.back() + 1);
    ASSERT_EQ(table.half, wanted.half);
    ASSERT_EQ(table.cos.size(), static_cast<size_t>(table.max_positions * table.half));
    for (size_t r = 0; r < positions.size(); ++r) {
      for (int64_t c = 0; c < table.half; ++c) {
        const auto at = static_cast<size_t>(positions[r] * table.half + c);
        const auto oracle = r * static_cast<size_t>(table.half) + static_cast<size_t>(c);
        ASSERT_EQ(CanonicalWord(table.cos[at]), CanonicalWord(wanted.cos[oracle]));
        ASSERT_EQ(CanonicalWord(table.sin[at]), CanonicalWord(wanted.sin[oracle]));
      }
    }
  }
}

// The reference first. (A GPU has rope in norm_rope_write alone.)
struct NamedRope {
  std::string name;
  std::function<void(const RopeArgs& args, Stream& stream)> run;
};
std::vector<NamedRope> AllRopes() {
  std::vector<NamedRope> all = {{"reference", RopeReference}};
  for (const CpuTarget target : SupportedCpuTargets()) {
    all.push_back({std::string(CpuTargetName(target)),
                   [target](const RopeArgs& args, Stream& s) { RopeCpu(target, args, s); }});
  }
  return all;
}

Matrix<bf16> Apply(const NamedRope& rope, Matrix<bf16> x, const std::vector<int32_t>& positions,
                   const RopeTable& table, int num_threads = 2) {
  TestStream test(num_threads);
  rope.run({x.view(), 2 * table.half, positions.data(), table.view()}, test.stream);
  return x;
}

TEST(Rope, EqualsTheOracle) {
  const std::vector<int32_t> rows = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  for (const NamedRope& b : AllRopes()) {
    for (int i = 0; i < 4; ++i) {
      SCOPED_TRACE(b.name + ", case " + std::to_string(i));
      const std::string name = "rope." + std::to_string(i) + ".";
      const RopeTable table = OracleTable(i);
      const int64_t cols = 2 * 2 * table.half;  // two heads
      EXPECT_TRUE(SameBits(Apply(b, OracleMatrix<bf16>(name + "x", cols), rows, table),
                           OracleMatrix<bf16>(name + "y", cols)));
    }
  }
}

// With u = 2^-24: rounding the exponent 2i/d moves the power by at most 14 u (ln 1e6), the power
// and its reciprocal round once each and so does the angle: under 18 u of it. bf16 rounds values
// below 1 by at most 2^-9.
TEST(RopeTable, IsWithinItsDerivedErrorOfFloat64) {
  const RopeTable table = BuildRopeTable(Config(64, 1e6), 3000);
  for (int64_t p = 0; p < table.max_positions; p += 7) {
    for (int64_t i = 0; i < table.half; ++i) {
      const double angle = static_cast<double>(p) * std::pow(1e6, -static_cast<double>(i) / 32);
      const double bound = 18 * 0x1p-24 * angle + 0x1p-9;
      const auto at = static_cast<size_t>(p * table.half + i);
      EXPECT_NEAR(FloatFromBf16(table.cos[at]), std::cos(angle), bound);
      EXPECT_NEAR(FloatFromBf16(table.sin[at]), std::sin(angle), bound);
    }
  }
}

// With factor 8, old length 8192, bands 1 and 4: wavelengths over 8192 are stretched 8 times, those
// under 2048 kept.
TEST(RopeTable, Llama3StretchesLongWavelengthsOnly) {
  const RopeTable a = BuildRopeTable(Config(128, 5e5), 4097);
  const RopeTable b = BuildRopeTable(Llama3Config(), 4097);
  const auto at = [&](int64_t position, int64_t i) {
    return static_cast<size_t>(position * a.half + i);
  };
  for (int64_t i = 0; i < a.half; ++i) {
    const double wavelength =
        2 * std::numbers::pi * std::pow(5e5, static_cast<double>(i) / static_cast<double>(a.half));
    for (const int64_t p : {8, 64, 512}) {
      if (wavelength < 2047) {
        EXPECT_EQ(b.sin[at(p, i)].bits, a.sin[at(p, i)].bits);
      } else if (wavelength > 8193) {
        EXPECT_EQ(b.sin[at(8 * p, i)].bits, a.sin[at(p, i)].bits);
      }
    }
  }
}

TEST(Rope, EqualsTheReferenceForAllSizesAndValuesUnderFlushToZero) {
  const NamedRope reference = AllRopes().front();
  std::mt19937 random(1);
  for (const int64_t head_dim : {2, 6, 14, 16, 18, 30, 32, 34, 64, 80, 96, 128, 256}) {
    const RopeTable table = BuildRopeTable(Config(head_dim, 1e4), 64);
    for (const Values values : kAllValues) {
      const auto x = RandomMatrix(random, values, 5, 3 * head_dim);
      const std::vector<int32_t> positions = {63, 0, 1, 17, 17};
      const auto y = Apply(reference, x, positions, table);
      const ScopedFlushToZero host;
      for (const NamedRope& b : AllRopes()) {
        SCOPED_TRACE(fmt::format("{}, head_dim {}", b.name, head_dim));
        EXPECT_TRUE(SameBits(Apply(b, x, positions, table), y));
      }
    }
  }
}

TEST(Rope, AHeadAloneHasItsBitsInEveryBatchWithPoisonedNeighbours) {
  std::mt19937 random(2);
  const RopeTable table = BuildRopeTable(Config(40, 1e4), 50);
  for (const NamedRope& b : AllRopes()) {
    const auto head = RandomMatrix(random, Values::kNormal, 1, 40);
    const auto alone = Apply(b, head, {33}, table);
    for (const int64_t batch : {1, 2, 7, 20}) {
      Matrix<bf16> x(batch, 3 * 40);
      x.Fill(Poison<bf16>());
      std::copy_n(head[0], 40, x[batch - 1] + 40);
      std::vector<int32_t> positions(static_cast<size_t>(batch), 4);
      positions.back() = 33;
      const auto y = Apply(b, x, positions, table, 3);
      EXPECT_TRUE(SameBits(Rows<const bf16>(y[batch - 1] + 40, 1, 40), alone.view())) << b.name;
    }
  }
}

// Each product rounds to fp32 and bf16, and so does their sum: (1 + 2^-8 + 2^-24)^2 - 1 of the sum
// of the magnitudes.
TEST(Rope, IsWithinItsDerivedErrorOfFloat64) {
  std::mt19937 random(3);
  const int64_t half = 32;
  const RopeTable table = BuildRopeTable(Config(2 * half, 1e4), 100);
  for (const NamedRope& b : AllRopes()) {
    const auto x = RandomMatrix(random, Values::kNormal, 3, 2 * half);
    const auto y = Apply(b, x, {7, 50, 99}, table);
    for (int64_t t = 0; t < 3; ++t) {
      const int64_t position = std::vector<int64_t>{7, 50, 99}[static_cast<size_t>(t)];
      for (int64_t i = 0; i < 2 * half; ++i) {
        const auto at = static_cast<size_t>(position * half + i % half);
        const double rotated =
            i < half ? -FloatFromBf16(x[t][i + half]) : FloatFromBf16(x[t][i - half]);
        const double straight =
            static_cast<double>(FloatFromBf16(x[t][i])) * FloatFromBf16(table.cos[at]);
        const double crossed = rotated * FloatFromBf16(table.sin[at]);
        EXPECT_NEAR(FloatFromBf16(y[t][i]), straight + crossed,
                    (std::abs(straight) + std::abs(crossed)) * (0x1p-7 + 0x1p-15))
            << b.name;
      }
    }
  }
}

}  // namespace
}  // namespace vexact
