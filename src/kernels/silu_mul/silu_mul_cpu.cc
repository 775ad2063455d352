#include "kernels/silu_mul/silu_mul.h"
#include "kernels/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/silu_mul/silu_mul_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include "kernels/simd/elementwise-inl.h"
#include "kernels/simd/ex2-inl.h"
#include "kernels/simd/split.h"
#include "kernels/simd/vector-inl.h"
#include "numerics/constants.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {
namespace silu_mul {

// bf16(silu(gate)) * up, before the last rounding's lower half is dropped.
HWY_INLINE VU SiluTimes(VF gate, VF up) {
  const DF df;
  const VF power = Ex2(hn::Mul(hn::Neg(gate), hn::Set(df, kLog2E)));
  const VF silu = hn::Div(gate, hn::Add(hn::Set(df, 1.0f), power));
  return RoundToBf16(hn::Mul(RoundThroughBf16(silu), up));
}

void Run(const SiluMulArgs& args, Stream& stream) {
  constexpr int64_t kCost = 8;  // of an element, in elements of an addition
  ParallelRanges(stream, args.y.rows, args.y.cols * kCost, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      Elementwise(args.gate[r], args.up[r], args.y.cols, args.y[r],
                  [](VF gate, VF up) { return SiluTimes(gate, up); });
    }
  });
}

}  // namespace silu_mul
}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vexact {

void SiluMulCpu(CpuTarget target, const SiluMulArgs& args, Stream& stream) {
  CheckShapes(args);
  VX_CPU_DISPATCH(target, silu_mul::Run, args, stream);
}

}  // namespace vexact
#endif  // HWY_ONCE
