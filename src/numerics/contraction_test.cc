// a*b+c must stay two roundings in every translation unit (docs/numerics.md, Notation): g++ fuses
// it by default where the target has fma, intrinsics included. These fail without
// -ffp-contract=off.
#include <gtest/gtest.h>
#include <immintrin.h>

#include <cstdint>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "numerics/contraction_test.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
//
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Plain expression and Highway's operations, both compiled for this target.
float PlainExpression(float a, float b, float c) { return a * b + c; }

float HighwayExpression(float a, float b, float c) {
  const hn::ScalableTag<float> d;
  return hn::GetLane(hn::Add(hn::Mul(hn::Set(d, a), hn::Set(d, b)), hn::Set(d, c)));
}

}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vexact {
namespace {

HWY_EXPORT(PlainExpression);
HWY_EXPORT(HighwayExpression);

// a * a is 1 + 2^-11 + 2^-24 exactly and rounds to 1 + 2^-11: unfused the sum is 0, fused it is
// 2^-24. Volatile, so that nothing is folded at compile time.
volatile float factor = 0x1.001p0f;
volatile float addend = -0x1.002p0f;

TEST(Contraction, PlainExpressionOfTheBaselineTargetIsNotFused) {
  const float a = factor;
  const float c = addend;
  EXPECT_EQ(a * a + c, 0.0f);
}

TEST(Contraction, NoHighwayTargetFuses) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(hwy::TargetName(target));
    EXPECT_EQ(HWY_DYNAMIC_DISPATCH(PlainExpression)(factor, factor, addend), 0.0f);
    EXPECT_EQ(HWY_DYNAMIC_DISPATCH(HighwayExpression)(factor, factor, addend), 0.0f);
  }
  hwy::SetSupportedTargetsForTest(0);
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) float Avx2Intrinsics(float a, float b, float c) {
  const __m256 product = _mm256_mul_ps(_mm256_set1_ps(a), _mm256_set1_ps(b));
  return _mm256_cvtss_f32(_mm256_add_ps(product, _mm256_set1_ps(c)));
}

__attribute__((target("avx512f"))) float Avx512Intrinsics(float a, float b, float c) {
  const __m512 product = _mm512_mul_ps(_mm512_set1_ps(a), _mm512_set1_ps(b));
  return _mm512_cvtss_f32(_mm512_add_ps(product, _mm512_set1_ps(c)));
}

TEST(Contraction, IntrinsicsAreNotFused) {
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    EXPECT_EQ(Avx2Intrinsics(factor, factor, addend), 0.0f);
  }
  if (__builtin_cpu_supports("avx512f")) {
    EXPECT_EQ(Avx512Intrinsics(factor, factor, addend), 0.0f);
  }
}
#endif

}  // namespace
}  // namespace vexact
#endif  // HWY_ONCE
