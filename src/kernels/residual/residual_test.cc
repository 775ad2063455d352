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

}  // namespace
}  // namespace vexact
