// SoftmaxTerm of numerics.md (floor(2^44 * ex2(t))) for a vector of values, in integers.
#if defined(VEXACT_KERNELS_LOGPROB_SOFTMAX_TERMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VEXACT_KERNELS_LOGPROB_SOFTMAX_TERMS_INL_H_
#undef VEXACT_KERNELS_LOGPROB_SOFTMAX_TERMS_INL_H_
#else
#define VEXACT_KERNELS_LOGPROB_SOFTMAX_TERMS_INL_H_
#endif

#include "kernels/simd/ex2-inl.h"
#include "kernels/simd/vector-inl.h"
#include "numerics/constants.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {

using DU64 = hn::ScalableTag<uint64_t>;
using VU64 = hn::Vec<DU64>;

// 2^t as significand * 2^(exponent - 23), significand in [2^23, 2^24], for t in [-50, 1).
struct Ex2Parts {
  VI significand;
  VI exponent;
};
HWY_INLINE Ex2Parts Ex2PartsOf(VF t) {
  const DI di;
  // |t| * 2^23 toward zero; for negative t with a fraction the table is read backwards, which is
  // the bits of one less.
  const VI scaled = TruncateToInt(hn::Mul(t, hn::Set(DF(), 0x1p23f)));
  const VI fraction = hn::And(scaled, hn::Set(di, 0x7fffff));
  const VI whole = hn::VecFromMask(di, hn::Eq(fraction, hn::Zero(di)));
  const VI k = hn::Add(scaled, hn::AndNot(whole, hn::ShiftRight<31>(scaled)));
  const VI words = Ex2TableWords(hn::And(k, hn::Set(di, 0x7fffff)));
  return {hn::Sub(words, hn::Set(di, 0x3f000000)), hn::ShiftRight<23>(k)};
}

// floor(2^44 * ex2(fma(z, log2 e, -M))) for every lane of z, evens and odds apart.
struct TermVectors {
  VU64 even;
  VU64 odd;
};
HWY_INLINE TermVectors TermsOf(VF z, VF minus_exponent) {
  const DU64 du64;
  // Below 2^-45 a term is 0, so t may stop at -50, and -inf with it.
  const VF t =
      hn::Max(FusedMulAdd(z, hn::Set(DF(), kLog2E), minus_exponent), hn::Set(DF(), -50.0f));
  const Ex2Parts parts = Ex2PartsOf(t);
  // floor(significand * 2^(21 + exponent)), from significand * 2^32.
  const VU64 significands = hn::BitCast(du64, parts.significand);
  const VU64 shifts = hn::BitCast(du64, hn::Sub(hn::Set(DI(), 11), parts.exponent));
  const VU64 upper = hn::Set(du64, 0xffffffff00000000u);
  return {hn::Shr(hn::ShiftLeft<32>(significands), hn::AndNot(upper, shifts)),
          hn::Shr(hn::And(significands, upper), hn::ShiftRight<32>(shifts))};
}

// Adds them to `sums`, in any lanes.
HWY_INLINE void AddTerms(VF z, VF minus_exponent, VU64& sums) {
  const TermVectors terms = TermsOf(z, minus_exponent);
  sums = hn::Add(sums, hn::Add(terms.even, terms.odd));
}

HWY_INLINE void StoreTerms(VF z, VF minus_exponent, uint64_t* to) {
  const TermVectors terms = TermsOf(z, minus_exponent);
  hn::StoreInterleaved2(terms.even, terms.odd, DU64(), to);
}

}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#endif  // VEXACT_KERNELS_LOGPROB_SOFTMAX_TERMS_INL_H_
