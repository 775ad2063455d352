#include "base/check.h"
#include "kernels/residual/residual.h"

namespace vexact {

void ResidualReference(const ResidualArgs& args, Stream& stream) {
  VX_CHECK(args.b.rows == args.a.rows && args.b.cols == args.a.cols, "b like a");
  VX_CHECK(args.y.rows == args.a.rows && args.y.cols == args.a.cols, "y like a");
  stream.pool->ParallelFor(args.a.rows, [&](int64_t t) {
    for (int64_t i = 0; i < args.a.cols; ++i) {
      args.y[t][i] = Bf16FromFloat(FloatFromBf16(args.a[t][i]) + FloatFromBf16(args.b[t][i]));
    }
  });
}

}  // namespace vexact
