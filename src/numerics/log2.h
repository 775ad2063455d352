// log2: a polynomial that every backend evaluates in the same order (docs/numerics.md, log2).
#ifndef VEXACT_NUMERICS_LOG2_H_
#define VEXACT_NUMERICS_LOG2_H_

#include <cmath>
#include <cstdint>

#include "numerics/host_device.h"
#include "numerics/words.h"

namespace vexact {

// Requires: x is normal and positive. Relative error at most 1.24e-7 on [0.5, 2), monotone, exact
// at powers of two.
VX_HOST_DEVICE inline float Log2(float x) {
  static constexpr float kC[10] = {0x1.715476p+0f, -0x1.71546ep-1f, 0x1.ec7244p-2f, -0x1.715d3ep-2f,
                                   0x1.272752p-2f, -0x1.e9b1c2p-3f, 0x1.ae606ap-3f, -0x1.9ab604p-3f,
                                   0x1.411c0ep-3f, -0x1.b09f72p-5f};
  const uint32_t word = WordFromFloat(x);
  // The power of two that leaves m in [1/sqrt(2), sqrt(2)); 0x3f3504f4 is just above 1/sqrt(2).
  const int32_t e = static_cast<int32_t>(word - 0x3f3504f4u) >> 23;
  const float m = FloatFromWord(word - (static_cast<uint32_t>(e) << 23));
  const float f = m - 1.0f;
  float p = kC[9];
  for (int i = 8; i >= 0; --i) p = fmaf(p, f, kC[i]);
  return fmaf(f, p, static_cast<float>(e));
}

}  // namespace vexact

#endif  // VEXACT_NUMERICS_LOG2_H_
