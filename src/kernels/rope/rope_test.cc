#include "kernels/rope/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "support/backends.h"
#include "support/flush_to_zero.h"
#include "support/matrix.h"

namespace vexact {
namespace {

// The oracle's four cases.
RopeConfig OracleConfig(int i) {
  switch (i) {
    case 0:
      return {.theta = 1e6, .rotary_dim = 128};
    case 1:
      return {.theta = 1e5, .rotary_dim = 64};
    case 2:
      return {.theta = 5e5,
              .rotary_dim = 128,
              .scaling = RopeScaling::kLlama3,
              .factor = 8.0,
              .low_freq_factor = 1.0,
              .high_freq_factor = 4.0,
              .original_max_position_embeddings = 8192.0};
    default:
      return {.rotary_dim = 64, .scaling = RopeScaling::kLinear, .factor = 4.0};
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

Matrix<bf16> Apply(const Backend& backend, Matrix<bf16> x, const std::vector<int32_t>& positions,
                   const RopeTable& table, int num_threads = 2) {
  TestStream test(num_threads);
  backend.Rope({x.view(), 2 * table.half, positions.data(), &table}, test.stream);
  return x;
}

TEST(Rope, EqualsTheOracle) {
  const std::vector<int32_t> rows = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  for (const NamedBackend& b : AllBackends()) {
    for (int i = 0; i < 4; ++i) {
      SCOPED_TRACE(b.name + ", case " + std::to_string(i));
      const std::string name = "rope." + std::to_string(i) + ".";
      const RopeTable table = OracleTable(i);
      const int64_t cols = 2 * 2 * table.half;  // two heads
      EXPECT_TRUE(SameBits(Apply(*b.backend, OracleMatrix<bf16>(name + "x", cols), rows, table),
                           OracleMatrix<bf16>(name + "y", cols)));
    }
  }
}

}  // namespace
}  // namespace vexact
