// fp32 values as integers that have their order.
#ifndef VEXACT_KERNELS_SM90_ORDER_CUH_
#define VEXACT_KERNELS_SM90_ORDER_CUH_

#include <cstdint>

#include "numerics/words.h"

namespace vexact::sm90 {

// Larger for a larger value, equal for -0 and +0; 0 for a NaN, below every other.
__device__ __forceinline__ uint32_t OrderKey(float value) {
  const uint32_t word = __float_as_uint(__fadd_rn(value, 0.0f));
  if (IsNanWord(word)) return 0;
  return (word >> 31) != 0 ? ~word : word | 0x80000000u;
}
__device__ __forceinline__ float ValueOfOrderKey(uint32_t key) {
  return __uint_as_float((key >> 31) != 0 ? key & 0x7fffffffu : ~key);
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_ORDER_CUH_
