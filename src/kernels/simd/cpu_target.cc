#include "kernels/simd/cpu_target.h"

#include "kernels/simd/targets.h"
// clang-format off
#include <hwy/highway.h>
#include <hwy/targets.h>
// clang-format on

namespace vexact {

std::string_view CpuTargetName(CpuTarget target) {
  switch (target) {
    case CpuTarget::kScalar:
      return "cpu-scalar";
    case CpuTarget::kAvx2:
      return "cpu-avx2";
    case CpuTarget::kAvx512:
      return "cpu-avx512";
  }
  return "";
}

std::vector<CpuTarget> SupportedCpuTargets() {
  const auto supported = hwy::SupportedTargets();
  std::vector<CpuTarget> targets = {CpuTarget::kScalar};
  if ((supported & HWY_AVX2) != 0) targets.push_back(CpuTarget::kAvx2);
  if ((supported & HWY_AVX3) != 0) targets.push_back(CpuTarget::kAvx512);
  return targets;
}

}  // namespace vexact
