// The residual connection: y = a + b, element by element, rounded to bf16 once.
//
// Arithmetic: docs/numerics.md, residual.
#ifndef VEXACT_KERNELS_RESIDUAL_RESIDUAL_H_
#define VEXACT_KERNELS_RESIDUAL_RESIDUAL_H_

#include "kernels/simd/cpu_target.h"
#include "numerics/bf16.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

struct ResidualArgs {
  Rows<const bf16> a;  // [tokens, cols]
  Rows<const bf16> b;  // [tokens, cols]
  Rows<bf16> y;        // [tokens, cols]; may be a or b
};

void ResidualReference(const ResidualArgs& args, Stream& stream);
void ResidualCpu(CpuTarget target, const ResidualArgs& args, Stream& stream);
void ResidualSm90(const ResidualArgs& args, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_RESIDUAL_RESIDUAL_H_
