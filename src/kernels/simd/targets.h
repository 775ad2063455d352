// Which Highway targets the kernels are compiled for. Include before any hwy header.
//
// Only targets with a native fma take part, and one without SIMD that calls std::fma. SSE has no
// fma; AVX3_DL's extra instructions are not used.
#ifndef VEXACT_KERNELS_SIMD_TARGETS_H_
#define VEXACT_KERNELS_SIMD_TARGETS_H_

#include "kernels/simd/cpu_target.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
// The target without SIMD is the baseline, so that foreach_target.h compiles it too. Highway avoids
// EMU128 on g++ 12.2 for PR 106322, a wrong vectorisation of MulHigh, which is not used here.
#define HWY_BASELINE_TARGETS HWY_EMU128
#define HWY_BROKEN_EMU128 0

// Calls `function` of the namespace that was compiled for `target` (a CpuTarget).
#define VX_CPU_DISPATCH(target, function, ...) \
  switch (target) {                            \
    case CpuTarget::kAvx512:                   \
      return N_AVX3::function(__VA_ARGS__);    \
    case CpuTarget::kAvx2:                     \
      return N_AVX2::function(__VA_ARGS__);    \
    case CpuTarget::kScalar:                   \
      break;                                   \
  }                                            \
  return N_EMU128::function(__VA_ARGS__)

#endif  // VEXACT_KERNELS_SIMD_TARGETS_H_
