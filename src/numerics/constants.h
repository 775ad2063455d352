// Constants of the canonical arithmetic and the small expressions that several operators share
// (docs/numerics.md, Notation).
#ifndef VEXACT_NUMERICS_CONSTANTS_H_
#define VEXACT_NUMERICS_CONSTANTS_H_

#include <cmath>
#include <cstdint>

#include "numerics/host_device.h"

namespace vexact {

inline constexpr float kLog2E = 0x1.715476p+0f;  // word 0x3fb8aa3b
inline constexpr float kLn2 = 0x1.62e430p-1f;    // word 0x3f317218

// ceil(rn(x * scale)): the integer exponent above every exponent of a softmax block whose largest
// value is x.
VX_HOST_DEVICE inline float CeilOfProduct(float x, float scale) { return ceilf(x * scale); }

// log2(e) / sqrt(head_dim), rounded to fp32 once: what turns an attention score into an exponent of
// two. 64: 0x3e38aa3b, 128: 0x3e0293ee.
inline float AttentionScale(int64_t head_dim) {
  return static_cast<float>(1.4426950408889634074 / std::sqrt(static_cast<double>(head_dim)));
}

}  // namespace vexact

#endif  // VEXACT_NUMERICS_CONSTANTS_H_
