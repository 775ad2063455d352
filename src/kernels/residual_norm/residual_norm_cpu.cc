#include "kernels/residual_norm/residual_norm.h"
#include "kernels/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/residual_norm/residual_norm_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include "kernels/rms_norm/rms_norm.h"
#include "kernels/simd/elementwise-inl.h"
#include "kernels/simd/split.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {
namespace residual_norm {

void AddBranch(const ResidualNormArgs& args, Stream& stream) {
  const Rows<bf16>& hidden = args.hidden;
  ParallelRanges(stream, hidden.rows, hidden.cols, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      Elementwise(hidden[r], args.branch[r], hidden.cols, hidden[r],
                  [](VF a, VF b) { return RoundToBf16(hn::Add(a, b)); });
    }
  });
}

}  // namespace residual_norm
}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vexact {
namespace {

void AddBranch(CpuTarget target, const ResidualNormArgs& args, Stream& stream) {
  VX_CPU_DISPATCH(target, residual_norm::AddBranch, args, stream);
}

}  // namespace

void ResidualNormCpu(CpuTarget target, const ResidualNormArgs& args, Stream& stream) {
  CheckShapes(args);
  AddBranch(target, args, stream);
  RmsNormCpu(target, {args.hidden, args.weight, args.hidden.cols, args.eps, args.normed}, stream);
}

}  // namespace vexact
#endif  // HWY_ONCE
