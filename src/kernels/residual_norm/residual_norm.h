// The residual connection and the norm of what it leaves, which follow each other everywhere in a
// decoder: hidden += branch; normed = rms_norm(hidden).
//
// Arithmetic: docs/numerics.md, residual, then rms_norm of the rounded sums. Invariance: a row
// depends on its own values; the order of the norm's sum on `cols` alone.
#ifndef VEXACT_KERNELS_RESIDUAL_NORM_RESIDUAL_NORM_H_
#define VEXACT_KERNELS_RESIDUAL_NORM_RESIDUAL_NORM_H_

#include "kernels/simd/cpu_target.h"
#include "numerics/bf16.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

struct ResidualNormArgs {
  Rows<bf16> hidden;        // [tokens, cols]
  Rows<const bf16> branch;  // [tokens, cols]
  const bf16* weight;       // [cols], of the norm
  float eps;
  Rows<bf16> normed;  // [tokens, cols]; may be branch, or hidden where the sums are not needed
};

// What every backend requires; ends the program where shapes do not fit.
void CheckShapes(const ResidualNormArgs& args);

void ResidualNormReference(const ResidualNormArgs& args, Stream& stream);
void ResidualNormCpu(CpuTarget target, const ResidualNormArgs& args, Stream& stream);
void ResidualNormSm90(const ResidualNormArgs& args, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_RESIDUAL_NORM_RESIDUAL_NORM_H_
