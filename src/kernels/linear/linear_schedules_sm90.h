// The linear kernels of the Hopper backend that are ours. Each takes row-major weights
// (LinearWeight::rows: rows start at multiples of 16 bytes and hold zeros past `in`).
#ifndef VEXACT_KERNELS_LINEAR_LINEAR_SCHEDULES_SM90_H_
#define VEXACT_KERNELS_LINEAR_LINEAR_SCHEDULES_SM90_H_

#include "kernels/linear/linear.h"

namespace vexact {

// Every shape, stride and alignment of x and y. The measure of all other schedules on the device;
// itself compared with the CPU's reference (linear_test.cc).
void LinearChainSm90(const LinearArgs& args, Stream& stream);

// At most kLinearFewRows rows of x at the speed of reading the weights, in_features a multiple of
// kLinearFewRowsDepth. Other calls, and an x without 16-byte rows, go to the chain kernel.
inline constexpr int kLinearFewRows = 64;
inline constexpr int kLinearFewRowsDepth = 64;
void LinearFewRowsSm90(const LinearArgs& args, Stream& stream);

// Wrong on purpose (LinearFaults): in steps of 8, which round twice as often.
void LinearStepsOf8Sm90(const LinearArgs& args, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_LINEAR_LINEAR_SCHEDULES_SM90_H_
