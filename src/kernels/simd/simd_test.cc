// The shared vector functions of every target, against the plain ones of numerics/.
#include "kernels/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/simd/simd_test.cc"
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "kernels/simd/ex2-inl.h"
#include "kernels/simd/tree128-inl.h"
#include "kernels/simd/vector-inl.h"
#include "numerics/ex2.h"
#include "numerics/tree128.h"
#include "numerics/words.h"
#include "support/test_scale.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {
namespace simd_test {

// v[0..kLanes) in place.
void Ex2InPlace(float* v) { hn::StoreU(Ex2(hn::LoadU(DF(), v)), DF(), v); }
void RoundInPlace(float* v) { hn::StoreU(RoundThroughBf16(hn::LoadU(DF(), v)), DF(), v); }
float Tree(const float* v) { return Tree128(v); }

}  // namespace simd_test
}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vexact {
namespace {

constexpr int kMostLanes = 16;

void VectorEx2(CpuTarget target, float* v) { VX_CPU_DISPATCH(target, simd_test::Ex2InPlace, v); }
void VectorRound(CpuTarget target, float* v) {
  VX_CPU_DISPATCH(target, simd_test::RoundInPlace, v);
}
float VectorTree(CpuTarget target, const float* v) { VX_CPU_DISPATCH(target, simd_test::Tree, v); }
int LanesOf(CpuTarget target) {
  return target == CpuTarget::kAvx512 ? 16 : target == CpuTarget::kAvx2 ? 8 : 4;
}

// Walks over words begin, begin + step, ... below end; every target against the plain function.
void ExpectEx2(uint64_t begin, uint64_t end, uint64_t step) {
  for (const CpuTarget target : SupportedCpuTargets()) {
    const int lanes = LanesOf(target);
    for (uint64_t word = begin; word < end; word += step * lanes) {
      float v[kMostLanes];
      for (int i = 0; i < lanes; ++i) v[i] = FloatFromWord(static_cast<uint32_t>(word + i * step));
      VectorEx2(target, v);
      for (int i = 0; i < lanes; ++i) {
        const auto input = static_cast<uint32_t>(word + i * step);
        ASSERT_EQ(CanonicalWord(v[i]), CanonicalWord(Ex2(FloatFromWord(input))))
            << CpuTargetName(target) << " at word " << input;
      }
    }
  }
}

TEST(SimdEx2, EqualsThePlainOneOverTheWholeTable) {
  const uint64_t step = kSanitized ? 61 : 3;
  ExpectEx2(0x3f800000u, 0x40000000u, step);  // [1, 2)
  ExpectEx2(0xbf800000u, 0xc0000000u, step);
}

TEST(SimdEx2, EqualsThePlainOneOverAllExponents) {
  ExpectEx2(0, uint64_t{1} << 32, kSanitized ? 65521 * 17 : 9973);
  for (const uint32_t edge : {0x00800000u, 0x42fc0000u, 0x43000000u, 0x7f800000u}) {
    ExpectEx2(edge - 64, edge + 64, 1);
    ExpectEx2((edge | 0x80000000u) - 64, uint64_t{edge | 0x80000000u} + 64, 1);
  }
}

TEST(SimdRoundToBf16, EqualsThePlainOne) {
  for (const CpuTarget target : SupportedCpuTargets()) {
    const int lanes = LanesOf(target);
    for (uint64_t word = 0; word < uint64_t{1} << 32; word += 7919 * lanes) {
      float v[kMostLanes];
      for (int i = 0; i < lanes; ++i) v[i] = FloatFromWord(static_cast<uint32_t>(word + i * 7919));
      VectorRound(target, v);
      for (int i = 0; i < lanes; ++i) {
        const float input = FloatFromWord(static_cast<uint32_t>(word + i * 7919));
        ASSERT_EQ(WordFromFloat(v[i]), WordFromFloat(FloatFromBf16(Bf16FromFloat(input))))
            << CpuTargetName(target) << " at word " << WordFromFloat(input);
      }
    }
  }
}

TEST(SimdTree128, EqualsThePlainOne) {
  std::mt19937 random(3);
  std::lognormal_distribution<float> values(0.0f, 4.0f);
  for (int round = 0; round < 100; ++round) {
    float p[128];
    for (float& x : p) x = values(random);
    float scratch[128];
    std::memcpy(scratch, p, sizeof(p));
    const uint32_t expected = WordFromFloat(Tree128(scratch));
    for (const CpuTarget target : SupportedCpuTargets()) {
      EXPECT_EQ(WordFromFloat(VectorTree(target, p)), expected) << CpuTargetName(target);
    }
  }
}

}  // namespace
}  // namespace vexact
#endif  // HWY_ONCE
