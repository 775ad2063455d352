#include "kernels/residual/residual.h"

#include <gtest/gtest.h>

#include "support/backends.h"
#include "support/flush_to_zero.h"
#include "support/matrix.h"

namespace vexact {
namespace {

Matrix<bf16> Apply(const Backend& backend, const Matrix<bf16>& a, const Matrix<bf16>& b,
                   int num_threads = 2) {
  TestStream test(num_threads);
  Matrix<bf16> y(a.rows(), a.cols());
  backend.Residual({a.view(), b.view(), y.view()}, test.stream);
  return y;
}

TEST(Residual, EqualsTheOracle) {
  for (const NamedBackend& b : AllBackends()) {
    SCOPED_TRACE(b.name);
    EXPECT_TRUE(SameBits(
        Apply(*b.backend, OracleMatrix<bf16>("residual.a"), OracleMatrix<bf16>("residual.b")),
        OracleMatrix<bf16>("residual.y")));
  }
}

constexpr int64_t kCols[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 127, 129, 576};

TEST(Residual, EqualsTheReferenceForAllSizesAndValuesUnderFlushToZero) {
  const auto reference = MakeReferenceBackend();
  std::mt19937 random(1);
  for (const Values values : kAllValues) {
    for (const int64_t cols : kCols) {
      const auto x = RandomMatrix(random, values, 3, cols);
      const auto z = RandomMatrix(random, values, 3, cols);
      const auto y = Apply(*reference, x, z);
      const ScopedFlushToZero host;
      for (const NamedBackend& b : AllBackends()) {
        SCOPED_TRACE(fmt::format("{}, cols {}, values {}", b.name, cols, static_cast<int>(values)));
        EXPECT_TRUE(SameBits(Apply(*b.backend, x, z), y));
      }
    }
  }
}

TEST(Residual, AnElementAloneHasItsBitsBesidePoisonAndInPlace) {
  std::mt19937 random(2);
  for (const NamedBackend& b : AllBackends()) {
    const auto x = RandomMatrix(random, Values::kNormal, 1, 1);
    const auto z = RandomMatrix(random, Values::kNormal, 1, 1);
    const auto alone = Apply(*b.backend, x, z);
    for (const int64_t cols : kCols) {
      Matrix<bf16> xs(4, cols);
      Matrix<bf16> zs(4, cols);
      xs.Fill(Poison<bf16>());
      zs.Fill(Poison<bf16>());
      xs[2][cols / 2] = x[0][0];
      zs[2][cols / 2] = z[0][0];
      TestStream test(3);
      b.backend->Residual({xs.view(), zs.view(), xs.view()}, test.stream);
      EXPECT_EQ(CanonicalWord(xs[2][cols / 2]), CanonicalWord(alone[0][0])) << b.name;
    }
  }
}

// One rounding to fp32 and one to bf16: 2^-24 and 2^-8 of the sum.
TEST(Residual, IsWithinItsDerivedErrorOfFloat64) {
  std::mt19937 random(3);
  for (const NamedBackend& b : AllBackends()) {
    const auto x = RandomMatrix(random, Values::kWide, 20, 50);
    const auto z = RandomMatrix(random, Values::kWide, 20, 50);
    const auto y = Apply(*b.backend, x, z);
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
