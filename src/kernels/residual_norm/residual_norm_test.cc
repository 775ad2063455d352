#include "kernels/residual_norm/residual_norm.h"

#include <gtest/gtest.h>

#include "kernels/rms_norm/rms_norm.h"
#include "support/backends.h"
#include "support/flush_to_zero.h"
#include "support/matrix.h"
#include "support/near_ties.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

constexpr float kEps = 1e-6f;

struct Sum {
  Matrix<bf16> hidden;
  Matrix<bf16> normed;
};

Sum Apply(const Backend& backend, const Matrix<bf16>& hidden, const Matrix<bf16>& branch,
          const bf16* weight, int num_threads = 2) {
  TestStream test(num_threads);
  Sum sum{hidden, Matrix<bf16>(hidden.rows(), hidden.cols())};
  backend.ResidualNorm({sum.hidden.view(), branch.view(), weight, kEps, sum.normed.view()},
                       test.stream);
  return sum;
}

testing::AssertionResult SameBits(const Sum& actual, const Sum& expected) {
  const testing::AssertionResult hidden = SameBits(actual.hidden, expected.hidden);
  if (!hidden) return testing::AssertionFailure() << "hidden " << hidden.message();
  const testing::AssertionResult normed = SameBits(actual.normed, expected.normed);
  if (!normed) return testing::AssertionFailure() << "normed " << normed.message();
  return testing::AssertionSuccess();
}

TEST(ResidualNorm, SumsEqualTheOracle) {
  const auto a = OracleMatrix<bf16>("residual.a");
  const auto branch = OracleMatrix<bf16>("residual.b");
  const Matrix<bf16> weight(1, a.cols());
  for (const NamedBackend& b : AllBackends()) {
    SCOPED_TRACE(b.name);
    EXPECT_TRUE(
        SameBits(Apply(*b.backend, a, branch, weight[0]).hidden, OracleMatrix<bf16>("residual.y")));
  }
}

// x + 0 is x: the norm alone.
TEST(ResidualNorm, NormsEqualTheOracle) {
  for (const NamedBackend& b : AllBackends()) {
    for (int i = 0; i < 8; ++i) {
      SCOPED_TRACE(b.name + ", case " + std::to_string(i));
      const std::string name = "rms_norm." + std::to_string(i) + ".";
      const auto x = OracleMatrix<bf16>(name + "x");
      const bf16* weight = OperatorOracle().Get(name + "weight").As<bf16>().data();
      const Sum sum = Apply(*b.backend, x, Matrix<bf16>(x.rows(), x.cols()), weight);
      EXPECT_TRUE(SameBits(sum.normed, OracleMatrix<bf16>(name + "y")));
    }
  }
}

// Sizes at the edges of a vector, of a lane's groups of 8, of 256 lanes and of a second round.
constexpr int64_t kCols[] = {1,   2,   7,   8,    9,    15,   16,   17,   31,  33,
                             127, 129, 576, 2040, 2047, 2048, 2049, 2056, 5120};

TEST(ResidualNorm, EqualsTheStepsOneAfterAnotherUnderFlushToZero) {
  std::mt19937 random(1);
  for (const Values values : kAllValues) {
    for (const int64_t cols : kCols) {
      const auto hidden = RandomMatrix(random, values, 3, cols);
      const auto branch = RandomMatrix(random, values, 3, cols);
      const auto weight = RandomMatrix(random, values, 1, cols);
      Sum steps{hidden, Matrix<bf16>(3, cols)};
      for (int64_t t = 0; t < 3; ++t) {
        for (int64_t i = 0; i < cols; ++i) {
          steps.hidden[t][i] =
              Bf16FromFloat(FloatFromBf16(hidden[t][i]) + FloatFromBf16(branch[t][i]));
        }
      }
      TestStream test(2);
      RmsNormReference({steps.hidden.view(), weight[0], cols, kEps, steps.normed.view()},
                       test.stream);
      const ScopedFlushToZero host;
      for (const NamedBackend& b : AllBackends()) {
        SCOPED_TRACE(fmt::format("{}, cols {}, values {}", b.name, cols, static_cast<int>(values)));
        EXPECT_TRUE(SameBits(Apply(*b.backend, hidden, branch, weight[0]), steps));
      }
    }
  }
}

TEST(ResidualNorm, HasTheReferencesLastBitOfTheRoot) {
  std::mt19937 random(5);
  for (const int64_t cols : {128, 576, 2056}) {
    Matrix<bf16> x(ScaledCases(64), cols);
    FillNearTies(random, x.view(), cols, kEps);
    Matrix<bf16> weight(1, cols);
    weight.Fill(Bf16FromFloat(1.0f));
    Matrix<bf16> normed(x.rows(), cols);
    TestStream test(2);
    RmsNormReference({x.view(), weight[0], cols, kEps, normed.view()}, test.stream);
    for (const NamedBackend& b : AllBackends()) {
      SCOPED_TRACE(fmt::format("{}, cols {}", b.name, cols));
      const Sum sum = Apply(*b.backend, x, Matrix<bf16>(x.rows(), cols), weight[0]);
      EXPECT_TRUE(SameBits(sum.normed, normed));
    }
  }
}

TEST(ResidualNorm, ARowAloneHasItsBitsInEveryBatchWithPoisonedNeighbours) {
  std::mt19937 random(2);
  for (const NamedBackend& b : AllBackends()) {
    for (const int64_t cols : {96, 577, 2100}) {
      const auto weight = RandomMatrix(random, Values::kNormal, 1, cols);
      const auto row = RandomMatrix(random, Values::kNormal, 1, cols);
      const auto added = RandomMatrix(random, Values::kNormal, 1, cols);
      const Sum alone = Apply(*b.backend, row, added, weight[0]);
      for (const int64_t batch : {1, 2, 5, 16, 33}) {
        SCOPED_TRACE(fmt::format("{}, cols {}, {} rows", b.name, cols, batch));
        Matrix<bf16> hidden(batch, cols);
        Matrix<bf16> branch(batch, cols);
        hidden.Fill(Poison<bf16>());
        branch.Fill(Poison<bf16>());
        const int64_t place = batch / 2;
        std::copy_n(row[0], cols, hidden[place]);
        std::copy_n(added[0], cols, branch[place]);
        const Sum sum = Apply(*b.backend, hidden, branch, weight[0], 3);
        EXPECT_TRUE(SameBits(RowsOf(sum.hidden, place, place + 1), alone.hidden));
        EXPECT_TRUE(SameBits(RowsOf(sum.normed, place, place + 1), alone.normed));
      }
    }
  }
}

TEST(ResidualNorm, NormsMayTakeThePlaceOfTheBranchOrOfTheSums) {
  std::mt19937 random(3);
  for (const NamedBackend& b : AllBackends()) {
    for (const int64_t cols : {200, 5000}) {
      SCOPED_TRACE(fmt::format("{}, cols {}", b.name, cols));
      const auto hidden = RandomMatrix(random, Values::kNormal, 7, cols);
      const auto branch = RandomMatrix(random, Values::kNormal, 7, cols);
      const auto weight = RandomMatrix(random, Values::kNormal, 1, cols);
      const Sum apart = Apply(*b.backend, hidden, branch, weight[0]);
      TestStream test(2);
      Sum in_branch{hidden, branch};
      const Rows<bf16> normed = in_branch.normed.view();
      b.backend->ResidualNorm({in_branch.hidden.view(), normed, weight[0], kEps, normed},
                              test.stream);
      EXPECT_TRUE(SameBits(in_branch, apart));
      Matrix<bf16> in_hidden = hidden;
      b.backend->ResidualNorm({in_hidden.view(), branch.view(), weight[0], kEps, in_hidden.view()},
                              test.stream);
      EXPECT_TRUE(SameBits(in_hidden, apart.normed));
    }
  }
}

// One rounding to fp32 and one to bf16: 2^-24 and 2^-8 of the sum. (The norm's bound is
// rms_norm_test.cc's.)
TEST(ResidualNorm, SumsAreWithinTheirDerivedErrorOfFloat64) {
  std::mt19937 random(4);
  for (const NamedBackend& b : AllBackends()) {
    const auto x = RandomMatrix(random, Values::kWide, 20, 50);
    const auto z = RandomMatrix(random, Values::kWide, 20, 50);
    const auto weight = RandomMatrix(random, Values::kNormal, 1, 50);
    const auto y = Apply(*b.backend, x, z, weight[0]).hidden;
    for (int64_t t = 0; t < 20; ++t) {
      for (int64_t i = 0; i < 50; ++i) {
        const double exact = static_cast<double>(FloatFromBf16(x[t][i])) + FloatFromBf16(z[t][i]);
        EXPECT_NEAR(FloatFromBf16(y[t][i]), exact, std::abs(exact) * (0x1p-8 + 0x1p-23)) << b.name;
      }
    }
  }
}

}  // namespace
}  // namespace vexact
