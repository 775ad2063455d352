// The instruction sets that the CPU kernels are compiled for. The bits are the same on all of them.
#ifndef VEXACT_KERNELS_SIMD_CPU_TARGET_H_
#define VEXACT_KERNELS_SIMD_CPU_TARGET_H_

#include <string_view>
#include <vector>

namespace vexact {

enum class CpuTarget {
  kScalar,  // no SIMD; std::fma
  kAvx2,    // AVX2 with FMA
  kAvx512,  // AVX-512 F, BW, DQ, VL
};

std::string_view CpuTargetName(CpuTarget target);  // "cpu-scalar", "cpu-avx2", "cpu-avx512"

// Targets that are compiled in and that this processor runs, fastest last; kScalar is always there.
std::vector<CpuTarget> SupportedCpuTargets();

}  // namespace vexact

#endif  // VEXACT_KERNELS_SIMD_CPU_TARGET_H_
