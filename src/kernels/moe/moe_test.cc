#include "kernels/moe/moe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/backends.h"
#include "support/flush_to_zero.h"
#include "support/matrix.h"

namespace vexact {
namespace {

struct Route {
  Matrix<int32_t> ids;
  Matrix<float> weights;
};

Route ApplyRoute(const Backend& backend, const Matrix<float>& scores, int64_t top_k, bool norm,
                 int num_threads = 2) {
  TestStream test(num_threads);
  Route route{{scores.rows(), top_k}, {scores.rows(), top_k}};
  backend.MoeRoute({scores.view(), norm, route.ids.view(), route.weights.view()}, test.stream);
  return route;
}

// Rows [first * rows, (first + 1) * rows) of a stack of matrices.
Matrix<bf16> Expert(const std::string& name, int64_t expert, int64_t rows, int64_t cols) {
  const auto values = OperatorOracle().Get(name).As<bf16>();
  Matrix<bf16> matrix(rows, cols);
  for (int64_t r = 0; r < rows; ++r) {
    std::copy_n(values.data() + (expert * rows + r) * cols, cols, matrix[r]);
  }
  return matrix;
}

// silu(x gate^T) * (x up^T), times down^T: one expert on one row.
Matrix<bf16> ApplyExpert(const Backend& backend, Rows<const bf16> x, const std::string& name,
                         int64_t expert) {
  TestStream test(1);
  const auto linear = [&](Rows<const bf16> in, const Matrix<bf16>& w) {
    const LinearWeight weight = backend.PackLinear(w.view()).value();
    Matrix<bf16> y(in.rows, w.rows());
    backend.Linear({.x = in, .weight = &weight, .y = y.view()}, test.stream);
    return y;
  };
  Matrix<bf16> gate = linear(x, Expert(name + "gate", expert, 48, 64));
  const Matrix<bf16> up = linear(x, Expert(name + "up", expert, 48, 64));
  backend.SiluMul({gate.view(), up.view(), gate.view()}, test.stream);
  return linear(gate.view(), Expert(name + "down", expert, 64, 48));
}

TEST(Moe, EqualsTheOracle) {
  for (const NamedBackend& b : AllBackends()) {
    for (int i = 0; i < 2; ++i) {
      SCOPED_TRACE(b.name + ", case " + std::to_string(i));
      const std::string name = "moe." + std::to_string(i) + ".";
      TestStream test(2);
      const auto x = OracleMatrix<bf16>(name + "x");
      const LinearWeight router =
          b.backend->PackLinear(OracleMatrix<bf16>(name + "router").view()).value();
      Matrix<float> scores(x.rows(), 8);
      b.backend->Linear({.x = x.view(), .weight = &router, .y_fp32 = scores.view()}, test.stream);
      const Route route = ApplyRoute(*b.backend, scores, 3, /*norm=*/i == 1);
      EXPECT_TRUE(SameBits(route.weights, OracleMatrix<float>(name + "w")));
      EXPECT_TRUE(SameBits(route.ids, OracleMatrix<int32_t>(name + "ids")));

      Matrix<bf16> expert_rows(x.rows() * 3, 64);
      for (int64_t t = 0; t < x.rows(); ++t) {
        for (int64_t j = 0; j < 3; ++j) {
          const auto d = ApplyExpert(*b.backend, x.view().Slice(t, t + 1), name, route.ids[t][j]);
          std::copy_n(d[0], 64, expert_rows[t * 3 + j]);
        }
      }
      Matrix<bf16> y(x.rows(), 64);
      b.backend->MoeCombine({expert_rows.view(), route.weights.view(), y.view()}, test.stream);
      EXPECT_TRUE(SameBits(y, OracleMatrix<bf16>(name + "y")));
    }
  }
}

Matrix<float> RandomScores(std::mt19937& random, int64_t tokens, int64_t experts, int kind) {
  static constexpr float kSpecials[] = {std::numeric_limits<float>::infinity(),
                                        -std::numeric_limits<float>::infinity(),
                                        std::numeric_limits<float>::quiet_NaN(), -0.0f, 0.0f};
  Matrix<float> scores(tokens, experts);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t e = 0; e < experts; ++e) {
      float& score = scores[t][e];
      score = std::normal_distribution<float>(0.0f, kind == 1 ? 40.0f : 2.0f)(random);
      if (kind == 2) score = std::round(score);  // many ties
      if (kind == 3) score = score * 0x1p-130f;  // subnormal
      if (kind == 4 && random() % 4 == 0) score = kSpecials[random() % std::size(kSpecials)];
      if (kind == 5) score = std::numeric_limits<float>::quiet_NaN();
    }
  }
  return scores;
}

constexpr int64_t kExperts[] = {1, 2, 7, 8, 9, 60, 64, 127, 128, 129, 256, 300};

TEST(MoeRoute, EqualsTheReferenceForAllSizesAndValuesUnderFlushToZero) {
  const auto reference = MakeReferenceBackend();
  std::mt19937 random(1);
  for (const int64_t experts : kExperts) {
    for (const int64_t top_k : {int64_t{1}, std::min<int64_t>(8, experts), experts}) {
      for (int kind = 0; kind < 6; ++kind) {
        for (const bool norm : {false, true}) {
          const auto scores = RandomScores(random, 3, experts, kind);
          const Route route = ApplyRoute(*reference, scores, top_k, norm);
          const ScopedFlushToZero host;
          for (const NamedBackend& b : AllBackends()) {
            SCOPED_TRACE(
                fmt::format("{}, {} of {} experts, kind {}", b.name, top_k, experts, kind));
            const Route found = ApplyRoute(*b.backend, scores, top_k, norm);
            EXPECT_TRUE(SameBits(found.ids, route.ids));
            EXPECT_TRUE(SameBits(found.weights, route.weights));
          }
        }
      }
    }
  }
}

TEST(MoeRoute, ChoosesTheLargestTiesToTheLowerIdNanLast) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  Matrix<float> scores(3, 5);
  const float rows[3][5] = {
      {1, 3, 3, 2, 3}, {nan, -infinity, nan, 1, nan}, {nan, nan, nan, nan, 0}};
  for (int64_t t = 0; t < 3; ++t) std::copy_n(rows[t], 5, scores[t]);
  for (const NamedBackend& b : AllBackends()) {
    const Route route = ApplyRoute(*b.backend, scores, 3, true);
    const int32_t wanted[3][3] = {{1, 2, 4}, {0, 1, 3}, {0, 1, 4}};
    for (int64_t t = 0; t < 3; ++t) {
      EXPECT_TRUE(std::equal(wanted[t], wanted[t] + 3, route.ids[t])) << b.name << ", row " << t;
    }
  }
}

TEST(MoeRoute, ARowAloneHasItsBitsInEveryBatchWithPoisonedNeighbours) {
  std::mt19937 random(2);
  for (const NamedBackend& b : AllBackends()) {
    const auto row = RandomScores(random, 1, 130, 0);
    const Route alone = ApplyRoute(*b.backend, row, 4, false);
    for (const int64_t batch : {2, 9, 33}) {
      Matrix<float> scores(batch, 130);
      scores.Fill(Poison<float>());
      std::copy_n(row[0], 130, scores[batch / 2]);
      const Route route = ApplyRoute(*b.backend, scores, 4, false, 3);
      EXPECT_TRUE(SameBits(RowsOf(route.ids, batch / 2, batch / 2 + 1), alone.ids)) << b.name;
      EXPECT_TRUE(SameBits(RowsOf(route.weights, batch / 2, batch / 2 + 1), alone.weights))
          << b.name;
    }
  }
}

// With u = 2^-24 and |score| <= 12: the exponent, below 36, rounds log2 e and the fma: 54 u, a
// power is off by 38 u and 2.5 u more of ex2; so is their sum, which adds at most 16 times (10
// chosen, or a tree of 7 and 3 blocks) and the quotient once: under 2 * 41 + 17 = 99 u.
TEST(MoeRoute, IsWithinItsDerivedErrorOfFloat64) {
  std::mt19937 random(3);
  for (const NamedBackend& b : AllBackends()) {
    for (const bool norm : {false, true}) {
      const auto scores = RandomScores(random, 6, 300, 0);
      const Route route = ApplyRoute(*b.backend, scores, 10, norm);
      for (int64_t t = 0; t < 6; ++t) {
        double sum = 0;
        for (int64_t e = 0; e < 300; ++e) {
          const bool chosen = std::count(route.ids[t], route.ids[t] + 10, e) > 0;
          if (chosen || !norm) sum += std::exp(static_cast<double>(scores[t][e]));
        }
        for (int64_t j = 0; j < 10; ++j) {
          const double exact = std::exp(static_cast<double>(scores[t][route.ids[t][j]])) / sum;
          EXPECT_NEAR(route.weights[t][j], exact, exact * 99 * 0x1p-24) << b.name;
        }
      }
    }
  }
}

Matrix<bf16> ApplyCombine(const Backend& backend, const Matrix<bf16>& rows,
                          const Matrix<float>& weights, int num_threads = 2) {
  TestStream test(num_threads);
  Matrix<bf16> y(weights.rows(), rows.cols());
  backend.MoeCombine({rows.view(), weights.view(), y.view()}, test.stream);
  return y;
}

TEST(MoeCombine, EqualsTheReferenceForAllSizesAndValuesUnderFlushToZero) {
  const auto reference = MakeReferenceBackend();
  std::mt19937 random(4);
  for (const Values values : kAllValues) {
    for (const int64_t hidden : {1, 7, 8, 9, 15, 16, 17, 33, 200}) {
      for (const int64_t top_k : {1, 2, 8}) {
        const auto rows = RandomMatrix(random, values, 3 * top_k, hidden);
        const auto weights = RandomScores(random, 3, top_k, 0);
        const auto y = ApplyCombine(*reference, rows, weights);
        const ScopedFlushToZero host;
        for (const NamedBackend& b : AllBackends()) {
          EXPECT_TRUE(SameBits(ApplyCombine(*b.backend, rows, weights), y))
              << b.name << ", hidden " << hidden;
        }
      }
    }
  }
}

TEST(MoeCombine, ATokenAloneHasItsBitsBesidePoison) {
  std::mt19937 random(5);
  for (const NamedBackend& b : AllBackends()) {
    const auto rows = RandomMatrix(random, Values::kNormal, 2, 50);
    const auto weights = RandomScores(random, 1, 2, 0);
    const auto alone = ApplyCombine(*b.backend, rows, weights);
    Matrix<bf16> many(2 * 5, 50);
    Matrix<float> many_weights(5, 2);
    many.Fill(Poison<bf16>());
    many_weights.Fill(Poison<float>());
    std::copy_n(weights[0], 2, many_weights[3]);
    for (int64_t j = 0; j < 2; ++j) std::copy_n(rows[j], 50, many[6 + j]);
    const auto y = ApplyCombine(*b.backend, many, many_weights, 3);
    EXPECT_TRUE(SameBits(RowsOf(y, 3, 4), alone)) << b.name;
  }
}

// Each of k fmas rounds once, to at most 2^-24 of the sum of magnitudes; bf16 adds 2^-8 of the sum.
TEST(MoeCombine, IsWithinItsDerivedErrorOfFloat64) {
  std::mt19937 random(6);
  for (const NamedBackend& b : AllBackends()) {
    const auto rows = RandomMatrix(random, Values::kNormal, 4 * 8, 60);
    const auto weights = RandomScores(random, 4, 8, 0);
    const auto y = ApplyCombine(*b.backend, rows, weights);
    for (int64_t t = 0; t < 4; ++t) {
      for (int64_t i = 0; i < 60; ++i) {
        double exact = 0;
        double magnitude = 0;
        for (int64_t j = 0; j < 8; ++j) {
          const double term =
              static_cast<double>(weights[t][j]) * FloatFromBf16(rows[t * 8 + j][i]);
          exact += term;
          magnitude += std::abs(term);
        }
        EXPECT_NEAR(FloatFromBf16(y[t][i]), exact,
                    std::abs(exact) * 0x1p-8 + 9 * 0x1p-24 * magnitude)
            << b.name;
      }
    }
  }
}

}  // namespace
}  // namespace vexact
