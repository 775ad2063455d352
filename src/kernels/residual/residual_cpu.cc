#include "kernels/residual/residual.h"
#include "kernels/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/residual/residual_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include "kernels/simd/elementwise-inl.h"
#include "kernels/simd/split.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {
namespace residual {

void Run(const ResidualArgs& args, Stream& stream) {
  ParallelRanges(stream, args.y.rows, args.y.cols, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      Elementwise(args.a[r], args.b[r], args.y.cols, args.y[r],
                  [](VF a, VF b) { return RoundToBf16(hn::Add(a, b)); });
    }
  });
}

}  // namespace residual
}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vexact {

void ResidualCpu(CpuTarget target, const ResidualArgs& args, Stream& stream) {
  VX_CPU_DISPATCH(target, residual::Run, args, stream);
}

}  // namespace vexact
#endif  // HWY_ONCE
