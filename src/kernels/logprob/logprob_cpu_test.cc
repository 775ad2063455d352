// The parts of the CPU's logprob that no operator shows by itself.
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "kernels/logprob/candidates_cpu.h"
#include "kernels/logprob/logprob_value.h"
#include "kernels/logprob/row_scan_cpu.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

TEST(Logprob, EverySimdTermIsTheScalarOne) {
  // Arguments at and around every segment's ends, whole numbers, and the floor of the sum; those
  // above 0 come from a maximum whose product with log2 e rounds down to an integer.
  std::vector<float> z;
  for (int segment = 0; segment < 64 * 48; ++segment) {
    for (const float offset : {0.0f, 1e-7f, -1e-7f, 0.37f / 64.0f}) {
      z.push_back((static_cast<float>(-segment) / 64.0f + offset) / kLog2E);
    }
  }
  std::mt19937 random(5);
  std::uniform_real_distribution<float> uniform(-40.0f, 0.5f);
  for (int i = 0; i < ScaledCases(1 << 21); ++i) z.push_back(uniform(random));
  z.insert(z.end(), {0.0f, -0.0f, kDropped, -1e-40f, -1e-20f, -60.0f, -1e30f});
  std::vector<uint64_t> terms(z.size());
  for (const CpuTarget target : SupportedCpuTargets()) {
    ComputeTerms(target, z.data(), static_cast<int64_t>(z.size()), 0, terms.data());
    uint64_t sum = 0;
    for (size_t i = 0; i < z.size(); ++i) {
      ASSERT_EQ(terms[i], SoftmaxTerm(z[i], 0)) << CpuTargetName(target) << " z " << z[i];
      sum += terms[i];
    }
    EXPECT_EQ(SumTerms(target, z.data(), static_cast<int64_t>(z.size()), 0), sum);
  }
}

TEST(CandidateKey, OrdersValuesDownAndIdsUp) {
  const std::vector<float> values = {4e6f, 1.0f, 1e-40f, 0.0f, -1e-40f, -1.0f, -4e6f};
  for (size_t i = 0; i + 1 < values.size(); ++i) {
    EXPECT_LT(CandidateKey(values[i], 9), CandidateKey(values[i + 1], 0));
    EXPECT_LT(CandidateKey(values[i], 3), CandidateKey(values[i], 4));
    EXPECT_EQ(ValueOfKey(CandidateKey(values[i], 5)), values[i]);
    EXPECT_EQ(IdOfKey(CandidateKey(values[i], 5)), 5);
  }
  EXPECT_EQ(CandidateKey(-0.0f, 1), CandidateKey(0.0f, 1));
}

}  // namespace
}  // namespace vexact
