// SwiGLU's gate (Shazeer, 2020): y = silu(gate) * up, element by element.
//
// Arithmetic: docs/numerics.md, silu_mul.
#ifndef VEXACT_KERNELS_SILU_MUL_SILU_MUL_H_
#define VEXACT_KERNELS_SILU_MUL_SILU_MUL_H_

#include "kernels/simd/cpu_target.h"
#include "numerics/bf16.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

struct SiluMulArgs {
  Rows<const bf16> gate;  // [tokens, cols]
  Rows<const bf16> up;    // [tokens, cols]
  Rows<bf16> y;           // [tokens, cols]; may be gate or up
};

// What every backend requires; ends the program where shapes do not fit.
void CheckShapes(const SiluMulArgs& args);

void SiluMulReference(const SiluMulArgs& args, Stream& stream);
void SiluMulCpu(CpuTarget target, const SiluMulArgs& args, Stream& stream);
void SiluMulSm90(const SiluMulArgs& args, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_SILU_MUL_SILU_MUL_H_
