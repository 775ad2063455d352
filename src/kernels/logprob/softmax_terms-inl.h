// SoftmaxTerm of numerics.md (floor(2^44 * ex2(t))) for a vector of values, in 32-bit integers.
//
// ex2.h's closed form, with its 40-bit numbers taken apart. With x = 1024 * high + low,
//   square = 2 * high^2 + sum over b of (bit b of high) * (low >> (8 - b)),
// because `omitted` is exactly what those shifts lose. Each term times 64 is a product of two
// 16-bit numbers, (high & 2^b) * ((low >> 2) & ~(2^(6-b) - 1)), and 2 * high^2 is one more, so four
// pairwise multiply-adds give 64 * square. The significand in [2^23, 2^24] is then
//   (8 * c0 + c1 * high + ((6114 + c1 * low + c2 * square) >> 10)) >> 5.
#if defined(VEXACT_KERNELS_LOGPROB_SOFTMAX_TERMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VEXACT_KERNELS_LOGPROB_SOFTMAX_TERMS_INL_H_
#undef VEXACT_KERNELS_LOGPROB_SOFTMAX_TERMS_INL_H_
#else
#define VEXACT_KERNELS_LOGPROB_SOFTMAX_TERMS_INL_H_
#endif

#include <array>

#include "kernels/simd/vector-inl.h"
#include "numerics/constants.h"
#include "numerics/ex2.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {

using DI16 = hn::ScalableTag<int16_t>;
using DU64 = hn::ScalableTag<uint64_t>;
using VU64 = hn::Vec<DU64>;

// a.even * b.even + a.odd * b.odd of the signed halves of every 32-bit lane.
HWY_INLINE VI MultiplyPairs(VI a, VI b) {
#if HWY_TARGET == HWY_AVX3
  return VI{_mm512_madd_epi16(a.raw, b.raw)};
#elif HWY_TARGET == HWY_AVX2
  return VI{_mm256_madd_epi16(a.raw, b.raw)};
#else
  const auto lower = [](VI v) { return hn::ShiftRight<16>(hn::ShiftLeft<16>(v)); };
  return hn::Add(hn::Mul(lower(a), lower(b)),
                 hn::Mul(hn::ShiftRight<16>(a), hn::ShiftRight<16>(b)));
#endif
}

// Both halves of a word.
constexpr int32_t Pair(int32_t even, int32_t odd) {
  return static_cast<int32_t>(static_cast<uint32_t>(even & 0xffff) |
                              (static_cast<uint32_t>(odd) << 16));
}

// 64 * (the sum of four of the terms above that this pair of bits and masks picks).
template <int kEvenBits, int kEvenMask, int kOddBits, int kOddMask>
HWY_INLINE VI SquareTerms(VI high_twice, VI low_twice) {
  const DI di;
  return MultiplyPairs(hn::And(high_twice, hn::Set(di, Pair(kEvenBits, kOddBits))),
                       hn::And(low_twice, hn::Set(di, Pair(kEvenMask, kOddMask))));
}

// x in [0, 2^17) -> the closed form's `square`.
HWY_INLINE VI TruncatedSquare(VI high, VI low) {
  const DI di;
  const VI high_twice = hn::Or(high, hn::ShiftLeft<16>(high));
  const VI low8 = hn::ShiftRight<2>(low);
  const VI low_twice = hn::Or(low8, hn::ShiftLeft<16>(low8));
  const VI b01 = SquareTerms<1, 0xc0, 2, 0xe0>(high_twice, low_twice);
  const VI b23 = SquareTerms<4, 0xf0, 8, 0xf8>(high_twice, low_twice);
  const VI b45 = SquareTerms<16, 0xfc, 32, 0xfe>(high_twice, low_twice);
  // The odd half: high * (128 * high).
  const VI b6 = MultiplyPairs(hn::And(high_twice, hn::Set(di, Pair(64, 0x7f))),
                              hn::Or(low8, hn::ShiftLeft<23>(high)));
  return hn::ShiftRight<6>(hn::Add(hn::Add(b01, b23), hn::Add(b45, b6)));
}

// ex2.h's coefficients as the vectors want them.
struct Ex2Segments {
  alignas(64) std::array<int32_t, 64> base;  // 8 * c0
  alignas(
      64) std::array<int32_t, 64> slopes;  // halves: c1 - 2^15 (so that it fits with a sign), c2
};
HWY_INLINE Ex2Segments MakeEx2Segments() {
  Ex2Segments table{};
  for (uint32_t i = 0; i < 64; ++i) {
    const int32_t* c = Ex2Coefficients(i);
    table.base[i] = 8 * c[0];
    table.slopes[i] = Pair(c[1] - 0x8000, c[2]);
  }
  return table;
}

// 2^t as significand * 2^(exponent - 23), for t in [-50, 1): fields of ex2's answer.
struct Ex2Parts {
  VI significand;
  VI exponent;
};
HWY_INLINE Ex2Parts Ex2OfVector(VF t, const Ex2Segments& table) {
  const DI di;
  // |t| * 2^23 toward zero; for negative t with a fraction the table is read backwards, which is
  // the bits of one less.
  const VI scaled = TruncateToInt(hn::Mul(t, hn::Set(DF(), 0x1p23f)));
  const VI fraction = hn::And(scaled, hn::Set(di, 0x7fffff));
  const VI whole = hn::VecFromMask(di, hn::Eq(fraction, hn::Zero(di)));
  const VI k = hn::Add(scaled, hn::AndNot(whole, hn::ShiftRight<31>(scaled)));
  const VI segment = hn::ShiftRight<17>(hn::And(k, hn::Set(di, 0x7fffff)));
  const VI low = hn::And(k, hn::Set(di, 1023));
  const VI high = hn::And(hn::ShiftRight<10>(k), hn::Set(di, 127));
  const VI base = hn::GatherIndex(di, table.base.data(), segment);
  const VI slopes = hn::GatherIndex(di, table.slopes.data(), segment);
  const VI square = TruncatedSquare(high, low);
  const VI fine = hn::Add(MultiplyPairs(slopes, hn::Or(low, hn::ShiftLeft<16>(square))),
                          hn::Add(hn::ShiftLeft<15>(low), hn::Set(di, 6114)));
  const VI coarse = hn::Add(MultiplyPairs(slopes, high), hn::Add(hn::ShiftLeft<15>(high), base));
  return {hn::ShiftRight<5>(hn::Add(coarse, hn::ShiftRight<10>(fine))), hn::ShiftRight<23>(k)};
}

// floor(2^44 * ex2(fma(z, log2 e, -M))) for every lane of z, evens and odds apart.
struct TermVectors {
  VU64 even;
  VU64 odd;
};
HWY_INLINE TermVectors TermsOf(VF z, VF minus_exponent, const Ex2Segments& table) {
  const DU64 du64;
  // Below 2^-45 a term is 0, so t may stop at -50, and -inf with it.
  const VF t =
      hn::Max(FusedMulAdd(z, hn::Set(DF(), kLog2E), minus_exponent), hn::Set(DF(), -50.0f));
  const Ex2Parts parts = Ex2OfVector(t, table);
  // floor(significand * 2^(21 + exponent)), from significand * 2^32.
  const VU64 significands = hn::BitCast(du64, parts.significand);
  const VU64 shifts = hn::BitCast(du64, hn::Sub(hn::Set(DI(), 11), parts.exponent));
  const VU64 upper = hn::Set(du64, 0xffffffff00000000u);
  return {hn::Shr(hn::ShiftLeft<32>(significands), hn::AndNot(upper, shifts)),
          hn::Shr(hn::And(significands, upper), hn::ShiftRight<32>(shifts))};
}

// Adds them to `sums`, in any lanes.
HWY_INLINE void AddTerms(VF z, VF minus_exponent, const Ex2Segments& table, VU64& sums) {
  const TermVectors terms = TermsOf(z, minus_exponent, table);
  sums = hn::Add(sums, hn::Add(terms.even, terms.odd));
}

HWY_INLINE void StoreTerms(VF z, VF minus_exponent, const Ex2Segments& table, uint64_t* to) {
  const TermVectors terms = TermsOf(z, minus_exponent, table);
  hn::StoreInterleaved2(terms.even, terms.odd, DU64(), to);
}

}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#endif  // VEXACT_KERNELS_LOGPROB_SOFTMAX_TERMS_INL_H_
