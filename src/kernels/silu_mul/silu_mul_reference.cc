#include "base/check.h"
#include "kernels/silu_mul/silu_mul.h"
#include "numerics/constants.h"
#include "numerics/ex2.h"

namespace vexact {

void CheckShapes(const SiluMulArgs& args) {
  VX_CHECK(args.up.rows == args.gate.rows && args.up.cols == args.gate.cols, "up like gate");
  VX_CHECK(args.y.rows == args.gate.rows && args.y.cols == args.gate.cols, "y like gate");
}

void SiluMulReference(const SiluMulArgs& args, Stream& stream) {
  CheckShapes(args);
  stream.pool->ParallelFor(args.gate.rows, [&](int64_t t) {
    for (int64_t i = 0; i < args.gate.cols; ++i) {
      const float g = FloatFromBf16(args.gate[t][i]);
      const float silu = g / (1.0f + Ex2(-g * kLog2E));
      const float s = FloatFromBf16(Bf16FromFloat(silu));
      args.y[t][i] = Bf16FromFloat(s * FloatFromBf16(args.up[t][i]));
    }
  });
}

}  // namespace vexact
