#include <algorithm>

#include "base/check.h"
#include "kernels/linear/linear.h"
#include "numerics/dot16.h"

namespace vexact {

// Storage: bf16 [out, in], row-major without padding.
Result<LinearWeight> PackLinearReference(Rows<const bf16> rows) {
  const auto bytes = static_cast<size_t>(rows.rows * rows.cols) * sizeof(bf16);
  LinearWeight weight{rows.rows, rows.cols, Buffer()};
  VX_ASSIGN_OR_RETURN(weight.storage, AllocateHost(bytes));
  for (int64_t o = 0; o < rows.rows; ++o) {
    std::copy_n(rows[o], rows.cols, weight.storage.as<bf16>() + o * rows.cols);
  }
  return weight;
}

void CheckShapes(const LinearArgs& args) {
  const LinearWeight& weight = *args.weight;
  const bool to_fp32 = args.y_fp32.data != nullptr;
  VX_CHECK(to_fp32 != (args.y.data != nullptr), "exactly one of y and y_fp32");
  VX_CHECK(args.x.cols == weight.in_features, "x.cols == in_features");
  VX_CHECK((to_fp32 ? args.y_fp32.rows : args.y.rows) == args.x.rows, "as many rows as x");
  VX_CHECK((to_fp32 ? args.y_fp32.cols : args.y.cols) == weight.out_features, "out_features");
}

void LinearReference(const LinearArgs& args, Stream& stream) {
  CheckShapes(args);
  const LinearWeight& weight = *args.weight;
  const bool to_fp32 = args.y_fp32.data != nullptr;
  const Rows<const bf16> w(weight.storage.as<bf16>(), weight.out_features, weight.in_features);
  stream.pool->ParallelFor(args.x.rows * w.rows, [&](int64_t index) {
    const int64_t t = index / w.rows;
    const int64_t o = index % w.rows;
    float sum = Chain(args.x[t], w[o], w.cols);
    if (args.bias != nullptr) sum = sum + FloatFromBf16(args.bias[o]);
    if (to_fp32) {
      args.y_fp32[t][o] = sum;
    } else {
      args.y[t][o] = Bf16FromFloat(sum);
    }
  });
}

}  // namespace vexact
