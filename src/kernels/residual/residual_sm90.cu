#include "base/check.h"
#include "kernels/residual/residual.h"
#include "kernels/sm90/arithmetic.cuh"
#include "kernels/sm90/launch.cuh"

namespace vexact {
namespace {

// One thread, one element: rows may start anywhere and `cols` may be odd.
__global__ void ResidualKernel(ResidualArgs args) {
  const int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  if (i >= args.y.rows * args.y.cols) return;
  const int64_t t = i / args.y.cols;
  const int64_t c = i % args.y.cols;
  args.y[t][c] = Bf16FromFloat(__fadd_rn(FloatFromBf16(args.a[t][c]), FloatFromBf16(args.b[t][c])));
}

}  // namespace

void ResidualSm90(const ResidualArgs& args, Stream& stream) {
  const int64_t elements = args.y.rows * args.y.cols;
  sm90::Launch(ResidualKernel, static_cast<unsigned>((elements + 255) / 256), 256, 0, stream, args);
}

}  // namespace vexact
