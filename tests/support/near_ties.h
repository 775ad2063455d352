// Inputs of norms that show the last bit of the scale.
#ifndef VEXACT_SUPPORT_NEAR_TIES_H_
#define VEXACT_SUPPORT_NEAR_TIES_H_

#include <cstdint>
#include <random>

#include "numerics/bf16.h"
#include "tensor/rows.h"

namespace vexact {

// Fills x with normal values such that in each group of `group` columns of a row, with r =
// 1 / sqrt(mean(x^2) + eps) of the group, some x[i] * r lies so near the middle between two bf16
// that r off by one unit in the last place may round it the other way. Of random groups one in some
// hundreds is like that, so that random tests hardly notice a sum in another order; of these every
// tenth has another answer then.
// Requires: x.cols is a multiple of group.
void FillNearTies(std::mt19937& random, Rows<bf16> x, int64_t group, float eps);

}  // namespace vexact

#endif  // VEXACT_SUPPORT_NEAR_TIES_H_
