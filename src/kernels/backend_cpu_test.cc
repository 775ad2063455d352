#include <gtest/gtest.h>

#include "kernels/backend.h"

namespace vexact {
namespace {

TEST(CpuBackendDeathTest, IsMadeForATargetOfThisProcessor) {
  if (SupportedCpuTargets().back() == CpuTarget::kAvx512) {
    GTEST_SKIP() << "this processor has every target";
  }
  EXPECT_DEATH(MakeCpuBackend(CpuTarget::kAvx512), "a target of this processor");
}

}  // namespace
}  // namespace vexact
