// Small vector operations that several kernels share, compiled once for every target.
#if defined(VEXACT_KERNELS_SIMD_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VEXACT_KERNELS_SIMD_VECTOR_INL_H_
#undef VEXACT_KERNELS_SIMD_VECTOR_INL_H_
#else
#define VEXACT_KERNELS_SIMD_VECTOR_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstdint>

#include "numerics/bf16.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using DI = hn::ScalableTag<int32_t>;
using DU = hn::ScalableTag<uint32_t>;
using DU16 = hn::ScalableTag<uint16_t>;
using DU8 = hn::ScalableTag<uint8_t>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;
using VU = hn::Vec<DU>;
using VU8 = hn::Vec<DU8>;

inline constexpr int kLanes = HWY_MAX_BYTES / 4;  // fp32 lanes of a vector: 16, 8 or 4

// One rounding: fma(a, b, c).
HWY_INLINE VF FusedMulAdd(VF a, VF b, VF c) {
#if HWY_TARGET == HWY_EMU128
  const DF df;
  HWY_ALIGN float x[kLanes], y[kLanes], z[kLanes];
  hn::Store(a, df, x);
  hn::Store(b, df, y);
  hn::Store(c, df, z);
  for (int i = 0; i < kLanes; ++i) z[i] = std::fma(x[i], y[i], z[i]);
  return hn::Load(df, z);
#else
  return hn::MulAdd(a, b, c);
#endif
}

// Toward zero; lanes with |v| >= 2^31 give some value. (Highway's ConvertTo spends three more
// instructions on those.)
HWY_INLINE VI TruncateToInt(VF v) {
#if HWY_TARGET == HWY_AVX3
  return VI{_mm512_cvttps_epi32(v.raw)};
#elif HWY_TARGET == HWY_AVX2
  return VI{_mm256_cvttps_epi32(v.raw)};
#else
  return hn::ConvertTo(DI(), v);
#endif
}

// The even and the odd bf16 elements of `words` as fp32: one instruction each.
HWY_INLINE VF EvenBf16(VU words) { return hn::BitCast(DF(), hn::ShiftLeft<16>(words)); }
HWY_INLINE VF OddBf16(VU words) {
  return hn::BitCast(DF(), hn::And(words, hn::Set(DU(), 0xffff0000u)));
}

// bf16(v) in the upper half of each lane (the lower half is not zero); NaN becomes 0x7fff.
HWY_INLINE VU RoundToBf16(VF v) {
  const DU du;
  const VU word = hn::BitCast(du, v);
  const VU odd = hn::And(hn::ShiftRight<16>(word), hn::Set(du, 1));
  const VU rounded = hn::Add(word, hn::Add(odd, hn::Set(du, 0x7fff)));
  const auto nan = hn::RebindMask(du, hn::IsNaN(v));
  return hn::IfThenElse(nan, hn::Set(du, 0x7fff0000u), rounded);
}

// Joins two vectors of RoundToBf16 as the even and the odd elements.
HWY_INLINE VU JoinBf16(VU even, VU odd) {
  return hn::Or(hn::ShiftRight<16>(even), hn::And(odd, hn::Set(DU(), 0xffff0000u)));
}

// bf16(v), kept as fp32.
HWY_INLINE VF RoundThroughBf16(VF v) {
  return hn::BitCast(DF(), hn::And(RoundToBf16(v), hn::Set(DU(), 0xffff0000u)));
}

// 2 * kLanes bf16 elements as 32-bit words.
HWY_INLINE VU LoadBf16(const bf16* from) {
  return hn::BitCast(DU(), hn::LoadU(DU16(), reinterpret_cast<const uint16_t*>(from)));
}
HWY_INLINE void StoreBf16(VU words, bf16* to) {
  hn::StoreU(hn::BitCast(DU16(), words), DU16(), reinterpret_cast<uint16_t*>(to));
}

}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#endif  // VEXACT_KERNELS_SIMD_VECTOR_INL_H_
