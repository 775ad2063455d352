#include "kernels/rms_norm/rms_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/backends.h"
#include "support/flush_to_zero.h"
#include "support/matrix.h"
#include "support/near_ties.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

Matrix<bf16> Apply(const Backend& backend, const Matrix<bf16>& x, const bf16* weight, int64_t group,
                   float eps) {
  TestStream test(2);
  Matrix<bf16> y(x.rows(), x.cols());
  backend.RmsNorm({x.view(), weight, group, eps, y.view()}, test.stream);
  return y;
}

TEST(RmsNorm, EqualsTheOracle) {
  for (const NamedBackend& b : AllBackends()) {
    for (int i = 0; i < 8; ++i) {
      SCOPED_TRACE(b.name + ", case " + std::to_string(i));
      const std::string name = "rms_norm." + std::to_string(i) + ".";
      const auto x = OracleMatrix<bf16>(name + "x");
      const bf16* weight = OperatorOracle().Get(name + "weight").As<bf16>().data();
      EXPECT_TRUE(
          SameBits(Apply(*b.backend, x, weight, x.cols(), 1e-6f), OracleMatrix<bf16>(name + "y")));
    }
  }
}

// Sizes at the edges of a lane's groups of 8, of 256 lanes, and of a second round of them (2048).
constexpr int64_t kGroups[] = {1,   2,   7,   8,    9,    16,   63,   64,   65,   80,  127,
                               128, 129, 576, 1535, 2040, 2047, 2048, 2049, 2056, 5120};

TEST(RmsNorm, EqualsTheReferenceForAllSizesAndValuesUnderFlushToZero) {
  const auto reference = MakeReferenceBackend();
  std::mt19937 random(1);
  for (const Values values : kAllValues) {
    for (const int64_t group : kGroups) {
      const int64_t heads = group <= 129 ? 3 : 1;
      const auto x = RandomMatrix(random, values, 3, heads * group);
      const auto weight = RandomMatrix(random, values, 1, group);
      const auto y = Apply(*reference, x, weight[0], group, 1e-5f);
      const ScopedFlushToZero host;
      for (const NamedBackend& b : AllBackends()) {
        SCOPED_TRACE(
            fmt::format("{}, group {}, values {}", b.name, group, static_cast<int>(values)));
        EXPECT_TRUE(SameBits(Apply(*b.backend, x, weight[0], group, 1e-5f), y));
      }
    }
  }
}

// The order of the sum is in the last bits of the root, and those are seldom in a bf16 answer.
TEST(RmsNorm, HasTheReferencesLastBitOfTheRoot) {
  const auto reference = MakeReferenceBackend();
  std::mt19937 random(5);
  for (const int64_t group : {64, 128, 576, 2056}) {
    Matrix<bf16> x(ScaledCases(64), group);
    FillNearTies(random, x.view(), group, 1e-5f);
    Matrix<bf16> weight(1, group);
    weight.Fill(Bf16FromFloat(1.0f));
    const auto y = Apply(*reference, x, weight[0], group, 1e-5f);
    for (const NamedBackend& b : AllBackends()) {
      SCOPED_TRACE(fmt::format("{}, group {}", b.name, group));
      EXPECT_TRUE(SameBits(Apply(*b.backend, x, weight[0], group, 1e-5f), y));
    }
  }
}

TEST(RmsNorm, ARowAloneHasItsBitsInEveryBatchWithPoisonedNeighbours) {
  std::mt19937 random(2);
  for (const NamedBackend& b : AllBackends()) {
    const auto weight = RandomMatrix(random, Values::kNormal, 1, 96);
    const auto row = RandomMatrix(random, Values::kNormal, 1, 96);
    const auto alone = Apply(*b.backend, row, weight[0], 96, 1e-6f);
    for (const int64_t batch : {1, 2, 5, 16, 33}) {
      Matrix<bf16> x(batch, 3 * 96);  // three heads: the middle one is ours
      x.Fill(Poison<bf16>());
      std::copy_n(row[0], 96, x[batch / 2] + 96);
      const auto y = Apply(*b.backend, x, weight[0], 96, 1e-6f);
      EXPECT_TRUE(SameBits(Rows<const bf16>(y[batch / 2] + 96, 1, 96), alone.view())) << b.name;
    }
  }
}

TEST(RmsNorm, WorksInPlace) {
  std::mt19937 random(3);
  for (const NamedBackend& b : AllBackends()) {
    TestStream test(2);
    auto x = RandomMatrix(random, Values::kNormal, 7, 2 * 200);
    const auto weight = RandomMatrix(random, Values::kNormal, 1, 200);
    const auto y = Apply(*b.backend, x, weight[0], 200, 1e-6f);
    b.backend->RmsNorm({x.view(), weight[0], 200, 1e-6f, x.view()}, test.stream);
    EXPECT_TRUE(SameBits(x, y)) << b.name;
  }
}

// With u = 2^-24: a lane adds at most 20 squares (fma, one rounding each) and the tree 8 times, all
// terms positive: the sum is off by less than 29 u; mean and + eps round once each: 31 u; the root
// halves that and rounds: under 17 u. x * r rounds to fp32 and to bf16 (2^-8), times the weight
// again: 2 * (2^-8 + u) + 17 u and the products of these, below 2^-7 + 2^-15. The smallest x show
// that eps is added to the mean.
TEST(RmsNorm, IsWithinItsDerivedErrorOfFloat64) {
  std::mt19937 random(4);
  for (const NamedBackend& b : AllBackends()) {
    for (const int64_t group : {64, 576, 5120}) {
      for (const float scale : {1.0f, 1e-3f, 100.0f}) {
        auto x = RandomMatrix(random, Values::kNormal, 2, group);
        for (int64_t t = 0; t < 2; ++t) {
          for (int64_t i = 0; i < group; ++i) {
            x[t][i] = Bf16FromFloat(scale * FloatFromBf16(x[t][i]));
          }
        }
        const auto weight = RandomMatrix(random, Values::kNormal, 1, group);
        const auto y = Apply(*b.backend, x, weight[0], group, 1e-5f);
        for (int64_t t = 0; t < 2; ++t) {
          double sum = 0;
          for (int64_t i = 0; i < group; ++i) sum += std::pow(FloatFromBf16(x[t][i]), 2);
          const double r = 1 / std::sqrt(sum / static_cast<double>(group) + 1e-5);
          for (int64_t i = 0; i < group; ++i) {
            const double exact = FloatFromBf16(weight[0][i]) * (FloatFromBf16(x[t][i]) * r);
            EXPECT_LE(std::abs(FloatFromBf16(y[t][i]) - exact),
                      std::abs(exact) * (0x1p-7 + 0x1p-15))
                << b.name;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace vexact
