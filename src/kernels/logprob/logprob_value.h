// The scalar expressions of logits -> logprob (docs/numerics.md) that its users share.
#ifndef VEXACT_KERNELS_LOGPROB_LOGPROB_VALUE_H_
#define VEXACT_KERNELS_LOGPROB_LOGPROB_VALUE_H_

#include <cmath>
#include <cstdint>

#include "numerics/constants.h"
#include "numerics/ex2.h"
#include "numerics/host_device.h"
#include "numerics/log2.h"

namespace vexact {

// M of values whose largest is `max`, which is finite and below kLogitLimit in magnitude.
VX_HOST_DEVICE inline int32_t SoftmaxExponent(float max) {
  return static_cast<int32_t>(CeilOfProduct(max, kLog2E));
}

// q_i = floor(2^44 * ex2(fma(z, log2 e, -M))); 0 for z = -inf.
VX_HOST_DEVICE inline uint64_t SoftmaxTerm(float z, int32_t exponent) {
  // The product with 2^44 is exact, and the conversion drops the fraction.
  return static_cast<uint64_t>(Ex2(fmaf(z, kLog2E, -static_cast<float>(exponent))) * 0x1p44f);
}

// What a block with exponent M_b and sum S_b adds to a sum of exponent M >= M_b.
VX_HOST_DEVICE inline uint64_t BlockShare(uint64_t block_sum, int32_t exponent_distance) {
  return exponent_distance >= 56 ? 0 : block_sum >> exponent_distance;
}

// The log-probability of a value z under M and S > 0; never above 0, -inf for z = -inf, never -0.
VX_HOST_DEVICE inline float LogprobOf(float z, int32_t exponent, uint64_t sum) {
  const float t = fmaf(z, kLog2E, -static_cast<float>(exponent));
  const float total = Log2(static_cast<float>(sum) * 0x1p-44f);
  const float logprob = (t - total) * kLn2;
  // nvcc makes this a minimum, which may keep a -0; the sum with +0 does not.
  const float certain = logprob < 0.0f ? logprob : 0.0f;
  return certain + 0.0f;
}

}  // namespace vexact

#endif  // VEXACT_KERNELS_LOGPROB_LOGPROB_VALUE_H_
