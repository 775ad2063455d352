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

}  // namespace
}  // namespace vexact
