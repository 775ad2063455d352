#include "kernels/rms_norm/rms_norm.h"
#include "kernels/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rms_norm/rms_norm_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include <cmath>

#include "kernels/simd/elementwise-inl.h"
#include "kernels/simd/split.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {
namespace rms_norm {

inline constexpr int kSumLanes = 256;  // of the canonical sum; each takes runs of 8 elements
inline constexpr int kRun = 8;

// The canonical sum of squares of x[0..count).
float SumOfSquares(const bf16* x, int64_t count) {
  const DF df;
  alignas(64) float sums[kSumLanes] = {};
  alignas(64) float elements[kRun][kSumLanes];  // element e of every lane's run
  for (int64_t first = 0; first < count; first += kSumLanes * kRun) {
    const int64_t here = std::min<int64_t>(count - first, kSumLanes * kRun);
    const int64_t runs = (here + kRun - 1) / kRun;
    const int64_t padded_runs = (runs + kLanes - 1) / kLanes * kLanes;
    for (int64_t i = 0; i < padded_runs * kRun; ++i) {
      elements[i % kRun][i / kRun] = i < here ? FloatFromBf16(x[first + i]) : 0.0f;
    }
    for (int64_t lane = 0; lane < padded_runs; lane += kLanes) {
      VF sum = hn::Load(df, sums + lane);
      for (int e = 0; e < kRun; ++e) {
        const VF v = hn::Load(df, elements[e] + lane);
        sum = FusedMulAdd(v, v, sum);
      }
      hn::Store(sum, df, sums + lane);
    }
  }
  for (int half = kSumLanes / 2; half >= 1; half /= 2) {
    for (int lane = 0; lane < half; ++lane) sums[lane] = sums[lane] + sums[lane + half];
  }
  return sums[0];
}

void Normalise(const RmsNormArgs& args, const bf16* x, bf16* y) {
  const float mean = SumOfSquares(x, args.group) / static_cast<float>(args.group);
  const float shifted = mean + args.eps;
  const auto r = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shifted)));
  Elementwise(x, args.weight, args.group, y, [r](VF v, VF weight) {
    const VF scaled = RoundThroughBf16(hn::Mul(v, hn::Set(DF(), r)));
    return RoundToBf16(hn::Mul(weight, scaled));
  });
}

void Run(const RmsNormArgs& args, Stream& stream) {
  constexpr int64_t kCost = 4;  // of an element, in elements of an addition
  ParallelRanges(stream, args.x.rows, args.x.cols * kCost, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = 0; c < args.x.cols; c += args.group) {
        Normalise(args, args.x[r] + c, args.y[r] + c);
      }
    }
  });
}

}  // namespace rms_norm
}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vexact {

void RmsNormCpu(CpuTarget target, const RmsNormArgs& args, Stream& stream) {
  CheckShapes(args);
  VX_CPU_DISPATCH(target, rms_norm::Run, args, stream);
}

}  // namespace vexact
#endif  // HWY_ONCE
