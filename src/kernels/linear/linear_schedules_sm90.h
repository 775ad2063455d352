// The linear kernels of the Hopper backend that are ours. Each takes row-major weights
// (LinearWeight::rows: rows start at multiples of 16 bytes and hold zeros past `in`).
#ifndef VEXACT_KERNELS_LINEAR_LINEAR_SCHEDULES_SM90_H_
#define VEXACT_KERNELS_LINEAR_LINEAR_SCHEDULES_SM90_H_

#include <span>

#include "kernels/linear/linear.h"

namespace vexact {

// Every shape, stride and alignment of x and y. The measure of all other schedules on the device;
// itself compared with the CPU's reference (linear_test.cc).
void LinearChainSm90(const LinearArgs& args, Stream& stream);

// A block's part of the output. `kernel` takes any number of rows, in_features a multiple of
// kLinearTilesDepth; other calls, and an x without 16-byte rows, go to the chain kernel.
struct LinearTile {
  int outs;
  int tokens;
  void (*kernel)(const LinearArgs& args, Stream& stream);
};
inline constexpr int kLinearTilesDepth = 64;
std::span<const LinearTile> LinearTilesSm90();  // by outs, then tokens

// Wrong on purpose (LinearFaults): in steps of 8, which round twice as often.
void LinearStepsOf8Sm90(const LinearArgs& args, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_LINEAR_LINEAR_SCHEDULES_SM90_H_
