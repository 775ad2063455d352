// The canonical arithmetic as device instructions, where the hardware has one for a plain function
// of numerics/ (device code is compiled with -fmad=false).
#ifndef VEXACT_KERNELS_SM90_ARITHMETIC_CUH_
#define VEXACT_KERNELS_SM90_ARITHMETIC_CUH_

#include <cstdint>

#include "numerics/bf16.h"
#include "numerics/words.h"

namespace vexact::sm90 {

// numerics/ex2.h in one instruction.
__device__ __forceinline__ float Ex2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Two neighbouring bf16 as one word, the first in the lower half; round to nearest even.
__device__ __forceinline__ uint32_t PackBf16(float first, float second) {
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
  return word;
}
__device__ __forceinline__ float LowBf16(uint32_t word) { return __uint_as_float(word << 16); }
__device__ __forceinline__ float HighBf16(uint32_t word) {
  return __uint_as_float(word & 0xffff0000u);
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_ARITHMETIC_CUH_
