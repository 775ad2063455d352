// RMSNorm (Zhang and Sennrich, 2019): y = weight * x / sqrt(mean(x^2) + eps), row by row.
//
// Arithmetic: docs/numerics.md, rms_norm. Invariance: the order of the sum depends on `cols` alone.
#ifndef VEXACT_KERNELS_RMS_NORM_RMS_NORM_H_
#define VEXACT_KERNELS_RMS_NORM_RMS_NORM_H_

#include "kernels/simd/cpu_target.h"
#include "numerics/bf16.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

// For the norms of q and k heads, each row of x holds several groups of `group` columns that are
// normalised apart with the same weight; for a layer norm, group == x.cols.
struct RmsNormArgs {
  Rows<const bf16> x;  // [tokens, groups * group]
  const bf16* weight;  // [group]
  int64_t group;       // columns that share one mean
  float eps;
  Rows<bf16> y;  // shape of x; may be x itself
};

// What every backend requires; ends the program where shapes do not fit.
void CheckShapes(const RmsNormArgs& args);

void RmsNormReference(const RmsNormArgs& args, Stream& stream);
void RmsNormCpu(CpuTarget target, const RmsNormArgs& args, Stream& stream);
void RmsNormSm90(const RmsNormArgs& args, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_RMS_NORM_RMS_NORM_H_
