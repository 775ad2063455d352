// tree128: the canonical sum of 128 values (docs/numerics.md, tree128). Its order of strides is the
// one in which the lanes of a Hopper warp group hold the scores of a tile.
#ifndef VEXACT_NUMERICS_TREE128_H_
#define VEXACT_NUMERICS_TREE128_H_

#include "numerics/host_device.h"

namespace vexact {

// The sum of p[0..127], indexed by logical index; p is overwritten.
VX_HOST_DEVICE inline float Tree128(float* p) {
  static constexpr int kBits[7] = {0, 3, 4, 5, 6, 1, 2};
  int used = 0;
  for (const int bit : kBits) {
    const int stride = 1 << bit;
    used |= stride;
    for (int j = 0; j < 128; ++j) {
      if ((j & used) == 0) p[j] = p[j] + p[j + stride];
    }
  }
  return p[0];
}

}  // namespace vexact

#endif  // VEXACT_NUMERICS_TREE128_H_
