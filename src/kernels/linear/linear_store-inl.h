// How the CPU's linear kernels store what they summed.
#if defined(VEXACT_KERNELS_LINEAR_LINEAR_STORE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VEXACT_KERNELS_LINEAR_LINEAR_STORE_INL_H_
#undef VEXACT_KERNELS_LINEAR_LINEAR_STORE_INL_H_
#else
#define VEXACT_KERNELS_LINEAR_LINEAR_STORE_INL_H_
#endif

#include <algorithm>

#include "kernels/linear/linear.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {
namespace linear {

// Outputs [first, first + 2 * kLanes) of one row, as far as the weight has them, from the sums of
// the even and of the odd ones.
HWY_INLINE void StoreOutputs(const LinearArgs& args, int64_t row, int64_t first, VF even, VF odd) {
  const DF df;
  const int64_t count = std::min<int64_t>(2 * kLanes, args.weight->out_features - first);
  if (count <= 0) return;
  if (args.bias != nullptr) {
    alignas(64) bf16 bias[2 * kLanes] = {};
    std::copy_n(args.bias + first, count, bias);
    const VU words = LoadBf16(bias);
    even = hn::Add(even, EvenBf16(words));
    odd = hn::Add(odd, OddBf16(words));
  }
  if (args.y.data != nullptr) {
    alignas(64) bf16 y[2 * kLanes];
    StoreBf16(JoinBf16(RoundToBf16(even), RoundToBf16(odd)), y);
    std::copy_n(y, count, args.y[row] + first);
  } else {
    alignas(64) float y_fp32[2 * kLanes];
    hn::StoreInterleaved2(even, odd, df, y_fp32);
    std::copy_n(y_fp32, count, args.y_fp32[row] + first);
  }
}

}  // namespace linear
}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#endif  // VEXACT_KERNELS_LINEAR_LINEAR_STORE_INL_H_
