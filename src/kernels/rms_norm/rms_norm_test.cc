#include "kernels/rms_norm/rms_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/backends.h"
#include "support/flush_to_zero.h"
#include "support/matrix.h"

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
      {
        const float eps = 1e-6f;
        SCOPED_TRACE(b.name + ", case " + std::to_string(i));
        const std::string name = "rms_norm." + std::to_string(i) + ".";
        const auto x = OracleMatrix<bf16>(name + "x");
        const bf16* weight = OperatorOracle().Get(name + "weight").As<bf16>().data();
        EXPECT_TRUE(
            SameBits(Apply(*b.backend, x, weight, x.cols(), eps), OracleMatrix<bf16>(name + "y")));
      }
    }
  }
}

}  // namespace
}  // namespace vexact
