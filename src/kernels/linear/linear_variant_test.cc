// Linear of mode variant: right within what fp32 sums of any order allow, whatever the batch.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/backend.h"
#include "support/backends.h"
#include "support/matrix.h"

namespace vexact {
namespace {

std::vector<NamedBackend> VariantBackends() {
  std::vector<NamedBackend> backends;
  for (const CpuTarget target : SupportedCpuTargets()) {
    backends.push_back(
        {std::string(CpuTargetName(target)), MakeCpuBackend(target, Mode::kVariant)});
  }
  return backends;
}

struct Operands {
  Matrix<bf16> x;
  Matrix<bf16> w;
  Matrix<bf16> bias;  // [1, out]
};

Matrix<float> ApplyFp32(const Backend& backend, const Operands& operands, int threads) {
  TestStream stream(threads);
  const LinearWeight weight = backend.PackLinear(operands.w.view()).value();
  Matrix<float> y(operands.x.rows(), operands.w.rows());
  backend.Linear(
      {.x = operands.x.view(), .weight = &weight, .bias = operands.bias[0], .y_fp32 = y.view()},
      stream.stream);
  EXPECT_TRUE(y.PoisonIsIntact());
  return y;
}

Matrix<bf16> ApplyBf16(const Backend& backend, const Operands& operands) {
  TestStream stream(2);
  const LinearWeight weight = backend.PackLinear(operands.w.view()).value();
  Matrix<bf16> y(operands.x.rows(), operands.w.rows());
  backend.Linear(
      {.x = operands.x.view(), .weight = &weight, .bias = operands.bias[0], .y = y.view()},
      stream.stream);
  EXPECT_TRUE(y.PoisonIsIntact());
  return y;
}

// Every count of rows up to two blocks and past the blocks of a task, outputs at the edges of half
// panels of every target (8, 16, 32).
const std::vector<int64_t> kRows = {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 48, 49, 65};
const std::vector<int64_t> kOutputs = {1, 8, 15, 33, 49, 64, 130};

// An fp32 sum of n products in any order, each product and sum one rounding (or both one), is off
// by at most n * 2^-24 of the sum of magnitudes, to first order; the bias adds one rounding.
TEST(LinearVariant, IsWithinItsDerivedErrorOfFloat64ForEveryNumberOfRows) {
  std::mt19937 random(1);
  for (const NamedBackend& b : VariantBackends()) {
    for (const int64_t rows : kRows) {
      const int64_t in = 1 + static_cast<int64_t>(random() % 700);
      const int64_t out = kOutputs[random() % kOutputs.size()];
      SCOPED_TRACE(fmt::format("{}, {} x {} -> {}", b.name, rows, in, out));
      const Operands operands{RandomMatrix(random, Values::kNormal, rows, in),
                              RandomMatrix(random, Values::kNormal, out, in),
                              RandomMatrix(random, Values::kNormal, 1, out)};
      const auto y = ApplyFp32(*b.backend, operands, 3);
      const auto rounded = ApplyBf16(*b.backend, operands);
      for (int64_t t = 0; t < rows; ++t) {
        for (int64_t o = 0; o < out; ++o) {
          double exact = FloatFromBf16(operands.bias[0][o]);
          double magnitude = std::abs(exact);
          for (int64_t i = 0; i < in; ++i) {
            const double product = static_cast<double>(FloatFromBf16(operands.x[t][i])) *
                                   FloatFromBf16(operands.w[o][i]);
            exact += product;
            magnitude += std::abs(product);
          }
          EXPECT_LE(std::abs(y[t][o] - exact), static_cast<double>(in + 2) * 0x1p-24 * magnitude);
          EXPECT_EQ(rounded[t][o].bits, Bf16FromFloat(y[t][o]).bits);
        }
      }
    }
  }
}

TEST(LinearVariant, ANeighbourIsNeverPartOfARow) {
  std::mt19937 random(2);
  for (const NamedBackend& b : VariantBackends()) {
    for (const int64_t rows : kRows) {
      Operands operands{RandomMatrix(random, Values::kNormal, rows, 100),
                        RandomMatrix(random, Values::kNormal, 49, 100),
                        RandomMatrix(random, Values::kNormal, 1, 49)};
      const auto expected = ApplyFp32(*b.backend, operands, 2);
      const int64_t kept = rows / 2;
      for (int64_t r = 0; r < rows; ++r) {
        if (r != kept) std::fill_n(operands.x[r], 100, Poison<bf16>());
      }
      const auto y = ApplyFp32(*b.backend, operands, 2);
      EXPECT_TRUE(SameBits(RowsOf(y, kept, kept + 1), RowsOf(expected, kept, kept + 1))) << b.name;
      for (int64_t r = 0; r < rows; ++r) {
        EXPECT_EQ(std::isnan(y[r][48]), r != kept) << b.name;
      }
    }
  }
}

}  // namespace
}  // namespace vexact
