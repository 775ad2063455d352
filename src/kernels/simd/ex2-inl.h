// ex2 (docs/numerics.md) in vectors of 32-bit integers: the bits of numerics/ex2.h.
#if defined(VEXACT_KERNELS_SIMD_EX2_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VEXACT_KERNELS_SIMD_EX2_INL_H_
#undef VEXACT_KERNELS_SIMD_EX2_INL_H_
#else
#define VEXACT_KERNELS_SIMD_EX2_INL_H_
#endif

#include "kernels/simd/ex2_coefficients.h"
#include "kernels/simd/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {

// The word of 2^(r / 2^23) in [1, 2), r in [0, 2^23).
HWY_INLINE VI Ex2TableWords(VI r) {
  const DI di;
  const VI segment = hn::ShiftRight<17>(r);
  const VI x = hn::And(r, hn::Set(di, 0x1ffff));
  const VI low = hn::And(x, hn::Set(di, 1023));
  const VI high = hn::ShiftRight<10>(x);
  // square = (x * x >> 19) - (omitted >> 19) = 2 * high^2 + sum of (low >> (8 - b)) over the bits b
  // of high: x * x and omitted differ by exactly that many units of 2^19.
  VI square = hn::ShiftLeft<1>(hn::Mul(high, high));
  const auto add_bit = [&](VI bit_on_top, VI shifted_low) {
    square = hn::Add(square, hn::And(hn::ShiftRight<31>(bit_on_top), shifted_low));
  };
  add_bit(hn::ShiftLeft<31>(high), hn::ShiftRight<8>(low));
  add_bit(hn::ShiftLeft<30>(high), hn::ShiftRight<7>(low));
  add_bit(hn::ShiftLeft<29>(high), hn::ShiftRight<6>(low));
  add_bit(hn::ShiftLeft<28>(high), hn::ShiftRight<5>(low));
  add_bit(hn::ShiftLeft<27>(high), hn::ShiftRight<4>(low));
  add_bit(hn::ShiftLeft<26>(high), hn::ShiftRight<3>(low));
  add_bit(hn::ShiftLeft<25>(high), hn::ShiftRight<2>(low));

  const VI c0 = hn::GatherIndex(di, kEx2Constant, segment);
  const VI c12 = hn::GatherIndex(di, kEx2LinearAndSquare, segment);
  const VI c1 = hn::ShiftRight<10>(c12);
  const VI c2 = hn::And(c12, hn::Set(di, 1023));
  // ((c0 << 14) + 12228 + 2 c1 x + 2 c2 square) >> 16 in 32 bits: units of 2^10 first.
  const VI x_high = hn::ShiftRight<9>(x);
  const VI x_low = hn::And(x, hn::Set(di, 511));
  const VI small = hn::Add(hn::Set(di, 12228 / 2),
                           hn::Add(hn::Mul(c1, x_low), hn::Mul(c2, square)));  // halved: < 2^26
  const VI units =
      hn::Add(hn::ShiftLeft<4>(c0), hn::Add(hn::Mul(c1, x_high), hn::ShiftRight<9>(small)));
  return hn::Add(hn::Set(di, 0x3f000000), hn::ShiftRight<6>(units));
}

HWY_INLINE VF Ex2(VF v) {
  const DF df;
  const DI di;
  const VI word = hn::BitCast(di, v);
  const VI magnitude = hn::And(word, hn::Set(di, 0x7fffffff));
  const VI sign = hn::ShiftRight<31>(word);  // -1 or 0
  const VF scaled = hn::Mul(hn::BitCast(df, magnitude), hn::Set(df, 8388608.0f));
  const VI k = TruncateToInt(scaled);  // of no use from 128 on
  // 2^-k counts down from the power of two above, except where k is one: ~k, or -k.
  const auto whole = hn::Eq(hn::And(k, hn::Set(di, 0x7fffff)), hn::Zero(di));
  const VI one_more = hn::And(sign, hn::VecFromMask(di, whole));  // -1 or 0
  const VI m = hn::Sub(hn::Xor(k, sign), one_more);
  const VI table = Ex2TableWords(hn::And(m, hn::Set(di, 0x7fffff)));
  const VI power = hn::ShiftRight<23>(m);
  VI result = hn::Add(table, hn::ShiftLeft<23>(power));
  result = hn::IfThenZeroElse(hn::Lt(power, hn::Set(di, -126)), result);
  // |x| >= 128: 0 or infinity; NaN stays NaN.
  const auto large = hn::Gt(magnitude, hn::Set(di, 0x42ffffff));
  const VI limit = hn::AndNot(sign, hn::Set(di, 0x7f800000));
  const auto nan = hn::Gt(magnitude, hn::Set(di, 0x7f800000));
  result = hn::IfThenElse(large, limit, result);
  result = hn::IfThenElse(nan, hn::Set(di, 0x7fffffff), result);
  return hn::BitCast(df, result);
}

}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#endif  // VEXACT_KERNELS_SIMD_EX2_INL_H_
