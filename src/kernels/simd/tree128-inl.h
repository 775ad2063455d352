// tree128 (docs/numerics.md) in vectors of four.
#if defined(VEXACT_KERNELS_SIMD_TREE128_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VEXACT_KERNELS_SIMD_TREE128_INL_H_
#undef VEXACT_KERNELS_SIMD_TREE128_INL_H_
#else
#define VEXACT_KERNELS_SIMD_TREE128_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The sum of p[0..127]; p is left alone. Bit 0 of the index first: 64 pair sums, 4 in a vector by
// bits 1 and 2; bits 3 to 6 join vectors, then bits 1 and 2 join lanes.
HWY_INLINE float Tree128(const float* p) {
  const hn::FixedTag<float, 4> d4;
  hn::Vec<decltype(d4)> sums[16];
  for (int i = 0; i < 16; ++i) {
    hn::Vec<decltype(d4)> even, odd;
    hn::LoadInterleaved2(d4, p + 8 * i, even, odd);
    sums[i] = hn::Add(even, odd);
  }
  for (int stride = 1; stride < 16; stride *= 2) {
    for (int i = 0; i < 16; i += 2 * stride) sums[i] = hn::Add(sums[i], sums[i + stride]);
  }
  alignas(16) float lanes[4];
  hn::Store(sums[0], d4, lanes);
  return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#endif  // VEXACT_KERNELS_SIMD_TREE128_INL_H_
