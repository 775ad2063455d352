#include "kernels/moe/moe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

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

}  // namespace
}  // namespace vexact
