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

}  // namespace
}  // namespace vexact
