// Loops over rows of bf16 elements that do not know each other.
#if defined(VEXACT_KERNELS_SIMD_ELEMENTWISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VEXACT_KERNELS_SIMD_ELEMENTWISE_INL_H_
#undef VEXACT_KERNELS_SIMD_ELEMENTWISE_INL_H_
#else
#define VEXACT_KERNELS_SIMD_ELEMENTWISE_INL_H_
#endif

#include <algorithm>

#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {

inline constexpr int kWordLanes = 2 * kLanes;  // bf16 elements of a vector

// y[i] = f(a[i], b[i]) for i in [0, count); y may be a or b. f takes two vectors of fp32 and
// returns bf16 in the upper halves (RoundToBf16).
template <typename F>
HWY_INLINE void Elementwise(const bf16* a, const bf16* b, int64_t count, bf16* y, F f) {
  const auto step = [&f](const bf16* from_a, const bf16* from_b, bf16* to) {
    const VU a_words = LoadBf16(from_a);
    const VU b_words = LoadBf16(from_b);
    const VU even = f(EvenBf16(a_words), EvenBf16(b_words));
    const VU odd = f(OddBf16(a_words), OddBf16(b_words));
    StoreBf16(JoinBf16(even, odd), to);
  };
  int64_t i = 0;
  for (; i + kWordLanes <= count; i += kWordLanes) step(a + i, b + i, y + i);
  if (i == count) return;
  bf16 last_a[kWordLanes] = {};
  bf16 last_b[kWordLanes] = {};
  bf16 last_y[kWordLanes];
  std::copy(a + i, a + count, last_a);
  std::copy(b + i, b + count, last_b);
  step(last_a, last_b, last_y);
  std::copy(last_y, last_y + (count - i), y + i);
}

}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#endif  // VEXACT_KERNELS_SIMD_ELEMENTWISE_INL_H_
