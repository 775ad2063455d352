#include "kernels/linear/linear.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/backends.h"
#include "support/flush_to_zero.h"
#include "support/matrix.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

LinearWeight Pack(const Backend& backend, const Matrix<bf16>& rows) {
  return backend.PackLinear(rows.view()).value();
}

Matrix<bf16> Apply(const Backend& backend, const Matrix<bf16>& x, const Matrix<bf16>& w,
                   const bf16* bias, int num_threads = 2) {
  TestStream test(num_threads);
  const LinearWeight weight = Pack(backend, w);
  Matrix<bf16> y(x.rows(), w.rows());
  backend.Linear({.x = x.view(), .weight = &weight, .bias = bias, .y = y.view()}, test.stream);
  return y;
}

Matrix<float> ApplyFp32(const Backend& backend, const Matrix<bf16>& x, const Matrix<bf16>& w) {
  TestStream test(2);
  const LinearWeight weight = Pack(backend, w);
  Matrix<float> y(x.rows(), w.rows());
  backend.Linear({.x = x.view(), .weight = &weight, .y_fp32 = y.view()}, test.stream);
  return y;
}

TEST(Linear, EqualsTheOracle) {
  for (const NamedBackend& b : AllBackends()) {
    for (int i = 0; i < 7; ++i) {
      SCOPED_TRACE(b.name + ", case " + std::to_string(i));
      const std::string name = "linear." + std::to_string(i) + ".";
      const auto x = OracleMatrix<bf16>(name + "x");
      const auto w = OracleMatrix<bf16>(name + "w");
      const bf16* bias = OperatorOracle().Get(name + "bias").As<bf16>().data();
      EXPECT_TRUE(SameBits(ApplyFp32(*b.backend, x, w), OracleMatrix<float>(name + "y_fp32")));
      EXPECT_TRUE(SameBits(Apply(*b.backend, x, w, nullptr), OracleMatrix<bf16>(name + "y")));
      EXPECT_TRUE(SameBits(Apply(*b.backend, x, w, bias), OracleMatrix<bf16>(name + "y_bias")));
    }
  }
}

// Sizes at the edges of groups of 16, of vectors of 8 and 16 lanes and of blocks of outputs.
constexpr int64_t kIn[] = {1, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 255, 257};
constexpr int64_t kOut[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 129};
constexpr int64_t kTokens[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 65};

TEST(Linear, EqualsTheReferenceAtTileEdgesForAllValuesUnderFlushToZero) {
  const auto reference = MakeReferenceBackend();
  std::mt19937 random(1);
  for (const Values values : kAllValues) {
    for (int i = 0; i < ScaledCases(40); ++i) {
      const int64_t in = Pick(random, kIn);
      const auto x = RandomMatrix(random, values, Pick(random, kTokens), in);
      const auto w = RandomMatrix(random, values, Pick(random, kOut), in);
      const auto bias = RandomMatrix(random, values, 1, w.rows());
      const auto y = Apply(*reference, x, w, nullptr);
      const auto y_bias = Apply(*reference, x, w, bias[0]);
      const auto y_fp32 = ApplyFp32(*reference, x, w);
      const ScopedFlushToZero host;
      for (const NamedBackend& b : AllBackends()) {
        SCOPED_TRACE(fmt::format("{}, [{}, {}] x [{}, {}], values {}", b.name, x.rows(), in,
                                 w.rows(), in, static_cast<int>(values)));
        EXPECT_TRUE(SameBits(Apply(*b.backend, x, w, nullptr), y));
        EXPECT_TRUE(SameBits(Apply(*b.backend, x, w, bias[0]), y_bias));
        EXPECT_TRUE(SameBits(ApplyFp32(*b.backend, x, w), y_fp32));
      }
    }
  }
}

// Groups whose largest exponent lies just inside or outside of what a fast path may take.
TEST(Linear, EqualsTheReferenceWhereFastPathsEnd) {
  const auto reference = MakeReferenceBackend();
  std::mt19937 random(2);
  for (const int exponent : {-75, -70, -63, -62, -50, -46, -45, -44, -40, 40, 55, 58, 60, 61, 63}) {
    auto x = RandomMatrix(random, Values::kNormal, 9, 80);
    auto w = RandomMatrix(random, Values::kNormal, 33, 80);
    const float scale = std::ldexp(1.0f, exponent);
    for (auto* matrix : {&x, &w}) {
      for (int64_t r = 0; r < matrix->rows(); r += 2) {  // every other row stays ordinary
        for (int64_t c = 0; c < 80; ++c) {
          (*matrix)[r][c] = Bf16FromFloat(FloatFromBf16((*matrix)[r][c]) * scale);
        }
      }
    }
    const auto y = ApplyFp32(*reference, x, w);
    const ScopedFlushToZero host;
    for (const NamedBackend& b : AllBackends()) {
      SCOPED_TRACE(fmt::format("{}, 2^{}", b.name, exponent));
      EXPECT_TRUE(SameBits(ApplyFp32(*b.backend, x, w), y));
    }
  }
}

// The sums of dot16_test.cc that tell the floor of the exponent, -133, from those beside it: on a
// GPU this asks the tensor cores.
TEST(Linear, TruncatesAtTheFloorOfTheExponent) {
  Matrix<bf16> x(2, 3);
  Matrix<bf16> w(2, 3);
  for (int i = 0; i < 3; ++i) {
    x[0][i] = w[0][i] = w[1][i] = Bf16FromFloat(0x1p-79f);
    x[1][i] = Bf16FromFloat(0x1p-80f);
  }
  x[0][0] = Bf16FromFloat(0xffp-78f);
  x[1][0] = Bf16FromFloat(0x49p-79f);
  w[1][0] = Bf16FromFloat(0x7p-79f);
  for (const NamedBackend& b : AllBackends()) {
    SCOPED_TRACE(b.name);
    const Matrix<float> y = ApplyFp32(*b.backend, x, w);
    EXPECT_EQ(y[0][0], 0x1p-149f);
    EXPECT_EQ(y[1][1], 0.0f);
  }
}

TEST(Linear, ARowAloneHasItsBitsInEveryBatchWithPoisonedNeighbours) {
  std::mt19937 random(3);
  for (const NamedBackend& b : AllBackends()) {
    const auto w = RandomMatrix(random, Values::kWide, 49, 77);
    const auto row = RandomMatrix(random, Values::kWide, 1, 77);
    const auto alone = ApplyFp32(*b.backend, row, w);
    for (const int64_t batch : kTokens) {
      for (const int64_t place : {int64_t{0}, batch / 2, batch - 1}) {
        SCOPED_TRACE(fmt::format("{}, row {} of {}", b.name, place, batch));
        Matrix<bf16> x(batch, 77);
        x.Fill(Poison<bf16>());
        std::copy_n(row[0], 77, x[place]);
        const auto y = ApplyFp32(*b.backend, x, w);
        EXPECT_TRUE(SameBits(RowsOf(y, place, place + 1), alone));
      }
    }
  }
}

TEST(Linear, AnOutputDependsOnItsOwnWeightsAlone) {
  std::mt19937 random(4);
  for (const NamedBackend& b : AllBackends()) {
    const auto x = RandomMatrix(random, Values::kWide, 5, 70);
    const auto weight_row = RandomMatrix(random, Values::kWide, 1, 70);
    const auto alone = ApplyFp32(*b.backend, x, weight_row);
    for (const int64_t out : kOut) {
      SCOPED_TRACE(fmt::format("{}, {} outputs", b.name, out));
      Matrix<bf16> w(out, 70);
      w.Fill(Poison<bf16>());
      std::copy_n(weight_row[0], 70, w[out / 2]);
      const auto y = ApplyFp32(*b.backend, x, w);
      for (int64_t t = 0; t < x.rows(); ++t) {
        EXPECT_EQ(CanonicalWord(y[t][out / 2]), CanonicalWord(alone[t][0]));
      }
    }
  }
}

TEST(Linear, DoesNotDependOnTheNumberOfThreads) {
  std::mt19937 random(5);
  for (const NamedBackend& b : AllBackends()) {
    const auto x = RandomMatrix(random, Values::kNormal, 19, 48);
    const auto w = RandomMatrix(random, Values::kNormal, 130, 48);
    const auto y = Apply(*b.backend, x, w, nullptr, 1);
    for (const int threads : {2, 3, 7}) {
      EXPECT_TRUE(SameBits(Apply(*b.backend, x, w, nullptr, threads), y)) << b.name;
    }
  }
}

// Let A = sum |x_i w_i|. A step truncates 17 terms, each to a multiple of 2^(E-25), and 2^E is at
// most the largest term's magnitude, at most A; then it truncates a sum below (1 + small) A to 24
// bits: 2^-23 A. So ceil(K / 16) steps lose at most (17 * 2^-25 + 2^-23) A = 21 * 2^-25 A each.
TEST(Linear, IsWithinItsDerivedErrorOfFloat64) {
  std::mt19937 random(6);
  for (const NamedBackend& b : AllBackends()) {
    for (const int64_t in : {16, 100, 576, 1536}) {
      const auto x = RandomMatrix(random, Values::kNormal, 4, in);
      const auto w = RandomMatrix(random, Values::kNormal, 20, in);
      const auto y = ApplyFp32(*b.backend, x, w);
      for (int64_t t = 0; t < x.rows(); ++t) {
        for (int64_t o = 0; o < w.rows(); ++o) {
          double exact = 0;
          double magnitude = 0;
          for (int64_t i = 0; i < in; ++i) {
            const double product =
                static_cast<double>(FloatFromBf16(x[t][i])) * FloatFromBf16(w[o][i]);
            exact += product;
            magnitude += std::abs(product);
          }
          const double steps = std::ceil(static_cast<double>(in) / 16);
          EXPECT_LE(std::abs(y[t][o] - exact), steps * 21 * 0x1p-25 * magnitude) << b.name;
        }
      }
    }
  }
}

}  // namespace
}  // namespace vexact
