#include "kernels/silu_mul/silu_mul.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/backends.h"
#include "support/flush_to_zero.h"
#include "support/matrix.h"

namespace vexact {
namespace {

Matrix<bf16> Apply(const Backend& backend, const Matrix<bf16>& gate, const Matrix<bf16>& up,
                   int num_threads = 2) {
  TestStream test(num_threads);
  Matrix<bf16> y(gate.rows(), gate.cols());
  backend.SiluMul({gate.view(), up.view(), y.view()}, test.stream);
  return y;
}

TEST(SiluMul, EqualsTheOracle) {
  for (const NamedBackend& b : AllBackends()) {
    SCOPED_TRACE(b.name);
    EXPECT_TRUE(SameBits(
        Apply(*b.backend, OracleMatrix<bf16>("silu_mul.gate"), OracleMatrix<bf16>("silu_mul.up")),
        OracleMatrix<bf16>("silu_mul.y")));
  }
}

constexpr int64_t kCols[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 127, 129, 1536};

TEST(SiluMul, EqualsTheReferenceForAllSizesAndValuesUnderFlushToZero) {
  const auto reference = MakeReferenceBackend();
  std::mt19937 random(1);
  for (const Values values : kAllValues) {
    for (const int64_t cols : kCols) {
      const auto gate = RandomMatrix(random, values, 3, cols);
      const auto up = RandomMatrix(random, values, 3, cols);
      const auto y = Apply(*reference, gate, up);
      const ScopedFlushToZero host;
      for (const NamedBackend& b : AllBackends()) {
        SCOPED_TRACE(fmt::format("{}, cols {}, values {}", b.name, cols, static_cast<int>(values)));
        EXPECT_TRUE(SameBits(Apply(*b.backend, gate, up), y));
      }
    }
  }
}

TEST(SiluMul, EqualsTheReferenceForEveryGate) {
  Matrix<bf16> gate(256, 256);
  Matrix<bf16> up(256, 256);
  for (int64_t i = 0; i < 65536; ++i) gate[i / 256][i % 256].bits = static_cast<uint16_t>(i);
  up.Fill(Bf16FromFloat(1.0f));
  const auto y = Apply(*MakeReferenceBackend(), gate, up);
  const ScopedFlushToZero host;
  for (const NamedBackend& b : AllBackends()) {
    EXPECT_TRUE(SameBits(Apply(*b.backend, gate, up, 1), y)) << b.name;
  }
}

TEST(SiluMul, AnElementAloneHasItsBitsBesidePoisonAndInPlace) {
  std::mt19937 random(2);
  for (const NamedBackend& b : AllBackends()) {
    const auto gate = RandomMatrix(random, Values::kNormal, 1, 1);
    const auto up = RandomMatrix(random, Values::kNormal, 1, 1);
    const auto alone = Apply(*b.backend, gate, up);
    for (const int64_t cols : kCols) {
      Matrix<bf16> gates(4, cols);
      Matrix<bf16> ups(4, cols);
      gates.Fill(Poison<bf16>());
      ups.Fill(Poison<bf16>());
      gates[2][cols / 2] = gate[0][0];
      ups[2][cols / 2] = up[0][0];
      TestStream test(3);
      b.backend->SiluMul({gates.view(), ups.view(), gates.view()}, test.stream);
      EXPECT_EQ(CanonicalWord(gates[2][cols / 2]), CanonicalWord(alone[0][0])) << b.name;
    }
  }
}

// For |g| <= 20 the exponent is off by at most 29 u (u = 2^-24, two roundings of a product below
// 29), so its power by 20 u and 2.5 u more of ex2; sum and quotient round once each: 25 u in all,
// under 2^-19. Then bf16 twice: 2^-7, and products of
// errors: under 2^-7 + 2^-15.
TEST(SiluMul, IsWithinItsDerivedErrorOfFloat64) {
  std::mt19937 random(3);
  for (const NamedBackend& b : AllBackends()) {
    Matrix<bf16> gate(64, 64);
    for (int64_t i = 0; i < 64 * 64; ++i) {
      gate[i / 64][i % 64] = Bf16FromFloat(std::uniform_real_distribution(-20.0f, 20.0f)(random));
    }
    const auto up = RandomMatrix(random, Values::kNormal, 64, 64);
    const auto y = Apply(*b.backend, gate, up);
    for (int64_t t = 0; t < 64; ++t) {
      for (int64_t i = 0; i < 64; ++i) {
        const double g = FloatFromBf16(gate[t][i]);
        const double exact = g / (1 + std::exp(-g)) * FloatFromBf16(up[t][i]);
        EXPECT_NEAR(FloatFromBf16(y[t][i]), exact, std::abs(exact) * (0x1p-7 + 0x1p-15)) << b.name;
      }
    }
  }
}

}  // namespace
}  // namespace vexact
