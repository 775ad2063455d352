#include "base/check.h"
#include "kernels/residual_norm/residual_norm.h"
#include "kernels/rms_norm/rms_norm.h"

namespace vexact {

void CheckShapes(const ResidualNormArgs& args) {
  const Rows<bf16>& hidden = args.hidden;
  VX_CHECK(args.branch.rows == hidden.rows && args.branch.cols == hidden.cols,
           "branch like hidden");
  VX_CHECK(args.normed.rows == hidden.rows && args.normed.cols == hidden.cols,
           "normed like hidden");
}

void ResidualNormReference(const ResidualNormArgs& args, Stream& stream) {
  CheckShapes(args);
  const Rows<bf16>& hidden = args.hidden;
  stream.pool->ParallelFor(hidden.rows, [&](int64_t t) {
    for (int64_t i = 0; i < hidden.cols; ++i) {
      hidden[t][i] = Bf16FromFloat(FloatFromBf16(hidden[t][i]) + FloatFromBf16(args.branch[t][i]));
    }
  });
  RmsNormReference({hidden, args.weight, hidden.cols, args.eps, args.normed}, stream);
}

}  // namespace vexact
